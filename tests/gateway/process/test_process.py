"""The words of a process that hold its parts together: frames, the end, what it knows of others."""

from __future__ import annotations

import threading
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gateway.errors import CallTimeoutError, RefusedError
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.testing.stage import Echo, play
from tests.lab.os_processes import until

PATIENCE = 20.0


def test_a_loop_of_its_own_keeps_the_frequency_and_ends_with_the_process() -> None:
    def scene(main: Process) -> None:
        main.frequency = 200.0
        begun = main._clock.monotonic()
        for number in range(1, 11):
            assert main.frequency_sleep()
            assert main.current_frame == number
        frame = main.current_time_frame
        assert frame.begin <= main._clock.monotonic()
        assert frame.end - frame.begin == pytest.approx(0.005)
        assert main._clock.monotonic() - begun >= 9 * 0.005
        main.die()
        assert not main.frequency_sleep()
        assert main.current_frame == 10

    play(scene)


def test_without_a_frequency_there_is_nothing_to_sleep_by() -> None:
    def scene(main: Process) -> None:
        main.frequency = None
        with pytest.raises(ValueError, match="no frequency"):
            main.frequency_sleep()

    play(scene)


def test_cleanup_names_who_still_runs_and_may_come_twice() -> None:
    def scene(main: Process) -> None:
        go = threading.Event()
        main.add_child_thread("late", lambda: go.wait(10.0))
        main.bind_signals("SIGUSR1")
        assert main.cleanup(0.01) == ["late"]
        assert main.current_signals()["SIGUSR1"].name == "SIG_DFL"
        go.set()
        assert main.cleanup() == []

    play(scene)


def test_cleanup_gives_the_signals_back_where_joining_is_interrupted() -> None:
    def interrupted(timeout: float) -> list[str]:
        raise KeyboardInterrupt

    def scene(main: Process) -> None:
        main.bind_signals("SIGUSR1")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(main, "join_child_threads", interrupted)
            with pytest.raises(KeyboardInterrupt):
                main.cleanup()
        assert main.current_signals()["SIGUSR1"].name == "SIG_DFL"

    play(scene)


def test_who_is_there_and_in_which_os_process() -> None:
    def scene(main: Process) -> None:
        for name in ("near", "far"):
            main.wait_for_reply(main.send(name, "say"))
        assert main.process_names() == ["far", "main", "near"]
        pids = main.active_subprocesses()
        assert list(pids) == ["far"]
        assert main.wait_for_reply(main.send("far", "say", 1)).body == 1
        main.poison_pill("far")
        assert main.active_subprocesses() == {}
        assert main.process_names() == ["far", "main", "near"], (
            "it ended, and is known all the same"
        )

    play(scene, near=Echo, far=(Echo, "fork"))


class Arm(Process):
    """Moves on a thread, with a lock that somebody else may hold."""

    def birth(self) -> None:
        self.add_locks("motor")
        self.held, self.go = threading.Event(), threading.Event()
        self.add_filter(subject="^hold$", callback=self.on_hold, run="thread")
        self.add_filter(subject="^move$", callback=self.on_move)
        self.add_filter(subject="^let go$", callback=lambda message: self.go.set())

    def on_hold(self, message: Message) -> None:
        with self.get_locks("motor"):
            self.reply(message)
            assert self.go.wait(10.0)

    def on_move(self, message: Message) -> None:
        with self.get_locks("motor", timeout=message.body):
            self.reply(message, "moved")


def test_a_lock_that_stays_taken_bounces_and_the_process_goes_on() -> None:
    def scene(main: Process) -> Any:
        main.wait_for_reply(main.send("arm", "hold"))
        with pytest.raises(CallTimeoutError, match="'motor' stayed taken"):
            main.wait_for_reply(main.send("arm", "move", 0.01))
        main.send("arm", "let go")
        return main.wait_for_reply(main.send("arm", "move", 5.0)).body

    assert play(scene, arm=Arm) == "moved"


class Refusing(Process):
    def birth(self) -> None:
        self.add_filter(subject="^no$", callback=self.on_no)
        self.add_filter(subject="^yes$", callback=self.reply)

    def on_no(self, message: Message) -> None:
        raise RefusedError("no")


class Deaf(Process):
    """Writes what is refused, and reads nothing until a file is there."""

    def birth(self) -> None:
        self.told = 0
        self.add_filter(subject="^write$", callback=self.on_write)
        self.add_filter(kind="^bounce$", callback=self.on_bounce)

    def on_write(self, message: Message) -> None:
        for _ in range(40):
            self.send("refusing", "no")
        (Path(message.body) / "written").touch()
        assert until((Path(message.body) / "go on").exists, PATIENCE)
        self.asked = message

    def on_bounce(self, bounce: Message) -> None:
        self.told += 1
        if self.told == 40:
            self.reply(self.asked, self.told)


def test_who_reads_no_answers_holds_up_nobody_who_sends_letters_back(tmp_path: Path) -> None:
    def scene(main: Process) -> tuple[float, int]:
        written = main.send("deaf", "write", str(tmp_path))
        assert until((tmp_path / "written").exists, PATIENCE)
        began = monotonic()
        main.wait_for_reply(main.send("refusing", "yes"), PATIENCE)
        took = monotonic() - began
        (tmp_path / "go on").touch()
        told: int = main.wait_for_reply(written, PATIENCE).body
        return took, told

    took, told = play(scene, refusing=Refusing, deaf=(Deaf, "fork"))
    assert took < PATIENCE / 2, "it waited for who reads nothing"
    assert told == 40
