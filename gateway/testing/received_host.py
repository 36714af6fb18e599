"""The ground under a driver that only hears: no thread, no link, nobody answers.

For feeding `Driver.received` directly, a million times over. Every question is
answered by silence (`CallTimeoutError`, at once), what is written is counted,
what is published is checked against the driver's ``publications`` and counted.

Refused: what no letter can carry (`BodyError`, as by the real house), and
publications that were not declared or do not fit (`AssertionError`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.device.driver import Driver, DriverHost
from gateway.errors import CallTimeoutError, GatewayError
from gateway.mail.body import checked
from gateway.testing.publications import misfit


class ReceivedHost(DriverHost):
    """A `DriverHost` at whose other end there is nobody."""

    def __init__(self) -> None:
        self.driver: Driver | None = None
        """Whose publications are checked."""
        self.asked = self.written = self.published = self.faults = self.refused = 0

    def hear(self, driver: Driver, frame: bytes) -> None:
        """Give ``frame`` to the driver; what it refuses of it is counted, a bug rises."""
        try:
            driver.received(frame)
        except GatewayError:
            self.refused += 1

    def ask(self, request: bytes, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        """Answer nothing."""
        self.asked += 1
        raise CallTimeoutError(f"no answer to {request[:40]!r} within {timeout:g} s")

    def ask_many(
        self,
        requests: Sequence[bytes],
        answers: Callable[[bytes, bytes], bool],
        timeout: float,
        in_flight: int,
    ) -> list[bytes]:
        """Answer nothing, unless nothing is asked."""
        self.asked += len(requests)
        if requests:
            raise CallTimeoutError(f"no answer to {requests[0][:40]!r} within {timeout:g} s")
        return []

    def listen(self, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        """Hear nothing."""
        self.asked += 1
        raise CallTimeoutError(f"no expected frame within {timeout:g} s")

    def write(self, payload: bytes) -> None:
        """Count it."""
        self.written += 1

    def publish(self, topic: str, body: Any, *, retain: bool = False) -> None:
        """Count it, once it has been checked."""
        checked(body)
        self.published += 1
        assert self.driver is not None
        problem = misfit(self.driver.publications, topic, body)
        assert not problem, problem

    def fault(self, cause: str) -> None:
        """Count it."""
        assert isinstance(cause, str)
        self.faults += 1
