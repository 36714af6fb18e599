"""What is configured for one serial port.

Accepted ports are a device path (``/dev/ttyACM0``, or better a link below
``/dev/serial/by-id/`` that keeps its name when another board is plugged in)
and ``socket://host:port``, a raw TCP port server. In place of a port there may be
a ``match``, by which the port is found: see `gateway.hosting.matching`. Refused
when the configuration is loaded: anything else, pyserial's other schemes
included; they give no descriptor to wait on.
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from gateway.hosting.matching import Match


class SerialSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to open a serial port; over ``socket://`` the line's own settings count for nothing.

    ``write_timeout`` is in seconds: how long a peer that takes no bytes is
    borne with. ``exclusive`` keeps a second program out that asks for the same
    (pyserial, the gateway); it cannot turn out one that is in already and did
    not ask. ``low_latency`` asks USB adapters not to gather bytes for 16 ms.
    """

    port: str = ""
    match: dict[str, str] = {}
    baud: Annotated[int, msgspec.Meta(ge=50, le=4_000_000)] = 115200
    bytesize: Literal[5, 6, 7, 8] = 8
    parity: Literal["N", "E", "O", "M", "S"] = "N"
    stopbits: Literal[1, 2] = 1
    rtscts: bool = False
    xonxoff: bool = False
    exclusive: bool = True
    low_latency: bool = True
    write_timeout: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    connect_timeout: Annotated[float, msgspec.Meta(gt=0, le=60)] = 2.0

    def __post_init__(self) -> None:
        if bool(self.match) == bool(self.port):
            raise ValueError(
                f"a device is at a port, or is found by a match: give one of them, "
                f"not {self.port!r} and {self.match}"
            )
        if self.match:
            Match(self.match)
            return
        if not self.is_socket and not self.port.startswith("/"):
            raise ValueError(
                f"a port is a path such as /dev/serial/by-id/… or socket://host:port, "
                f"not {self.port!r}"
            )
        if self.is_socket:
            self.socket_address()

    @property
    def is_socket(self) -> bool:
        """Whether the port is a TCP port server and no device."""
        return self.port.startswith("socket://")

    def socket_address(self) -> tuple[str, int]:
        """Return host and port of a ``socket://`` port.

        >>> SerialSettings(port="socket://[::1]:4000").socket_address()
        ('::1', 4000)
        """
        wrong = f"a port server is socket://host:port, not {self.port!r}"
        try:
            parts = urlsplit(self.port)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError(wrong) from None
        if not host or not port or parts.path or parts.query or parts.fragment or parts.username:
            raise ValueError(wrong)
        return host, port
