"""A link to a port that a server on another machine sets as it is told (RFC 2217).

It is a TCP socket with telnet on it, so it has a descriptor, and needs no
thread: what the server says about itself is taken out of the stream in `read`.
pyserial's own client keeps a thread, polls for answers every 50 ms, and takes
the loss of its connection for an empty port.

Refused, with `LinkLostError`: a server that does not speak RFC 2217, one that
has not answered within ``connect_timeout``, one whose port cannot do a
setting (the text names it), and one that asks for silence for longer than
``write_timeout``.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable

from gateway.clock import Clock
from routes.serial import telnet
from routes.serial.baud_detection import Rates
from routes.serial.com_port import ComPort
from routes.serial.port_server import close_socket, connect
from routes.serial.settings import SerialSettings
from routes.serial.stream_link import StreamLink

log = logging.getLogger(__name__)

_WITHHELD = 65536
"""Bytes that wait at the most while the server asks for silence."""


class Rfc2217Link(StreamLink):
    """One open port of a server; make it with `Rfc2217Link.open`."""

    def __init__(
        self, settings: SerialSettings, descriptor: int, rates: Rates, clock: Clock
    ) -> None:
        """Take over ``descriptor``, a connected socket that does not block."""
        super().__init__(settings.port, descriptor, settings.write_timeout, close_socket, clock)
        self._settings = settings
        self._rates = rates
        self._decoder = telnet.Decoder()
        self._port = ComPort(settings)
        self._withheld = b""
        self._silent_since = 0.0

    @classmethod
    def open(cls, settings: SerialSettings, *, clock: Clock, rates: Rates) -> Rfc2217Link:
        """Connect and set the line, within twice ``connect_timeout``.

        Raises `LinkAbsentError` where nobody answers, and `LinkLostError`
        where something does and is no such port.
        """
        link = cls(settings, connect(settings), rates, clock)
        try:
            link._negotiate(rates.begin())
        except BaseException:
            link.close()
            raise
        return link

    def read(self) -> bytes:
        """Return the data that has arrived, or ``b""``; raises `LinkLostError`."""
        data, events = self._decoder.feed(super().read())
        for event in events:
            answer = self._port.obey(event)
            if answer:
                super().write(answer)
        if self._withheld and not self._port.suspended:
            withheld, self._withheld = self._withheld, b""
            super().write(withheld)
        return data

    def write(self, data: bytes) -> None:
        """Write all of ``data``; raises `LinkLostError`, after the write timeout at the latest."""
        data = telnet.escaped(data)
        if self._port.suspended:
            self._withhold(data)
        else:
            super().write(data)

    @property
    def ways(self) -> int:
        """In how many rates the board may speak."""
        return len(self._rates)

    @property
    def tried(self) -> str:
        """The rates that were tried on this open port."""
        return self._rates.tried

    def try_next_way(self) -> None:
        """Go on to the next rate; one that the port cannot do is told and passed over."""
        super().write(self._port.set_rate(self._rates.next()))
        self._settle()
        if self._port.mistakes:
            log.warning("%s: %s", self._name, "; ".join(self._port.mistakes))
            self._port.mistakes.clear()

    def proven(self) -> None:
        """Remember the rate for the next opening."""
        self._rates.proven()

    def send_break(self, seconds: float) -> None:
        """Hold the data line low for about ``seconds``; raises `LinkLostError`."""
        self._pull("break", seconds)

    def _negotiate(self, baud: int) -> None:
        super().write(self._port.begin())
        self._listen(lambda: self._port.agreed is not None)
        if not self._port.agreed:
            raise self._lost(
                "it is no RFC 2217 port server; use socket:// for one that carries bytes alone"
            )
        super().write(self._port.set_up(baud))
        self._settle()
        if self._port.mistakes:
            raise self._lost(f"cannot do that: {'; '.join(self._port.mistakes)}")
        if self._port.unanswered:
            log.info("%s: not confirmed: %s", self._name, ", ".join(self._port.unanswered))
        if self._settings.reset is not None:
            self._pull(self._settings.reset.line, self._settings.reset.seconds)

    def _settle(self) -> None:
        self._listen(lambda: self._port.is_settled)
        if not self._port.is_settled:
            self._port.settle()
            unanswered = ", ".join(self._port.unanswered)
            raise self._lost(
                f"the port server has not set {unanswered} within "
                f"{self._settings.connect_timeout:g} s"
            )
        self._port.settle()

    def _pull(self, line: str, seconds: float) -> None:
        """Drop the line, or hold it for a break, and let it go again."""
        down = line == "break"
        super().write(self._port.set_line(line, down))
        time.sleep(seconds)
        super().write(self._port.set_line(line, not down))

    def _listen(self, is_done: Callable[[], bool]) -> None:
        """Read, and throw away what is data, until ``is_done`` or the time is up."""
        deadline = self._clock.monotonic() + self._settings.connect_timeout
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        while not is_done():
            left = deadline - self._clock.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return
            self.read()

    def _withhold(self, data: bytes) -> None:
        now = self._clock.monotonic()
        if not self._withheld:
            self._silent_since = now
        self._withheld += data
        if now - self._silent_since > self._write_timeout or len(self._withheld) > _WITHHELD:
            raise self._lost(
                f"the port server asks for silence since {now - self._silent_since:.1f} s; "
                f"{len(self._withheld)} bytes are left"
            )
