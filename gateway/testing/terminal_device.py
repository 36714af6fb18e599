"""A device on its simulator, in real time: nothing is faked but the house around it.

For what virtual time cannot show: descriptors that die, bytes that come when
they come. Back-off waits are short, so that a board that was plugged in again
is found at once. Refused (`AssertionError`): a thread that does not end.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Self

from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.device.driver import Driver, DriverHost
from gateway.device.link import Opener
from gateway.hosting.driver_thread import DriverThread
from gateway.mail.message import Message
from gateway.testing.fake_outside import FakeOutside

NAME = "device"
"""What the device is called; its topics are below ``devices/device``."""

SECONDS = 30.0
"""How long a real device gets for anything, on a machine that has much else to do."""


class TerminalDevice:
    """One device at the end of what ``opener`` opens; ``with`` starts it and ends it."""

    def __init__(
        self,
        make_driver: Callable[[str, DriverHost, Mapping[str, Any] | None], Driver],
        opener: Opener,
        *,
        settings: Mapping[str, Any] | None = None,
        outside: FakeOutside | None = None,
    ) -> None:
        self.outside = FakeOutside() if outside is None else outside
        self._mailbox = Mailbox(f"{NAME}@terminal", clock=RealClock())
        self.thread = DriverThread(
            NAME,
            lambda host: make_driver(NAME, host, settings),
            opener,
            self.outside,
            self._mailbox,
            clock=RealClock(),
            random=_Hasty(),
        )
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        ended = self.thread.stop(SECONDS)
        self._mailbox.close()
        assert ended, f"the driver thread did not end within {SECONDS:g} s"

    def call(self, subject: str, body: Any = None) -> Any:
        """Have a command carried out; return its answer, or raise its bounce."""
        number = str(next(self._numbers))
        letter = Message(number, number, 1, 0.0, "test", f"{NAME}@terminal", subject, body)
        answered = len(self.outside.replies) + len(self.outside.bounces)
        self.thread.post(letter)
        self.outside.wait_for(
            lambda: len(self.outside.replies) + len(self.outside.bounces) > answered, SECONDS
        )
        if self.outside.bounces and self.outside.bounces[-1][0] is letter:
            raise self.outside.bounces[-1][1]
        return self.outside.replies[-1][1]

    def wait_connected(self, count: int) -> None:
        """Wait until it has been connected for the ``count``-th time."""
        self.outside.wait_event(NAME, "connected", count, SECONDS)

    def wait_disconnected(self, count: int) -> None:
        """Wait until it has been lost for the ``count``-th time."""
        self.outside.wait_event(NAME, "disconnected", count, SECONDS)

    def bug(self) -> str:
        """Return the cause of a failure that is the driver's own fault, or empty text."""
        causes = [body["cause"] for body in self.outside.bodies(f"devices/{NAME}/state")]
        return next((cause for cause in causes if "its driver raised" in cause), "")


class _Hasty(Random):
    """Randomness by which every back-off is a short one."""

    def uniform(self, a: float, b: float) -> float:
        return min(0.02, b)
