"""Signals wake their process and are handled between letters; what stood before comes back."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from gateway.process.process import Process
from gateway.process.signals import signal_names
from gateway.testing.stage import play


def press(name: str) -> None:
    os.kill(os.getpid(), signal_names()[name])


def test_a_callback_runs_on_the_process_own_thread_and_not_in_the_handler() -> None:
    def scene(main: Process) -> list[Any]:
        heard: list[Any] = []
        main.bind_signals(
            "SIGUSR1",
            "SIGUSR2",
            callback=lambda name: heard.append((name, threading.current_thread().name)),
        )
        press("SIGUSR1")
        assert heard == [], "it waits for its turn"
        main.mailman(5.0)
        press("SIGUSR2")
        main.mailman(5.0)
        return heard

    name = threading.current_thread().name
    assert play(scene) == [("SIGUSR1", name), ("SIGUSR2", name)]


def test_what_stood_before_comes_back_when_the_process_ends() -> None:
    before = {name: signal.getsignal(number) for name, number in signal_names().items()}
    play(lambda main: main.bind_signals("SIGUSR1", "SIGHUP", "SIGTERM", "SIGINT"))
    assert {name: signal.getsignal(number) for name, number in signal_names().items()} == before


def test_a_backup_remembers_what_was_bound_and_backups_lie_on_each_other() -> None:
    def scene(main: Process) -> list[str]:
        heard: list[str] = []
        main.bind_signals("SIGUSR1", callback=lambda name: heard.append("first"))
        main.backup_signals()
        main.bind_signals("SIGUSR1", callback=lambda name: heard.append("second"))
        main.backup_signals()
        main.bind_signals("SIGUSR1", "SIGUSR2")
        press("SIGUSR1")
        main.mailman(5.0)
        assert heard == [], "the trap only wakes"
        for _ in range(2):
            assert main.restore_signals()
            press("SIGUSR1")
            main.mailman(5.0)
        assert main.current_signals()["SIGUSR2"] is signal.SIG_DFL
        assert not main.restore_signals()
        return heard

    assert play(scene) == ["second", "first"]


def test_the_default_trap_wakes_whoever_waits_for_mail() -> None:
    def scene(main: Process) -> bool:
        main.bind_signals("SIGUSR1")
        timer = threading.Timer(0.05, press, ["SIGUSR1"])
        timer.start()
        begun = main._clock.monotonic()
        main.mailman(30.0)
        timer.join()
        return main._clock.monotonic() - begun < 10.0

    assert play(scene)


def test_sigterm_ends_the_process_bound_or_not() -> None:
    def scene(main: Process) -> bool:
        main.bind_signals("SIGTERM")
        press("SIGTERM")
        return main.is_active

    assert play(scene) is False


class Threaded(Process):
    """Tells what it is refused."""

    def birth(self) -> None:
        self.add_filter(callback=lambda message: self.reply(message, self.refusals()))

    def refusals(self) -> list[str]:
        found = []
        for word in (lambda: self.bind_signals("SIGUSR1"), self.restore_signals):
            try:
                word()
            except ValueError as error:
                found.append(str(error))
        return found


@pytest.mark.parametrize(("mode", "count"), [("thread", 2), ("fork", 0)])
def test_off_the_main_thread_of_its_os_process_it_is_refused_by_name(mode: Any, count: int) -> None:
    def scene(main: Process) -> list[str]:
        found: list[str] = main.wait_for_reply(main.send("worker", "refusals")).body
        return found

    refusals = play(scene, worker=(Threaded, mode))
    assert len(refusals) == count
    assert all("'worker' cannot" in text and "fork mode" in text for text in refusals)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSTOP", "SIGNONE", "sigterm", ""])
def test_what_is_no_signal_or_cannot_be_caught_is_refused(name: str) -> None:
    def scene(main: Process) -> None:
        with pytest.raises(ValueError, match=r"signal|catch"):
            main.bind_signals("SIGUSR1", name)
        assert main.current_signals()["SIGUSR1"] is signal.SIG_DFL

    play(scene)
