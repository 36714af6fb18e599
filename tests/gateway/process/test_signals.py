"""Signals wake their process and are handled between letters; what stood before comes back."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest

from gateway.application import Application
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.process.signals import reaches, signal_names
from gateway.supervision.restart import RestartPolicy
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


def test_a_sigterm_that_is_bound_still_reaches_what_stood_before_and_no_other_does() -> None:
    reached: list[int] = []

    def stop(number: int, frame: object) -> None:
        reached.append(number)

    def scene(main: Process) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            assert not reaches(number, stop)
            signal.signal(number, stop)
            assert reaches(number, stop)
        main.bind_signals("SIGTERM", "SIGHUP")
        main.bind_signals("SIGTERM")
        assert reaches(signal.SIGTERM, stop)
        assert not reaches(signal.SIGHUP, stop)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)

    play(scene)
    assert reached == [signal.SIGTERM]


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


class Ending(Process):
    """Is sent signals, and ends before it has its turn to handle them."""

    said: ClassVar[list[str]] = []
    sent: ClassVar[tuple[str, ...]] = ()

    def birth(self) -> None:
        self.bind_signals("SIGHUP", "SIGTERM", "SIGUSR1", callback=self.on_signal)

    def life(self) -> None:
        for name in self.sent:
            press(name)
        if "SIGTERM" not in self.sent:
            self.die()

    def on_signal(self, name: str) -> None:
        self.said.append(name)
        if name == "SIGUSR1":
            raise ZeroDivisionError(name)

    def death(self) -> None:
        self.said.append("death")
        press("SIGHUP")


@pytest.mark.parametrize(
    ("sent", "handled", "status"),
    [
        (("SIGTERM",), ["SIGTERM"], 0),
        (("SIGTERM", "SIGHUP", "SIGTERM"), ["SIGTERM", "SIGHUP"], 0),
        (("SIGHUP",), ["SIGHUP"], 0),
        (("SIGUSR1", "SIGTERM"), ["SIGUSR1", "SIGTERM"], 1),
    ],
)
def test_what_is_pending_at_the_end_is_called_once_in_order_and_before_death(
    sent: tuple[str, ...], handled: list[str], status: int
) -> None:
    class Main(Ending):
        said: ClassVar[list[str]] = []

    Main.sent = sent
    application = Application(main=Main)
    assert application.run() == status
    assert Main.said == [*handled, "death"]
    assert ("ZeroDivisionError: SIGUSR1" in application._main_error) is bool(status)


def test_a_signal_that_is_due_again_each_time_goes_on_for_as_long_as_it_likes() -> None:
    def scene(main: Process) -> int:
        count = 0

        def again(name: str) -> None:
            nonlocal count
            count += 1
            if count < 3000:
                press("SIGUSR1")

        main.bind_signals("SIGUSR1", callback=again)
        press("SIGUSR1")
        while count < 3000:
            main.mailman(5.0)
        return count

    assert play(scene) == 3000


def test_a_forked_process_handles_what_has_come_before_its_death(tmp_path: Path) -> None:
    said = tmp_path / "said"

    class Worker(Process):
        def birth(self) -> None:
            self.bind_signals("SIGHUP", "SIGTERM", callback=self.say)

        def say(self, name: str) -> None:
            with said.open("a") as file:
                file.write(f"{name}\n")

        def death(self) -> None:
            self.say("death")

    class Main(Process):
        def birth(self) -> None:
            self.start_process("worker")
            pid = self.active_subprocesses()["worker"]
            os.kill(pid, signal.SIGHUP)
            os.kill(pid, signal.SIGTERM)
            self.subscribe("processes/worker/state", self.on_state)

        def on_state(self, message: Message) -> None:
            if message.body["state"] == "stopped":
                self.die()

    class App(Application):
        def build(self) -> None:
            self.add_process("worker", Worker, mode="fork", restart=RestartPolicy("temporary"))

    assert App(main=Main).run() == 0
    words = said.read_text().split()
    assert sorted(words[:-1]) == ["SIGHUP", "SIGTERM"]
    assert words[-1] == "death"


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
