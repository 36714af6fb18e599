"""The ground that a driver stands on while it is tried: its questions and nothing else.

One link, one driver, the caller's own thread. Of a driver only `handshake` is called,
and what it would tell the house is dropped. Every wait ends at the probe's deadline.

Refused: nothing; a driver that asks too long gets `CallTimeoutError`.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gateway.clock import Clock
from gateway.device.driver import Driver
from gateway.device.identity import Identity
from gateway.device.link import Link
from gateway.errors import CallTimeoutError, GatewayError, LinkLostError, ProtocolError
from gateway.framing.frame import Frame


class ProbeHost:
    """Counts what a driver's framing makes of a port, and has the driver shake hands with it."""

    def __init__(self, driver: type[Driver], link: Link, clock: Clock) -> None:
        self.frames = self.garbage = 0
        self._framing = driver.framing
        self._decoder: Any = driver.framing.decoder()
        self._silence: float | None = getattr(driver.framing, "silence", None)
        self._link = link
        self._clock = clock
        self._deadline = 0.0

    def hear(self, data: bytes) -> None:
        """Count what was heard before anybody asked."""
        self._count(self._decoder.feed(data))

    def shake_hands(self, driver: Driver, seconds: float) -> Identity:
        """Return who is there; questions are asked again until ``seconds`` are over.

        Raises the last `GatewayError` where nobody could be made out.
        """
        self._deadline = self._clock.monotonic() + seconds
        self._decoder.reset()
        while True:
            try:
                return driver.handshake()
            except (CallTimeoutError, ProtocolError):
                if self._clock.monotonic() >= self._deadline:
                    raise

    # What a driver may do

    def ask(self, request: bytes, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        """Write ``request``, return the first frame from now on that ``answers`` accepts."""
        self.write(request)
        return self._wait(answers, timeout, f"no answer to {request[:40]!r}")

    def listen(self, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        """Return the first frame from now on that ``answers`` accepts."""
        return self._wait(answers, timeout, "it says nothing of the kind by itself")

    def ask_many(
        self,
        requests: Sequence[bytes],
        answers: Callable[[bytes, bytes], bool],
        timeout: float,
        in_flight: int,
    ) -> list[bytes]:
        """Ask one after the other: who is there is no matter of speed."""
        return [self.ask(each, partial(answers, each), timeout) for each in requests]

    def write(self, payload: bytes) -> None:
        """Write one frame."""
        if self._clock.monotonic() >= self._deadline:
            raise CallTimeoutError("its time was up")
        try:
            self._link.write(self._framing.encode(payload))
        except ValueError as error:
            raise ProtocolError(f"it cannot be framed: {error}") from None

    def publish(self, topic: str, body: object, *, retain: bool = False) -> None:
        """Drop it: nobody is to hear of a board that is not there yet."""

    def fault(self, cause: str) -> None:
        """Drop it."""

    def _wait(self, answers: Callable[[bytes], bool], timeout: float, problem: str) -> bytes:
        end = min(self._clock.monotonic() + timeout, self._deadline)
        poll = select.poll()
        poll.register(self._link.fileno(), select.POLLIN)
        while (left := end - self._clock.monotonic()) > 0:
            wait = left if self._silence is None else min(left, self._silence)
            if poll.poll(wait * 1000):
                found = self._decoder.feed(self._link.read())
            elif self._silence is not None:
                found = self._decoder.expire()
            else:
                found = []
            for payload in self._count(found):
                if answers(payload):
                    return payload
        raise CallTimeoutError(problem)

    def _count(self, events: list[Any]) -> list[bytes]:
        frames = [event.payload for event in events if isinstance(event, Frame)]
        self.frames += len(frames)
        self.garbage += len(events) - len(frames)
        return frames


def attempt(
    host: ProbeHost, driver: type[Driver], seconds: float
) -> tuple[Identity | None, str, bool]:
    """Have ``driver`` shake hands; return who is there, or the problem, and whether it asked.

    `LinkLostError` alone is raised: the port is gone, and with it the probe.
    """
    try:
        made = driver("probe", host)
    except ValueError:
        return None, "it cannot be tried without settings of its own", False
    try:
        return host.shake_hands(made, seconds), "", True
    except LinkLostError:
        raise
    except GatewayError as error:
        return None, str(error), True
    except Exception as error:  # noqa: BLE001  a bug of one driver must not end the probe
        return None, f"its driver has a bug: {type(error).__name__}: {error}", True
