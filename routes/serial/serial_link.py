"""The link to a device on a serial port, or behind a raw TCP port server, and its opener.

Where the rate is not known, the link is opened at one that may be right and
moved on to the next each time that a handshake has failed, on the open port:
opening it again would restart many boards.

A socket is opened without pyserial: its ``socket://`` waits five seconds for
a host that does not answer, sleeps 0.3 s at every close, and forgets to close
a socket whose peer has reset it.

Refused: what `routes.serial.port_opening` and `StreamLink` refuse.
"""

from __future__ import annotations

import contextlib
import logging
import termios
from collections.abc import Iterator

from msgspec.structs import replace

from gateway.clock import Clock, RealClock
from gateway.device.link import Link
from routes.serial import line, modem_lines
from routes.serial.baud_detection import Rates
from routes.serial.port_opening import close_port, open_port
from routes.serial.port_server import close_socket, connect
from routes.serial.rfc2217_link import Rfc2217Link
from routes.serial.settings import SerialSettings
from routes.serial.stream_link import StreamLink

log = logging.getLogger(__name__)


class SerialLink(StreamLink):
    """One open port; make it with `SerialLink.open`."""

    def __init__(
        self,
        settings: SerialSettings,
        descriptor: int,
        rates: Rates,
        clock: Clock,
        notes: tuple[str, ...] = (),
    ) -> None:
        """Take over ``descriptor``, an open port or a connected socket that does not block."""
        give_back = close_port if settings.is_device else close_socket
        super().__init__(settings.port, descriptor, settings.write_timeout, give_back, clock)
        self._rates = rates
        self.notes = notes
        """What the port could not do, and was borne with."""

    @classmethod
    def open(
        cls, settings: SerialSettings, *, clock: Clock | None = None, rates: Rates | None = None
    ) -> SerialLink:
        """Open the port that ``settings`` name.

        Raises `LinkAbsentError` where nothing is there, and `LinkLostError`
        where something is and cannot be opened; its text says what to do.
        A device path answers at once, after its ``reset`` pulse; a socket has
        ``connect_timeout`` for each address that its host name stands for, and
        finding those takes as long as the machine's resolver allows: write a
        number where it matters. ``rates`` remembers which one proved.
        """
        clock = clock or RealClock()
        rates = rates or Rates(settings.rates)
        if settings.is_socket:
            return cls(settings, connect(settings), rates, clock)
        opened = open_port(settings, rates.begin())
        return cls(settings, opened.descriptor, rates, clock, opened.notes)

    @property
    def ways(self) -> int:
        """In how many rates the board may speak."""
        return len(self._rates)

    @property
    def tried(self) -> str:
        """The rates that were tried on this open port."""
        return self._rates.tried

    def try_next_way(self) -> None:
        """Go on to the next rate; raises `LinkLostError`."""
        baud = self._rates.next()
        with self._port_errors():
            line.set_rate(self._descriptor, baud)
            if line.is_pseudo_terminal(self._descriptor):
                return
            if mistake := line.rate_mistake(self._descriptor, baud):
                log.warning("%s cannot do %s", self._name, mistake)

    def proven(self) -> None:
        """Remember the rate for the next opening."""
        self._rates.proven()

    def send_break(self, seconds: float) -> None:
        """Hold the data line low for ``seconds``; raises `LinkLostError`."""
        with self._port_errors():
            modem_lines.send_break(self._descriptor, seconds)

    @contextlib.contextmanager
    def _port_errors(self) -> Iterator[None]:
        if self._descriptor < 0:
            raise self._lost("")
        try:
            yield
        except termios.error as error:
            raise self._lost(str(error.args[-1])) from error
        except OSError as error:
            raise self._lost(error.strerror or str(error)) from error


class PortOpener:
    """Opens one port again and again, and remembers what it learnt; used by one thread."""

    def __init__(self, settings: SerialSettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or RealClock()
        self._rates = Rates(settings.rates)
        self._told: tuple[str, ...] = ()

    @property
    def baud(self) -> int:
        """The rate that was proven last, or the likeliest."""
        return self._rates.likeliest

    @property
    def settings(self) -> SerialSettings:
        """How the port is opened next."""
        return self._settings

    def move_to(self, port: str) -> None:
        """Open ``port`` from now on: what matches has been plugged in there."""
        self._settings = replace(self._settings, port=port, match={})

    def __call__(self) -> Link:
        """Open the port, or raise as `SerialLink.open` does."""
        if self._settings.is_rfc2217:
            return Rfc2217Link.open(self._settings, clock=self._clock, rates=self._rates)
        link = SerialLink.open(self._settings, clock=self._clock, rates=self._rates)
        if link.notes != self._told:
            self._told = link.notes
            log.info("%s: %s", self._settings.port, "; ".join(link.notes))
        return link


def opener(settings: SerialSettings, *, clock: Clock | None = None) -> PortOpener:
    """Return what opens the port that ``settings`` name, as a driver thread wants it."""
    return PortOpener(settings, clock)
