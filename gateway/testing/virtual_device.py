"""A whole device in virtual time: the real driver thread, a simulated board, a wire between.

The thread, the session, the mailbox and the driver are those of the gateway;
only where they would wait, virtual time passes (`gateway.testing.lockstep`).
A heartbeat's patience costs no second, and each run is like the other::

    with VirtualDevice(Wheels, lambda clock: Board(clock=clock)) as device:
        assert device.run_until(lambda: device.state.connected)
        device.call("drive", {"left": 10, "right": 10})
        device.wire.pull()
        device.run(1.0)

Refused (`AssertionError`): a driver that waits by itself, and at the end a
thread that does not stop or mail that is unaccounted for.
"""

from __future__ import annotations

import itertools
import select
from collections.abc import Callable, Mapping
from math import inf
from random import Random
from typing import Any, Self

import msgspec

from gateway.bus.leading import WatchCallback
from gateway.bus.mailbox import Mailbox
from gateway.clock import Clock
from gateway.device.driver import Driver, DriverHost
from gateway.device.link import Link
from gateway.device.link_state import LinkState
from gateway.device.simulated_port import Board
from gateway.errors import GatewayError
from gateway.hosting.driver_thread import DriverThread
from gateway.hosting.lookout import Lookout
from gateway.mail.message import Message
from gateway.testing.board_wire import BoardWire, WiredLink
from gateway.testing.fake_outside import FakeOutside
from gateway.testing.lockstep import Lockstep
from gateway.testing.usb_wire import UsbWire

NAME = "device"
"""What the device is called; its topics are below ``devices/device``."""

STEP = 0.1
"""Virtual seconds after which `VirtualDevice.run_until` looks again."""

_STOP = 10.0
"""Real seconds that a driver thread has to end."""


class VirtualDevice:
    """One device; ``with`` starts it and, whatever happens, ends it."""

    def __init__(
        self,
        make_driver: Callable[[str, DriverHost, Mapping[str, Any] | None], Driver],
        make_board: Callable[[Clock], Board],
        *,
        settings: Mapping[str, Any] | None = None,
        outside: FakeOutside | None = None,
        packets: bool = False,
    ) -> None:
        """Prepare the device; a driver's class is what makes a driver.

        With ``packets`` it is on USB, where each read brings one packet.
        """
        self.pace = Lockstep()
        self.clock = self.pace.clock
        board = make_board(self.clock)
        self.wire = (
            UsbWire(board, self.clock, self.pace.sleep) if packets else BoardWire(board, self.clock)
        )
        self.outside = FakeOutside() if outside is None else outside
        self.drivers: list[Driver] = []
        """Every driver object that was made, one for each opening; the newest last."""
        self._make_driver = make_driver
        self._settings = settings
        wait = _Waiting(self.pace, self.wire)
        self._mailbox = _VirtualMailbox(wait, self.clock)
        self.thread = DriverThread(
            NAME,
            self._made,
            self._open,
            self.outside,
            self._mailbox,
            clock=self.clock,
            random=Random(1),
            lookout=lambda: _VirtualLookout(wait),
        )
        self._wait = wait
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        """Plug the board in and start the thread; it opens the port when it is first `run`."""
        self.wire.plug()
        self.thread.start()
        try:
            self.pace.wait_parked()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        self._mailbox.close()

    # -- time --------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let virtual ``seconds`` pass."""
        self.pace.grant(seconds)

    def run_until(self, condition: Callable[[], object], seconds: float = 60.0) -> bool:
        """Let time pass until ``condition`` holds, up to ``seconds``; return whether it does."""
        end = self.clock.now + seconds
        while not condition():
            left = end - self.clock.now
            if left <= 0:
                return False
            self.run(min(STEP, left))
        return True

    def stop(self) -> None:
        """End the thread, at this very moment; a second time does nothing."""
        self.thread.stop(0.0)
        self.pace.set_free()
        assert self.thread.join(_STOP), f"the driver thread did not end within {_STOP:g} s"

    # -- what is done to it ------------------------------------------------

    def post(self, subject: str, body: Any = None) -> Message:
        """Put a command into its mailbox, and let it be taken up where nothing else is in hand."""
        number = str(next(self._numbers))
        letter = Message(number, number, 1, 0.0, "test", f"{NAME}@virtual", subject, body)
        self.thread.post(letter)
        self.pace.nudge()
        return letter

    def call(self, subject: str, body: Any = None, seconds: float = 60.0) -> Any:
        """Have a command carried out; return its answer, or raise its bounce."""
        letter = self.post(subject, body)
        answered = self.run_until(lambda: self.answers_to(letter), seconds)
        assert answered, f"{subject} was not answered within {seconds:g} s"
        answer = self.answers_to(letter)[0]
        if isinstance(answer, GatewayError):
            raise answer
        return answer

    def answers_to(self, letter: Message) -> list[Any]:
        """Return the replies and bounces that ``letter`` has had."""
        both = [*self.outside.replies, *self.outside.bounces]
        return [answer for each, answer in both if each is letter]

    # -- what it says ------------------------------------------------------

    @property
    def state(self) -> LinkState:
        """How far it is proven."""
        return self.thread.state

    @property
    def driver(self) -> Driver:
        """The newest driver object."""
        return self.drivers[-1]

    def publications(self) -> list[tuple[str, Any]]:
        """Return topic and body of what the driver itself has published, in order."""
        prefix, own = f"devices/{NAME}/", ("state", "info", "events", "moves", "claim")
        told = [(each.topic.removeprefix(prefix), each.body) for each in self.outside.published]
        return [(topic, body) for topic, body in told if topic.partition("/")[0] not in own]

    def bug(self) -> str:
        """Return the cause of a failure that is the driver's own fault, or empty text."""
        causes = [body["cause"] for body in self.outside.bodies(f"devices/{NAME}/state")]
        return next((cause for cause in causes if "its driver raised" in cause), "")

    def is_settled(self) -> bool:
        """Tell whether all mail is accounted for; asked once it has stopped."""
        return self._mailbox.statistics().is_balanced

    def _made(self, host: DriverHost) -> Driver:
        self.drivers.append(self._make_driver(NAME, host, self._settings))
        return self.drivers[-1]

    def _open(self) -> Link:
        self.pace.sleep(self.clock.now)  # for the first grant
        link = self._wait.link = self.wire()
        assert isinstance(link, WiredLink)
        return link


class _Waiting:
    """Where the mailbox and the questions of one device wait."""

    def __init__(self, pace: Lockstep, wire: BoardWire) -> None:
        self.link: Link | None = None
        self.let_go = False
        self._pace = pace
        self._wire = wire

    @property
    def readable(self) -> bool:
        return isinstance(self.link, WiredLink) and self.link.readable

    def a_while(self, deadline: float) -> bool:
        """Let time pass until something may have happened; False once ``deadline`` is reached."""
        if self._pace.clock.now >= deadline:
            return False
        self._pace.sleep(min(deadline, self._wire.wake))
        self._wire.let_speak()
        return True


class _VirtualMailbox(Mailbox):
    """A mailbox in whose waits virtual time passes."""

    def __init__(self, wait: _Waiting, clock: Clock) -> None:
        super().__init__(f"{NAME}@virtual", clock=clock)
        self._wait = wait
        self._now = clock.monotonic
        self._link_callback: WatchCallback | None = None
        self._interrupted = False

    def get(self, timeout: float | None = 0.0) -> Message | None:
        """Return the next letter, or None at the deadline or where the link was served."""
        deadline = inf if timeout is None else self._now() + max(0.0, timeout)
        while True:
            message = super().get(0.0)
            if message is not None or self.closed or self._wait.let_go:
                return message
            if self._link_callback is not None and self._wait.readable:
                self._link_callback(select.EPOLLIN)
                if self._interrupted:
                    self._interrupted = False
                    return None
            elif not self._wait.a_while(deadline):
                return None

    def watch(self, fd: int, callback: WatchCallback, events: int = select.EPOLLIN) -> None:
        """Serve the link from now on."""
        self._link_callback = callback

    def unwatch(self, fd: int) -> None:
        """Serve it no more."""
        self._link_callback = None

    def interrupt(self) -> None:
        """Have `get` return once the callback has."""
        self._interrupted = True


class _VirtualLookout(Lookout):
    """A lookout in whose polls virtual time passes."""

    def __init__(self, wait: _Waiting) -> None:
        self._wait = wait
        self._descriptor = -1
        self.poll = self._poll

    def _poll(self, seconds: float, most: int) -> list[tuple[int, int]]:
        deadline = self._wait._pace.clock.now + seconds
        while not self._wait.let_go:
            if self._wait.readable:
                return [(self._descriptor, select.EPOLLIN)]
            if not self._wait.a_while(deadline):
                return []
        return [(-1, select.EPOLLIN)]

    def watch(self, descriptor: int) -> None:
        """Wait for the link."""
        self._descriptor = descriptor

    def unwatch(self) -> None:
        """Wait for it no more."""

    def let_go(self) -> None:
        """End every wait."""
        self.is_let_go = True
        self._wait.let_go = True

    def stay(self) -> None:
        """Wait again."""
        self.is_let_go = False
        self._wait.let_go = False

    def close(self) -> None:
        """Own nothing, give nothing back."""


def as_data(body: Any) -> Any:
    """Return a body as plain values, to compare and to show."""
    return msgspec.to_builtins(body) if isinstance(body, msgspec.Struct) else body
