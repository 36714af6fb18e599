"""One visit: bytes between a port and who came for it over TCP, until he hangs up.

As ``rfc2217`` the visitor sets the line himself, DTR and RTS included, so that
a programmer can restart the board; as ``socket`` he gets it as configured. The
telnet is pyserial's `PortManager`. A thread of its own carries the bytes; it
ends with the visit, or when `RemoteHands.send_away` is called.

Refused: a second visitor, whose connection is closed at once; a visitor who
takes no bytes for ``write_timeout``, and one whose network has died.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import socket
import struct
import termios
import threading

import serial
from serial import rfc2217

from routes.serial.settings import RFC2217, SerialSettings

log = logging.getLogger(__name__)

_LONGEST = 256
"""Bytes of a subnegotiation that are listened to; those of RFC 2217 have six."""
_PATIENCE = 5.0
"""Seconds that the visit's thread may take to end; it waits for nothing longer than a write."""


class Line(serial.Serial):
    """pyserial's port; a line that it has not, as on a pseudo-terminal, is down."""

    @property
    def cts(self) -> bool:
        """Clear to send."""
        return self._is_up("cts")

    @property
    def dsr(self) -> bool:
        """Data set ready."""
        return self._is_up("dsr")

    @property
    def ri(self) -> bool:
        """Ring indicator."""
        return self._is_up("ri")

    @property
    def cd(self) -> bool:
        """Carrier detect."""
        return self._is_up("cd")

    def _is_up(self, name: str) -> bool:
        try:
            return bool(getattr(super(), name))
        except OSError:
            return False

    def _reconfigure_port(self, force_update: bool = False) -> None:
        try:
            super()._reconfigure_port(force_update)  # type: ignore[misc]
        except termios.error as error:
            if error.args[0] != errno.EINVAL:
                raise
            # What a `PortManager` takes for a setting that the port cannot do, and answers.
            raise ValueError(f"the port cannot do that: {error.args[-1]}") from error

    def _update_dtr_state(self) -> None:
        with contextlib.suppress(OSError):
            super()._update_dtr_state()  # type: ignore[misc]  # pyserial's own, not in its stubs

    def _update_rts_state(self) -> None:
        with contextlib.suppress(OSError):
            super()._update_rts_state()  # type: ignore[misc]


class RemoteHands:
    """A visitor, from the moment at which he is let in."""

    def __init__(
        self,
        settings: SerialSettings,
        baud: int,
        door: socket.socket,
        visitor: socket.socket,
        name: str,
    ) -> None:
        """Take over ``visitor``; ``door`` is where others are told that it is taken."""
        self.words = f"in the remote hands of {name}"
        """Where the port is, for a person."""
        self._settings = settings
        self._baud = baud
        self._door = door
        self._visitor = visitor
        self._end = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread: threading.Thread | None = None

    @property
    def hold_it(self) -> bool:
        """Whether the visitor has the port, or is about to."""
        return self._thread is None or self._thread.is_alive()

    def take(self) -> None:
        """Begin: nobody else has the port now. A second time does nothing."""
        if self._thread is None:
            log.info("%s: %s", self._settings.port, self.words)
            name = f"hands-{self._settings.port}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def send_away(self) -> None:
        """End the visit, if it has not ended, and give everything back."""
        os.eventfd_write(self._end, 1)
        with contextlib.suppress(OSError):
            # Ends a write to him that waits.
            self._visitor.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join(_PATIENCE)
            if self._thread.is_alive():
                # It waits for a port that takes nothing, until `write_timeout`, and then sees
                # the word; what it still polls must not become somebody else's meanwhile.
                log.warning("%s: the visit does not end yet", self._settings.port)
                return
        self._visitor.close()
        os.close(self._end)

    def _run(self) -> None:
        try:
            why = self._carry()
        except (OSError, termios.error) as error:
            why = str(error)
        except _NonsenseError as error:
            why = f"he said what is no RFC 2217: {error}"
        finally:
            self._visitor.close()
        log.info("%s: no longer %s: %s", self._settings.port, self.words, why)

    def _carry(self) -> str:
        settings = self._settings
        with Line(
            settings.port,
            self._baud,
            bytesize=settings.bytesize,
            parity=settings.parity,
            stopbits=settings.stopbits,
            rtscts=settings.rtscts,
            xonxoff=settings.xonxoff,
            exclusive=settings.exclusive or None,
            inter_byte_timeout=0,
            timeout=0,
            write_timeout=settings.write_timeout,
        ) as line:
            # What is sent to him waits for a bounded time; what he says is there by then.
            self._visitor.settimeout(settings.write_timeout)
            manager = None
            if settings.share.startswith(f"{RFC2217}://"):
                # The stubs name the client's class; it is any port, and what can write.
                manager = rfc2217.PortManager(line, _Telnet(self._visitor))  # type: ignore[arg-type]
            poll = select.poll()
            port = line.fileno()
            for descriptor in (self._end, self._visitor.fileno(), self._door.fileno(), port):
                poll.register(descriptor, select.POLLIN)
            while True:
                for descriptor, _ in poll.poll():
                    if descriptor == self._end:
                        return "the gateway stops"
                    if descriptor == self._door.fileno():
                        self._turn_away()
                    elif descriptor == port:
                        data = os.read(port, 4096)
                        if not data:
                            return "the port has hung up"
                        if manager is not None:
                            data = b"".join(manager.escape(data))
                        self._visitor.sendall(data)
                    else:
                        data = self._visitor.recv(4096)
                        if not data:
                            return "the visitor has hung up"
                        if manager is not None:
                            data = _filtered(manager, data)
                        line.write(data)

    def _turn_away(self) -> None:
        with contextlib.suppress(OSError):
            other, _ = self._door.accept()
            other.close()


class _NonsenseError(Exception):
    """The visitor's telnet cannot be understood."""


def _filtered(manager: rfc2217.PortManager, data: bytes) -> bytes:
    """Have ``manager`` carry out what is telnet in ``data``; return the rest."""
    try:
        data = b"".join(manager.filter(data))
    except (LookupError, TypeError, ValueError, struct.error) as error:
        # That is how it takes a setting that there is not, or half of one.
        raise _NonsenseError(f"{type(error).__name__}: {error}") from error
    if len(manager.suboption or b"") > _LONGEST:
        raise _NonsenseError("a setting without an end")
    return data


class _Telnet:
    """What `PortManager` answers through."""

    def __init__(self, visitor: socket.socket) -> None:
        self._visitor = visitor

    def write(self, data: bytes) -> None:
        """Send ``data``, in bounded time."""
        self._visitor.sendall(data)
