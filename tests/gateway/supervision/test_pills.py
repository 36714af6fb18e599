"""One process has another one die: it ends in order, stays down, and the asker is told."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.application import Application
from gateway.errors import AddressError, CallTimeoutError, RecipientGoneError, RefusedError
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.testing.stage import Echo, play


def state_of(main: Process, name: str) -> dict[str, Any]:
    [found] = [
        member
        for member in main.wait_for_reply(main.send("boss", "ps")).body
        if member["name"] == name
    ]
    return dict(found)


class Mourned(Process):
    """Says that its death has run, in a retained topic."""

    def birth(self) -> None:
        self.add_filter(subject="^ask$", callback=self.reply)

    def death(self) -> None:
        self.publish("mourned", "its death has run", retain=True)


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_it_dies_in_order_and_is_not_restarted_and_the_answer_comes_after_that(mode: Any) -> None:
    def scene(main: Process) -> None:
        heard: list[str] = []
        main.wait_for_reply(main.send("mourned", "ask"))
        assert main.poison_pill("mourned") == "it ended by itself"
        main.subscribe("mourned", lambda message: heard.append(message.body))
        assert heard == ["its death has run"]
        found = state_of(main, "mourned")
        assert (found["state"], found["restarts"]) == ("stopped", 0)
        assert main.recipients() == ["boss", "main"]
        with pytest.raises(RecipientGoneError, match="'mourned' is away: it ended by itself"):
            main.send("mourned", "ask")
        assert main.poison_pill("mourned") == "it ended by itself", "who is dead stays so"

    play(scene, mourned=(Mourned, mode))


class Poisoner(Process):
    """Gives main the pill, from a forked OS process."""

    def birth(self) -> None:
        self.add_filter(subject="^kill me$", callback=lambda message: self.poison_pill("main"))


def test_a_forked_process_may_end_the_main_one() -> None:
    class Main(Process):
        def birth(self) -> None:
            self.send("poisoner", "kill me")

    class App(Application):
        def build(self) -> None:
            self.add_process("poisoner", Poisoner, mode="fork")

    assert App(main=Main).run() == 0


class Stuck(Process):
    """Reads no mail until it is let go."""

    def birth(self) -> None:
        self.add_filter(subject="^hang$", callback=self.on_hang)
        self.subscribe("go", lambda message: None)

    def on_hang(self, message: Message) -> None:
        self.reply(message)
        while self.current_frame == 0 and not self.parameter("never"):
            if self.mailman(0.01):
                return


def test_who_does_not_end_in_time_is_a_time_out_and_told_all_the_same() -> None:
    def scene(main: Process) -> None:
        main.wait_for_reply(main.send("stuck", "hang"))
        with pytest.raises(CallTimeoutError):
            main.poison_pill("stuck", timeout=0.05)
        assert state_of(main, "stuck")["state"] == "stopping"
        main.publish("go")
        assert main.poison_pill("stuck") == "it ended by itself"

    play(scene, stuck=Stuck)


class Failing(Process):
    """Cannot be born."""

    def birth(self) -> None:
        raise ZeroDivisionError("in birth")


def test_who_waits_to_be_restarted_is_no_more() -> None:
    def scene(main: Process) -> None:
        seen: list[str] = []
        main.subscribe(
            "processes/failing/state", lambda message: seen.append(message.body["state"])
        )
        while "degraded" not in seen:
            assert main.mailman(20.0), seen
        assert main.poison_pill("failing") == "main gave it a poison pill"
        assert state_of(main, "failing")["state"] == "stopped"

    play(scene, failing=Failing)


def test_who_was_due_to_be_started_is_due_no_more() -> None:
    def scene(main: Process) -> None:
        main.application.add_process("late", "gateway.testing.stage:Echo", start_after=3600.0)
        assert main.poison_pill("late") == "main gave it a poison pill"
        assert state_of(main, "late")["cause"] == "main gave it a poison pill"
        main.start_process("late")
        assert main.poison_pill("late") == "it ended by itself"
        assert main.poison_pill("late") == "it ended by itself", "it is over as it was"

    play(scene)


def test_a_victim_that_does_not_end_is_killed_in_time(start: Any) -> None:
    program = start("""
        class Deaf(Process):
            def birth(self):
                self.add_filter(subject="^deafen$", callback=self.on_deafen)
            def on_deafen(self, message):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                self.reply(message)
                while True:
                    time.sleep(60)
        class Main(Process):
            def life(self):
                self.wait_for_reply(self.send("deaf", "deafen"), 20)
                say("ended", self.poison_pill("deaf", timeout=20))
                self.die()
        class App(Application):
            shutdown_timeout = 0.2
            def build(self):
                self.add_process("deaf", Deaf, mode="fork")
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0, program.complaints()
    assert program.said == ["ended it was killed, since it did not end in time"]


def test_it_is_refused_for_nobody_for_oneself_and_for_what_is_no_name() -> None:
    def scene(main: Process) -> None:
        with pytest.raises(AddressError, match="no process 'nobody'; there are echo, main"):
            main.poison_pill("nobody")
        with pytest.raises(AddressError):
            main.poison_pill("boss")
        with pytest.raises(ValueError, match=r"use die\(\)"):
            main.poison_pill("main")
        with pytest.raises(AddressError):
            main.poison_pill(["echo"])  # type: ignore[arg-type]

    play(scene, echo=Echo)


@pytest.mark.parametrize("route", ["", "mqtt"])
def test_a_letter_that_asks_for_it_is_refused_whoever_brought_it_in(route: str) -> None:
    def scene(main: Process) -> None:
        main._route = route
        for subject, body in (("poison_pill", "echo"), ("run", {}), ("ebrake", "now")):
            with pytest.raises(RefusedError, match="from inside only"):
                main.wait_for_reply(main.send("boss", subject, body))
        assert main.wait_for_reply(main.send("echo", "say", 1)).body == 1

    play(scene, echo=Echo)
