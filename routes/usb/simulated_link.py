"""A `ControlLink` to a simulated device on a Unix socket, which takes libusb's place.

See `gateway.device.simulated_usb` for the other end. Two connections: one whose
descriptor the link's owner waits on, one for control requests. Interface and endpoints
are not looked at: a simulated device has what its driver wants.

Refused: a path that is no simulated device (`LinkLostError`), and a write that is not
taken within the settings' time-out.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

import msgspec

from gateway.device.simulated_usb import (
    ANSWER,
    CONTROL,
    DATA,
    IDENTITY,
    LARGEST,
    REQUEST,
    SETUP,
    STALL,
)
from gateway.device.usb import IN, ControlLink, ControlRequest, UsbIdentity
from gateway.errors import CallTimeoutError, LinkAbsentError, LinkLostError, RefusedError
from routes.usb.settings import UsbSettings

_IDENTITY_SECONDS: Final = 1.0
_ABSENT: Final = {errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR}


class SimulatedLink(ControlLink):
    """One opening of a simulated device; used by one thread."""

    def __init__(self, settings: UsbSettings) -> None:
        """Open it; `LinkAbsentError` where it is not plugged in."""
        self._what = f"the simulated device at {settings.simulated}"
        self._data = _connect(settings.simulated, DATA, self._what)
        try:
            self._control = _connect(settings.simulated, CONTROL, self._what)
        except BaseException:
            self._data.close()
            raise
        self._data.setblocking(False)
        self._write_timeout = settings.write_timeout

    def fileno(self) -> int:
        """Return what turns readable; -1 once closed."""
        return self._data.fileno()

    def read(self) -> bytes:
        """Return the next packet, or ``b""``."""
        try:
            packet = self._data.recv(LARGEST)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(error) from error
        if not packet:
            raise LinkLostError(f"{self._what} was unplugged")
        return packet

    def write(self, data: bytes) -> None:
        """Write ``data`` as one packet."""
        try:
            self._data.settimeout(self._write_timeout)
            self._data.send(data)
            self._data.settimeout(0.0)
        except OSError as error:
            raise self._lost(error) from error

    def control_in(self, request: ControlRequest, length: int, timeout: float) -> bytes:
        """Ask over the control connection."""
        return self._ask(REQUEST + _setup(request, IN, length), timeout, f"the {request}")

    def control_out(self, request: ControlRequest, data: bytes, timeout: float) -> None:
        """Tell over the control connection."""
        self._ask(REQUEST + _setup(request, 0, len(data)) + data, timeout, f"the {request}")

    def identity(self) -> UsbIdentity:
        """Return what its descriptors would say."""
        said = self._ask(IDENTITY, _IDENTITY_SECONDS, "who it is")
        try:
            return msgspec.json.decode(said, type=UsbIdentity)
        except msgspec.DecodeError as error:
            raise LinkLostError(f"{self._what} is no simulated device: {error}") from error

    def close(self) -> None:
        """Let go of it."""
        self._data.close()
        self._control.close()

    def _ask(self, packet: bytes, timeout: float, what: str) -> bytes:
        try:
            self._control.settimeout(timeout)
            self._control.send(packet)
            answer = self._control.recv(LARGEST)
        except TimeoutError as error:
            # Its answer may still come, and would be taken for the next one's.
            self._control.close()
            raise CallTimeoutError(f"{self._what} did not answer {what} in time") from error
        except OSError as error:
            raise self._lost(error) from error
        if answer[:1] == STALL:
            raise RefusedError(f"{self._what} refuses {what}: it answered STALL")
        if answer[:1] != ANSWER:
            raise LinkLostError(f"{self._what} was unplugged")
        return answer[1:]

    def _lost(self, error: OSError) -> LinkLostError:
        if self._data.fileno() < 0:
            return LinkLostError(f"{self._what} is closed")
        return LinkLostError(f"{self._what}: {error.strerror or error}")


def _setup(request: ControlRequest, direction: int, length: int) -> bytes:
    index = request.index or 0
    return SETUP.pack(request.type | direction, request.request, request.value, index, length)


def _connect(path: str, purpose: bytes, what: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(path)
        connection.send(purpose)
    except OSError as error:
        connection.close()
        if error.errno in _ABSENT:
            raise LinkAbsentError(f"{what} is not plugged in") from error
        raise LinkLostError(f"{what} cannot be opened: {error.strerror or error}") from error
    return connection
