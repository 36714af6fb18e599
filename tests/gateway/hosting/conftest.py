"""A board, its driver and a thread around them, which end with the test."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.device import Driver, DriverHost, Heartbeat, Identity, command
from gateway.device.link import Opener
from gateway.errors import GatewayError, LinkLostError, ProtocolError, RefusedError
from gateway.framing import CheckedLine
from gateway.hosting.driver_thread import DriverThread
from gateway.mail.message import Message
from gateway.testing.fake_link import FakeLink, FakeOpener, answering
from gateway.testing.fake_outside import FakeOutside
from tests.lab.os_processes import until

FRAMING = CheckedLine(limit=64)
ANSWERS = {b"ID": b"ID 1.0", b"LED": b"LED ok", b"P": b"P"}


class Board(Driver):
    """A driver with one command for every way in which a command can go."""

    framing = FRAMING
    handshake_within = 0.4
    question_seconds = 0.1

    def __init__(self, name: str, host: DriverHost) -> None:
        super().__init__(name, host)
        self.heard: list[bytes] = []
        self.busy = False

    def handshake(self) -> Identity:
        firmware = self.ask(b"ID", timeout=self.question_seconds).decode().removeprefix("ID ")
        if firmware == "garbled":
            raise ProtocolError("that is no version")
        if firmware == "other":
            raise RefusedError("this is a fan")
        if firmware == "bug":
            raise ZeroDivisionError("in the handshake")
        return Identity(firmware=firmware)

    def received(self, frame: bytes) -> None:
        assert not self.busy, "received was entered while another method ran"
        self.busy = True
        try:
            self.heard.append(frame)
            if frame == b"ask me":
                self.ask(b"LED")
            elif frame == b"bug":
                raise ZeroDivisionError("in received")
            elif frame == b"nonsense":
                raise ProtocolError("no such reading")
            elif frame == b"fault":
                self.fault("too hot")
            self.publish("frame", frame.decode())
        finally:
            self.busy = False

    @command
    def led(self, on: bool = True) -> str:
        """Light it."""
        self.busy = True
        try:
            return self.ask(b"LED%d" % on).decode()
        finally:
            self.busy = False

    @command
    def wait(self, seconds: float) -> str:
        """Ask what no board answers."""
        return self.ask(b"?", timeout=seconds).decode()

    @command
    def say(self, text: str) -> None:
        """Write and return at once."""
        self.write(text.encode())

    @command
    def crash(self) -> None:
        """Have a bug."""
        raise ZeroDivisionError("in a command")

    @command
    def leave(self) -> None:
        """Try to end the thread."""
        raise SystemExit(3)

    @command
    def decline(self) -> None:
        """Refuse."""
        raise RefusedError("not while it moves")

    @command
    def give_up(self) -> None:
        """Declare the link lost."""
        raise LinkLostError("the modem said NO CARRIER")


class Hasty(Random):
    """Randomness by which every back-off waits for nothing."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


class Rig:
    """One hosted device and all that is around it."""

    def __init__(
        self,
        kind: type[Board],
        answers: dict[bytes, bytes],
        random: Random,
        mailbox_size: int,
        berth: Callable[[FakeOpener], Opener],
    ) -> None:
        self.outside = FakeOutside()
        self.mailbox = Mailbox("board@fake", clock=RealClock(), size=mailbox_size)
        self.opener = FakeOpener(lambda: FakeLink(answering(FRAMING, answers)))
        self.drivers: list[Board] = []
        self.make_driver: Callable[[DriverHost], Board] = lambda host: kind("board", host)
        self.thread = DriverThread(
            "board",
            lambda host: self._made(self.make_driver(host)),
            berth(self.opener),
            self.outside,
            self.mailbox,
            clock=RealClock(),
            random=random,
        )
        self._numbers = itertools.count(1)

    def _made(self, driver: Board) -> Board:
        self.drivers.append(driver)
        return driver

    def connect(self) -> FakeLink:
        """Start, and wait until commands are taken."""
        self.thread.start()
        self.outside.wait_event("board", "connected")
        return self.link

    @property
    def link(self) -> FakeLink:
        return self.opener.links[-1]

    @property
    def driver(self) -> Board:
        return self.drivers[-1]

    def hand(self, *payloads: bytes) -> None:
        """Let the board say something by itself."""
        self.link.hand(b"".join(map(FRAMING.encode, payloads)))

    def post(self, subject: str, body: Any = None, expiry: float | None = None) -> Message:
        number = str(next(self._numbers))
        message = Message(
            number, number, 1, 0.0, "test", "board@fake", subject, body, expiry=expiry
        )
        self.thread.post(message)
        return message

    def call(self, subject: str, body: Any = None) -> Any:
        """Post a command and return its answer, or raise its bounce."""
        message = self.post(subject, body)
        self.outside.wait_for(lambda: self.answers_to(message) != [])
        answer = self.answers_to(message)[0]
        if isinstance(answer, GatewayError):
            raise answer
        return answer

    def answers_to(self, message: Message) -> list[Any]:
        both = [*self.outside.replies, *self.outside.bounces]
        return [answer for each, answer in both if each is message]

    def waiting(self) -> int:
        """How many commands wait."""
        return self.thread.statistics().queued

    def count_turns(self) -> Callable[[], int]:
        """Count from now on how often the thread wakes up."""
        # Only once it sleeps: after what it has told last it looks round before it does.
        assert until(lambda: self.thread.progress()[0], 10.0)
        get, turns = self.mailbox.get, itertools.count()

        def counted(timeout: float | None = 0.0) -> Message | None:
            next(turns)
            return get(timeout)

        self.mailbox.get = counted  # type: ignore[method-assign]
        return lambda: next(turns)

    def cause(self) -> str:
        return str(self.outside.retained.get("devices/board/state", {}).get("cause", ""))


MakeRig = Callable[..., Rig]


@pytest.fixture
def make_rig() -> Iterator[MakeRig]:
    """Make a rig; its thread is stopped when the test ends."""
    rigs: list[Rig] = []

    def make(
        kind: type[Board] = Board,
        *,
        heartbeat: Heartbeat | None = None,
        handshake_within: float = Board.handshake_within,
        question_seconds: float = Board.question_seconds,
        answers: dict[bytes, bytes] = ANSWERS,
        random: Random | None = None,
        mailbox_size: int = 64,
        berth: Callable[[FakeOpener], Opener] = lambda opener: opener,
    ) -> Rig:
        times = {
            "heartbeat": heartbeat,
            "handshake_within": handshake_within,
            "question_seconds": question_seconds,
        }
        timed = type("Board", (kind,), times)
        rigs.append(Rig(timed, answers, random or Hasty(), mailbox_size, berth))
        return rigs[-1]

    yield make
    for rig in rigs:
        assert rig.thread.stop(5.0), "the driver thread did not end"
        rig.mailbox.close()
        assert rig.mailbox.statistics().is_balanced
    assert not [each for each in threading.enumerate() if each.name.startswith("device-")]


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """A board without a heartbeat that answers and can be told everything."""
    return make_rig()
