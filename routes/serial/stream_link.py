"""A `Link` over one non-blocking descriptor: a serial port's, or a TCP socket's.

Bytes go by ``os.read`` and ``os.write``. pyserial's own `read` and `write`
select before each byte they move, and its ways of finding a port dead are five
different exceptions; here they are one, `LinkLostError`.

Refused: to wait in `read`, to wait longer than ``write_timeout`` in `write`,
and to guess: a link that has broken stays broken.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from gateway.clock import Clock
from gateway.device.link import Link
from gateway.errors import LinkLostError

_READ_SIZE = 65536


class StreamLink(Link):
    """One open stream of bytes; owns its descriptor."""

    def __init__(
        self,
        name: str,
        descriptor: int,
        write_timeout: float,
        give_back: Callable[[int, bool], None],
        clock: Clock,
    ) -> None:
        """Take over ``descriptor``, which does not block.

        ``give_back(descriptor, broken)`` is called once, when the link is
        closed, and closes it; it raises nothing.
        """
        self._name = name
        self._descriptor = descriptor
        self._write_timeout = write_timeout
        self._give_back = give_back
        self._clock = clock
        self._broken = False

    def __repr__(self) -> str:
        state = "closed" if self._descriptor < 0 else "broken" if self._broken else "open"
        return f"<{type(self).__name__} {self._name} {state}>"

    def fileno(self) -> int:
        """Return the descriptor; -1 once the link is closed."""
        return self._descriptor

    def read(self) -> bytes:
        """Return what has arrived, up to 64 kB, or ``b""``; raises `LinkLostError`."""
        try:
            data = os.read(self._descriptor, _READ_SIZE)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(error.strerror or str(error)) from error
        if not data:
            # A port tells it apart from "nothing yet" by VMIN=1: see port_opening.
            raise self._lost("the other end has hung up")
        return data

    def write(self, data: bytes) -> None:
        """Write all of ``data``; raises `LinkLostError`, after the write timeout at the latest."""
        try:
            count = os.write(self._descriptor, data)
            if count != len(data):
                self._write_rest(memoryview(data)[count:])
        except BlockingIOError:
            self._write_rest(memoryview(data))
        except OSError as error:
            raise self._lost(error.strerror or str(error)) from error

    def _write_rest(self, rest: memoryview) -> None:
        """Write what the first try left, each time that there is room, until the deadline."""
        deadline = self._clock.monotonic() + self._write_timeout
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while rest:
            left = deadline - self._clock.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise self._lost(
                    f"the device took no bytes for {self._write_timeout:g} s; {len(rest)} are left"
                )
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._lost(error.strerror or str(error)) from error

    def close(self) -> None:
        """Give the descriptor back; never raises, a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._give_back(descriptor, self._broken)

    def _lost(self, why: str) -> LinkLostError:
        if self._descriptor < 0:
            return LinkLostError(f"{self._name} is closed")
        self._broken = True
        return LinkLostError(f"{self._name}: {why}")
