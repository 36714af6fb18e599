"""What is configured for one serial port.

Accepted ports are a device path (``/dev/ttyACM0``, or better a link below
``/dev/serial/by-id/`` that keeps its name when another board is plugged in),
``socket://host:port``, a raw TCP port server, and ``rfc2217://host:port``, one
that also sets the line. In place of a port there may be a ``match``, by which the
port is found: see `gateway.hosting.matching`. Refused when the configuration is
loaded: any other scheme of pyserial's, and settings that no port of the kind
could ever have.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from gateway.hosting.matching import Match

SOCKET = "socket"
RFC2217 = "rfc2217"

Baud = Annotated[int, Meta(ge=50, le=4_000_000, description="bits a second")]
Bauds = Annotated[tuple[Baud, ...], Meta(min_length=1, max_length=16)]
Seconds = Annotated[float, Meta(gt=0, le=60)]

AUTO: tuple[int, ...] = (115200, 9600, 57600, 38400, 19200, 230400, 250000, 4800, 921600, 1000000)
"""The rates that ``baud = "auto"`` tries: those that boards are shipped with, likeliest first."""


class Rs485(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Half duplex on one pair of wires: the port's own driver switches the direction by RTS.

    ``rts_on_send`` and ``rts_after_send`` are the levels of RTS while the port
    sends and while it listens; the delays, in seconds, are kept between RTS
    and the first bit and between the last bit and RTS (the kernel counts whole
    milliseconds). ``rx_during_tx`` hears what the port itself sends.
    """

    rts_on_send: bool = True
    rts_after_send: bool = False
    delay_before_send: Annotated[float, Meta(ge=0, le=0.1)] = 0.0
    delay_after_send: Annotated[float, Meta(ge=0, le=0.1)] = 0.0
    rx_during_tx: bool = False


class Reset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Pull ``line`` for ``seconds`` after opening, which restarts a board that is wired for it.

    ``dtr`` restarts most Arduinos; ``rts`` an ESP32, whose ``dtr`` must be off
    meanwhile; ``break`` holds the data line low, which wakes some instruments.
    """

    line: Literal["dtr", "rts", "break"] = "dtr"
    seconds: Annotated[float, Meta(gt=0, le=2)] = 0.1


class SerialSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to open a serial port; over ``socket://`` the line's own settings count for nothing.

    ``baud`` is a rate, ``"auto"``, or a list of rates of which the driver's
    handshake proves one. ``exclusive`` keeps every other program out that is
    no root's, and of root's those that ask for the same (pyserial, the
    gateway); it cannot turn out one that is in already and did not ask.
    ``low_latency`` asks USB adapters not to gather bytes for 16 ms.
    ``write_timeout`` is in seconds: how long a peer that takes no bytes is
    borne with; ``connect_timeout`` is for port servers, their line's settings
    included.

    ``dtr`` and ``rts`` set the modem lines, which the kernel raises at every
    opening; unset they are left as it has them. ``hupcl = false`` keeps it from
    dropping them at the close, so that the next opening does not restart a
    board that takes such an edge for a reset. ``reset`` restarts it on purpose.

    ``share`` lets remote hands have the port, where the route allows it: see
    `routes.serial.sharing`.
    """

    simulated_by: ClassVar[str] = "port"
    """The key that takes the path of a simulated device; see ``gateway simulate``."""

    port: str = ""
    match: dict[str, str] = {}
    baud: Baud | Literal["auto"] | Bauds = 115200
    bytesize: Literal[5, 6, 7, 8] = 8
    parity: Literal["N", "E", "O", "M", "S"] = "N"
    stopbits: Literal[1, 2] = 1
    rtscts: bool = False
    dsrdtr: bool = False
    xonxoff: bool = False
    rs485: Rs485 | None = None
    dtr: bool | None = None
    rts: bool | None = None
    hupcl: bool | None = None
    reset: Reset | None = None
    exclusive: bool = True
    low_latency: bool = True
    write_timeout: Seconds = 1.0
    connect_timeout: Seconds = 2.0
    share: str = ""

    def __post_init__(self) -> None:
        if bool(self.match) == bool(self.port):
            raise ValueError(
                f"a device is at a port, or is found by a match: give one of them, "
                f"not {self.port!r} and {self.match}"
            )
        if self.match:
            Match(self.match)
        elif self.is_device and not self.port.startswith("/"):
            raise ValueError(
                f"a port is a path such as /dev/serial/by-id/…, socket://host:port or "
                f"rfc2217://host:port, not {self.port!r}"
            )
        if self.port and not self.is_device:
            self.socket_address()
        if self.share:
            self.share_address()
        self._check_together()

    def _check_together(self) -> None:
        """Raise `ValueError` for what no port of this kind can do."""
        if isinstance(self.baud, tuple) and len(set(self.baud)) < len(self.baud):
            raise ValueError(f"baud names a rate twice: {', '.join(map(str, self.baud))}")
        if self.is_socket and len(self.rates) > 1:
            raise ValueError(
                "baud: a raw port server sets its line by itself; name no rates, or use rfc2217://"
            )
        if self.rtscts + self.dsrdtr + self.xonxoff > 1:
            raise ValueError(
                "choose one of rtscts, dsrdtr and xonxoff: a line has one flow control"
            )
        if self.dsrdtr and self.is_device:
            raise ValueError(
                "dsrdtr: Linux has no flow control by DSR and DTR; wire the board for rtscts or "
                "use xonxoff"
            )
        if self.rs485 and (self.rtscts or self.rts is not None):
            raise ValueError("rs485 switches the direction by RTS: leave rtscts and rts out")
        if self.rts is not None and self.rtscts:
            raise ValueError("rtscts drives RTS by itself: leave rts out")
        if self.reset and self.reset.line == "rts" and (self.rtscts or self.rs485):
            raise ValueError("reset: RTS is driven by the flow control; pull dtr, or leave it out")
        if self.reset and getattr(self, self.reset.line, None) is False:
            raise ValueError(
                f"reset pulls {self.reset.line} and lets it go: leave {self.reset.line} = false out"
            )
        if self.rs485 and not self.is_device:
            raise ValueError("rs485: a port server switches its own line; set it up there")
        if self.is_rfc2217 and self.hupcl is not None:
            raise ValueError("hupcl: a port server closes its own port; set it up there")
        if self.share and not self.is_device:
            raise ValueError("share: a port of another machine is that machine's to share")

    @property
    def is_socket(self) -> bool:
        """Whether the port is a raw TCP port server."""
        return self.port.startswith(f"{SOCKET}://")

    @property
    def is_rfc2217(self) -> bool:
        """Whether the port is a port server that sets its line as it is told."""
        return self.port.startswith(f"{RFC2217}://")

    @property
    def is_device(self) -> bool:
        """Whether the port is this machine's own."""
        return not self.is_socket and not self.is_rfc2217

    @property
    def rates(self) -> tuple[int, ...]:
        """The rates that may be right, likeliest first; one where it is known.

        >>> SerialSettings(port="/dev/ttyUSB0").rates
        (115200,)
        """
        if self.baud == "auto":
            return AUTO
        return self.baud if isinstance(self.baud, tuple) else (self.baud,)

    def socket_address(self) -> tuple[str, int]:
        """Return host and port of a port server.

        >>> SerialSettings(port="socket://[::1]:4000").socket_address()
        ('::1', 4000)
        """
        scheme = RFC2217 if self.is_rfc2217 else SOCKET
        wrong = f"a port server is {scheme}://host:port, not {self.port!r}"
        return _address(self.port, wrong, "")

    def share_address(self) -> tuple[str, int]:
        """Return where the port is shared: on this machine's loopback, unless an address is named.

        >>> SerialSettings(port="/dev/ttyUSB0", share="rfc2217://:4000").share_address()
        ('127.0.0.1', 4000)
        """
        wrong = f"share is rfc2217://127.0.0.1:port or socket://127.0.0.1:port, not {self.share!r}"
        if not self.share.startswith((f"{RFC2217}://", f"{SOCKET}://")):
            raise ValueError(wrong)
        return _address(self.share, wrong, "127.0.0.1")


def _address(url: str, wrong: str, host_unless_named: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or host_unless_named, parts.port
    except ValueError:
        raise ValueError(wrong) from None
    if not host or not port or parts.path or parts.query or parts.fragment or parts.username:
        raise ValueError(wrong)
    return host, port
