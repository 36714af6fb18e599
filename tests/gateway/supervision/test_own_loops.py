"""A forked life that keeps its own loop reads no mail, and writes to those who are there now."""

from __future__ import annotations

import contextlib
import logging
import os
from time import monotonic, sleep

import pytest

from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.errors import GatewayError
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.testing.stage import play

PATIENCE = 20.0


class Ticking(Process):
    """Publishes and writes to whoever is called sink, as fast as its loop goes."""

    def birth(self) -> None:
        self.frequency = 200.0

    def tick(self) -> None:
        self.publish("tick", os.getpid())
        with contextlib.suppress(GatewayError):
            self.send("sink", "tick")


class ByFrequency(Ticking):
    def life(self) -> None:
        while self.frequency_sleep():
            self.tick()


class BySleep(Ticking):
    def life(self) -> None:
        while self.light_sleep(0.005):
            self.tick()


class ByItself(Ticking):
    def life(self) -> None:
        while self.is_active:
            self.tick()
            sleep(0.005)


class Silent(Process):
    def birth(self) -> None:
        self.frequency = 200.0

    def life(self) -> None:
        while self.is_active:
            sleep(0.005)


class Sink(Process):
    """Tells, once a life, that a letter has come."""

    def birth(self) -> None:
        self.add_filter(subject="^tick$", callback=self.on_tick, id="tick")

    def on_tick(self, message: Message) -> None:
        self.remove_filters("tick")
        self.publish("reached", os.getpid(), retain=True)


LOOPS = pytest.mark.parametrize("loop", [ByFrequency, BySleep, ByItself])


def heard(main: Process, pattern: str, known: object = None) -> object:
    """Return what is published first under ``pattern`` and is not ``known``."""
    bodies: list[object] = []
    main.subscribe(pattern, lambda message: bodies.append(message.body))
    deadline = monotonic() + PATIENCE
    while not (new := [body for body in bodies if body != known]) and monotonic() < deadline:
        main.mailman(timeout=0.05)
    main.unsubscribe(pattern)
    assert new, f"nothing new under {pattern}"
    return new[0]


@LOOPS
def test_it_reaches_the_next_life_of_who_was_started_anew(loop: type[Process]) -> None:
    def scene(main: Process) -> None:
        first = heard(main, "reached")
        main.restart_process("sink")
        assert heard(main, "reached", known=first) != first

    play(scene, sink=(Sink, "fork"), ticking=(loop, "fork"))


@LOOPS
def test_who_subscribes_later_hears_it(loop: type[Process]) -> None:
    def scene(main: Process) -> None:
        heard(main, "reached")
        assert heard(main, "tick") not in (None, os.getpid())

    play(scene, sink=Sink, ticking=(loop, "fork"))


def test_what_it_is_told_of_others_does_not_keep_it_from_being_told_to_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def scene(main: Process) -> None:
        for _ in range(12):
            main.restart_process("sink")
        main.stop_process("silent")

    with caplog.at_level(logging.WARNING):
        play(scene, sink=Sink, silent=(Silent, "fork"))
    assert "could not be told to end" not in caplog.text


def test_a_handler_that_interrupts_who_has_the_lock_waits_for_nobody() -> None:
    box = Mailbox("worker", clock=RealClock())
    with box._lock:
        box.read_announcements()
    box.close()
