"""One connection of a program to the gateway: whole lines out and in, each under a deadline.

Several threads may use it: one that writes at a time, one that reads at a time, and
any that hangs up or wakes who reads. Deadlines are in monotonic seconds.

Refused, as typed errors that say what to do: a socket that nobody listens at, or that
may not be opened; what is no line of JSON, or one of more than `LARGEST` bytes.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import socket
import struct
from pathlib import Path
from time import monotonic
from typing import Any

from gateway.errors import (
    BodyError,
    CallTimeoutError,
    GatewayError,
    LinkLostError,
    ProtocolError,
    RecipientGoneError,
    RefusedError,
)
from gateway.mail.codec import from_json, to_json

VARIABLE = "GATEWAY_SOCKET"
"""The environment variable that names another socket."""

LARGEST = 64 << 20
"""Bytes that one answer may have."""

CHUNK = 1 << 16
"""Bytes that are read at once."""


class Line:
    """A connection to the gateway at ``path``, which has ``timeout`` seconds to let us in."""

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self._unread = bytearray()
        self._searched = 0
        self._broken: GatewayError | None = None
        self._socket = _connect(path, timeout)
        self._socket.setblocking(False)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        self._readable.register(self._bell, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(self._socket, select.POLLOUT)

    def write(self, request: dict[str, Any], deadline: float) -> bool:
        """Write a request; False where the gateway has hung up before it could read it."""
        data = memoryview(to_json(request) + b"\n")
        while True:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                return False
            if not data:
                return True
            left = deadline - monotonic()
            if left <= 0 or not self._writable.poll(left * 1000):
                raise CallTimeoutError(f"the gateway at {self.path} takes no requests: it is stuck")

    def read(self, deadline: float | None) -> dict[str, Any]:
        """Return the next line's object; raise `CallTimeoutError` where none comes in time."""
        while (said := self._next()) is None:
            if not self._receive(None if deadline is None else deadline - monotonic()):
                raise self.silent()
        return said

    def read_all(self, timeout: float) -> list[dict[str, Any]]:
        """Return what has come, or comes within ``timeout`` seconds: the first bytes of it."""
        if self._broken is not None:
            raise self._broken
        found: list[dict[str, Any]] = []
        if self._receive(timeout):
            try:
                while (said := self._next()) is not None:
                    found.append(said)
            except ProtocolError as error:
                # First what came before it.
                self._broken = error
        return found

    def wake(self) -> None:
        """Have whoever waits for an answer look up; the connection is open."""
        os.eventfd_write(self._bell, 1)

    def hang_up(self) -> None:
        """Say good-bye; whoever writes or reads is woken."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up, and give the descriptors back; twice is fine."""
        self.hang_up()
        self._socket.close()
        bell, self._bell = self._bell, -1
        if bell >= 0:
            os.close(bell)

    def hung_up(self) -> RecipientGoneError:
        """Return the error for a gateway that has closed the connection."""
        why = "it was stopped, or this program read too slowly"
        return RecipientGoneError(f"the gateway at {self.path} hung up: {why}")

    def silent(self) -> CallTimeoutError:
        """Return the error for a gateway that has said nothing."""
        return CallTimeoutError(f"nothing came from the gateway at {self.path} in time")

    def _next(self) -> dict[str, Any] | None:
        unread = self._unread
        end = unread.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(unread)
            if len(unread) > LARGEST:
                raise ProtocolError(f"the gateway's answer has more than {LARGEST} bytes")
            return None
        line = bytes(unread[:end])
        del unread[: end + 1]
        self._searched = 0
        try:
            said = from_json(line)
        except BodyError as error:
            raise ProtocolError(f"the gateway's answer is no JSON: {error}") from error
        if not isinstance(said, dict):
            raise ProtocolError("the gateway's answer is no object: is it one that listens there?")
        return said

    def _receive(self, timeout: float | None) -> bool:
        """Read what is there, or comes in ``timeout`` s, None for ever; tell whether any did."""
        ready = self._readable.poll(None if timeout is None else max(0.0, timeout) * 1000)
        if not ready:
            return False
        if any(fd == self._bell for fd, _ in ready):
            with contextlib.suppress(OSError):
                os.eventfd_read(self._bell)
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            raise self.hung_up()
        self._unread += data
        return True


def _connect(path: Path, timeout: float) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A non-blocking connect to a full backlog fails at once; this one waits.
        seconds, rest = divmod(timeout, 1)
        limit = struct.pack("ll", int(seconds), max(1, int(rest * 1e6)))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # A Unix address has room for 107 bytes; a folder may lie deeper.
            made.connect(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
    except OSError as error:
        made.close()
        raise not_reached(path, error) from error
    return made


def not_reached(path: Path, error: OSError) -> GatewayError:
    """Return what ``error`` means for who wants to reach the gateway at ``path``."""
    if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
        return RecipientGoneError(
            f"nobody listens at {path}: is the gateway running? Start it with"
            f" 'gateway run', or say with --socket or {VARIABLE} where it listens"
        )
    if isinstance(error, PermissionError):
        return RefusedError(
            f"user {_user()} may not open {path}: run this as root, as the gateway's own user,"
            " or as a member of its group"
        )
    if isinstance(error, BlockingIOError):
        return CallTimeoutError(f"the gateway at {path} lets nobody in: it is stuck")
    return LinkLostError(f"{path} cannot be reached: {error.strerror or error}")


def _user() -> str:
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
