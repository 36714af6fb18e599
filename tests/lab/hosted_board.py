"""One hosted bench board, and the house that it tells of itself."""

from __future__ import annotations

from random import Random
from typing import Any

from drivers.bench_board.driver import BenchBoard, BenchBoardSettings
from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.device.link import Opener
from gateway.hosting.driver_thread import DriverThread
from gateway.testing.fake_outside import FakeOutside

SECONDS = 30.0


class HostedBoard:
    """A bench board's driver in its thread, behind ``open_port``; it runs until `stop`."""

    def __init__(self, open_port: Opener, within: float = 5.0) -> None:
        self.outside = FakeOutside()
        self.mailbox = Mailbox("board@serial", clock=RealClock())
        driver = type("Board", (BenchBoard,), {"handshake_within": within})
        self.thread = DriverThread(
            "board",
            lambda host: driver("board", host, BenchBoardSettings(stream_hz=50)),
            open_port,
            self.outside,
            self.mailbox,
            clock=RealClock(),
            random=Random(1),
        )
        self.thread.start()

    def states(self) -> list[str]:
        """Return every state that was told, in order."""
        return [
            each.body["state"]
            for each in self.outside.published
            if each.topic == "devices/board/state"
        ]

    def wait_for(self, state: str, count: int = 1) -> dict[str, Any]:
        """Wait until ``state`` has been told ``count`` times; return its newest body."""
        self.outside.wait_for(lambda: self.states().count(state) >= count, SECONDS)
        found: dict[str, Any] = next(
            each.body
            for each in reversed(self.outside.published)
            if each.topic == "devices/board/state" and each.body["state"] == state
        )
        return found

    def stop(self) -> None:
        """End it."""
        assert self.thread.stop(SECONDS)
        self.mailbox.close()
