"""A `Link` over a serial port, or over the raw TCP socket of a port server.

pyserial opens and configures the port; from there on bytes go by ``os.read``
and ``os.write`` on its non-blocking descriptor. pyserial's own `read` and
`write` select before each byte they move, and its ways of finding a port dead
are five different exceptions. Here they are one, `LinkLostError`, and at
opening `LinkAbsentError` where nothing is plugged in.

A socket is opened without pyserial: its ``socket://`` waits five seconds for
a host that does not answer, sleeps 0.3 s at every close, and forgets to close
a socket whose peer has reset it.

Refused: to wait in `read`, to wait longer than ``write_timeout`` in `write`,
and to guess: a link that has broken stays broken. Not even ``exclusive``
notices a program that has the port open and did not ask for it to be locked.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import select
import socket
import termios
from functools import partial

import serial

from gateway.clock import Clock, RealClock
from gateway.device.link import Link, Opener
from gateway.errors import LinkAbsentError, LinkLostError
from routes.serial.settings import SerialSettings

_READ_SIZE = 65536

_ABSENT = {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR, errno.EIO}
"""Nothing there: never was, was pulled, or (EIO) has just gone behind its link."""
_BUSY = {errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK}
_FORBIDDEN = {errno.EACCES, errno.EPERM}
_NO_PORT = {errno.ENOTTY, errno.EISDIR, errno.EINVAL}


class SerialLink(Link):
    """One open port; make it with `SerialLink.open`."""

    def __init__(
        self, settings: SerialSettings, owner: serial.Serial | socket.socket, clock: Clock
    ) -> None:
        """Take over ``owner``, the open non-blocking port or socket, and close it in the end."""
        self.settings = settings
        self._owner: serial.Serial | socket.socket | None = owner
        self._clock = clock
        self._descriptor = owner.fileno()
        self._broken = False

    @classmethod
    def open(cls, settings: SerialSettings, *, clock: Clock | None = None) -> SerialLink:
        """Open the port that ``settings`` name.

        Raises `LinkAbsentError` where nothing is there, and `LinkLostError`
        where something is and cannot be opened; its text says what to do.
        A device path answers at once; a socket has ``connect_timeout`` for
        each address that its host name stands for, and finding those takes
        as long as the machine's resolver allows: write a number where it matters.
        """
        opened = _connect(settings) if settings.is_socket else _open_port(settings)
        return cls(settings, opened, clock or RealClock())

    def __repr__(self) -> str:
        state = "closed" if self._owner is None else "broken" if self._broken else "open"
        return f"<SerialLink {self.settings.port} {state}>"

    def fileno(self) -> int:
        """Return the port's descriptor; -1 once the link is closed."""
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
            # Told apart from "nothing yet" by VMIN=1, see _open_port.
            raise self._lost("the other end has hung up")
        return data

    def write(self, data: bytes) -> None:
        """Write all of ``data``; raises `LinkLostError`, after ``write_timeout`` at the latest."""
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
        deadline = self._clock.monotonic() + self.settings.write_timeout
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while rest:
            left = deadline - self._clock.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise self._lost(
                    f"the device took no bytes for {self.settings.write_timeout:g} s; "
                    f"{len(rest)} are left"
                )
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._lost(error.strerror or str(error)) from error

    def close(self) -> None:
        """Give the port back; never raises, a second time does nothing."""
        owner, self._owner = self._owner, None
        if owner is None:
            return
        if self._broken and isinstance(owner, serial.Serial):
            # Closing waits (up to 30 s) for unsent bytes to leave: a peer that
            # takes none would hold up its whole driver thread.
            with contextlib.suppress(termios.error, OSError):
                termios.tcflush(self._descriptor, termios.TCOFLUSH)
        self._descriptor = -1
        with contextlib.suppress(OSError):
            owner.close()

    def _lost(self, why: str) -> LinkLostError:
        if self._owner is None:
            return LinkLostError(f"{self.settings.port} is closed")
        self._broken = True
        return LinkLostError(f"{self.settings.port}: {why}")


def opener(settings: SerialSettings, *, clock: Clock | None = None) -> Opener:
    """Return what opens the port that ``settings`` name, as a driver thread wants it."""
    return partial(SerialLink.open, settings, clock=clock)


def _open_port(settings: SerialSettings) -> serial.Serial:
    port = serial.Serial(
        port=None,  # given below: with a port the constructor opens it, half configured
        baudrate=settings.baud,
        bytesize=settings.bytesize,
        parity=settings.parity,
        stopbits=settings.stopbits,
        rtscts=settings.rtscts,
        xonxoff=settings.xonxoff,
        exclusive=settings.exclusive or None,
        # pyserial's way to say VMIN=1: with its usual 0 an empty port and a
        # dead one both read as b"".
        inter_byte_timeout=0,
    )
    port.port = settings.port
    try:
        port.open()
    except serial.SerialException as error:
        raise _refusal(settings, error.errno or _cause(error), str(error)) from error
    except termios.error as error:
        # The port went between its opening and its configuration.
        raise _refusal(settings, error.args[0], str(error.args[-1])) from error
    except OSError as error:
        raise _refusal(settings, error.errno, str(error)) from error
    except ValueError as error:
        raise LinkLostError(f"{settings.port} cannot do that: {error}") from error
    if settings.low_latency:
        # Only drivers of USB adapters know the word; the rest has no delay to spare.
        with contextlib.suppress(OSError, ValueError):
            port.set_low_latency_mode(True)
    return port


def _cause(error: BaseException) -> int | None:
    """Return the errno behind a `SerialException` that pyserial made without one."""
    context = error.__context__
    if isinstance(context, termios.error):
        return int(context.args[0])
    return context.errno if isinstance(context, OSError) else None


def _refusal(settings: SerialSettings, number: int | None, text: str) -> LinkLostError:
    port = settings.port
    if number in _ABSENT:
        return LinkAbsentError(f"{port} is not there: nothing is plugged in")
    if number in _FORBIDDEN:
        return LinkLostError(
            f"no permission to open {port}: add the gateway's user to the group "
            f"{_group_of(port)!r} and start it again"
        )
    if number in _BUSY:
        return LinkLostError(
            f"{port} is in use by another program: `fuser -v {port}` names it, close it there"
        )
    if number in _NO_PORT:
        return LinkLostError(
            f"{port} is no serial port, or cannot do {settings.baud} baud "
            f"{settings.bytesize}{settings.parity}{settings.stopbits}: check port and line settings"
        )
    return LinkLostError(f"{port} cannot be opened: {text}")


def _group_of(port: str) -> str:
    try:
        return grp.getgrgid(os.stat(port).st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"


def _connect(settings: SerialSettings) -> socket.socket:
    host, port = settings.socket_address()
    try:
        connection = socket.create_connection((host, port), timeout=settings.connect_timeout)
    except (ConnectionRefusedError, TimeoutError) as error:
        raise LinkAbsentError(f"nobody answers at {settings.port}") from error
    except OSError as error:
        raise LinkLostError(
            f"{settings.port} cannot be reached: {error.strerror or error}; "
            "check host name and network"
        ) from error
    connection.setblocking(False)
    # A command is one small write that must not wait for the one before; and a
    # port server that lost its power says nothing, so the kernel asks it.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    return connection
