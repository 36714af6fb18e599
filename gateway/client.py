"""For programs outside the gateway: write to anything behind it, see what goes on.

::

    with Client() as gateway:
        gateway.ask("wheels@serial", "drive", {"left": 100, "right": 100})
        for publication in gateway.tail("devices/+/state"):
            print(publication.topic, publication.body)

It speaks JSON lines over the socket of the unix_socket route. A `Client`
connects when it is first used and once more after the gateway was restarted;
threads may share it and take turns. Every wait has a deadline.

Refused: bodies that no letter can carry (`BodyError`), answers of more than
`LARGEST` bytes and lines that are no answers (`ProtocolError`).
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self

from gateway.errors import (
    BodyError,
    CallTimeoutError,
    GatewayError,
    LinkLostError,
    ProtocolError,
    RecipientGoneError,
    RefusedError,
    error_from,
)
from gateway.mail.body import checked
from gateway.mail.codec import from_json, to_json

SOCKET = "/run/gateway/gateway.sock"
"""Where the gateway listens unless it is told otherwise."""

VARIABLE = "GATEWAY_SOCKET"
"""The environment variable that names another socket."""

LARGEST = 64 << 20
"""Bytes that one answer may have."""

_GRACE = 2.0
"""Seconds beyond a letter's timeout in which the gateway is to say that it is over."""


class Publication(NamedTuple):
    """What was published on ``topic``; ``time`` is in seconds since 1970.

    ``retained`` says that it may have been published before. ``dropped`` is
    how many before this one were lost because they were not read in time. A
    body that JSON cannot hold comes as an object with ``code`` and ``reason``.
    """

    topic: str
    body: Any
    time: float
    sender: str
    retained: bool
    dropped: int


class Copy(NamedTuple):
    """A letter, a reply, a bounce or a publication that somebody wrote to somebody.

    ``error`` says why it could not be delivered; it is empty where it was.
    ``is_cut`` says that the body was too long to be shown whole. ``dropped``
    is how many copies before this one were lost.
    """

    kind: str
    time: float
    sender: str
    recipient: str
    subject: str
    body: Any
    message_id: str
    thread_id: str
    thread_index: int
    in_reply_to: str
    route: str
    is_cut: bool
    error: str
    dropped: int


class Client:
    """A program's way into the gateway that listens at ``path``.

    Without ``path`` it is what `VARIABLE` says, or `SOCKET`. ``timeout`` is how
    long, in seconds, the gateway may take for what concerns no recipient.

    All methods raise a `GatewayError` that says what to do:
    `RecipientGoneError` where nobody listens or the gateway ended,
    `RefusedError` where the user may not, `CallTimeoutError` at the deadline.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, timeout: float = 5.0) -> None:
        self.path = Path(path or os.environ.get(VARIABLE) or SOCKET)
        self._timeout = timeout
        self._lock = threading.Lock()
        self._line: _Line | None = None
        self._asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, to: str, subject: str, body: Any = None, *, timeout: float = 5.0) -> Any:
        """Write a letter and return the body of its answer, within ``timeout`` seconds.

        Raises the error with which the recipient, or whatever is on the way
        to it, declined.
        """
        request = {
            "op": "send",
            "to": to,
            "subject": subject,
            "body": checked(body)[0],
            "timeout": timeout,
        }
        return self._exchange(request, timeout + _GRACE)

    def ps(self) -> dict[str, Any]:
        """Return how everybody is: ``processes``, ``routes``, ``devices``, each by name."""
        report = self._exchange({"op": "ps"}, self._timeout)
        if not isinstance(report, dict):
            raise ProtocolError("the gateway's answer to ps is no object")
        return report

    def hello(self) -> dict[str, Any]:
        """Return the gateway's ``version`` and ``node``."""
        report = self._exchange({"op": "hello"}, self._timeout)
        if not isinstance(report, dict):
            raise ProtocolError("the gateway's answer to hello is no object")
        return report

    def tail(self, pattern: str = "#", *, patience: float | None = None) -> Tail:
        """Follow what is published under ``pattern``, over a connection of its own.

        Begins with what is retained. Returns once it stands; the iterator ends
        by `Tail.close`, and raises `CallTimeoutError` after ``patience``
        seconds without a publication. None is for ever.
        """
        request = {"op": "tail", "pattern": pattern}
        return Tail(_Line(self.path, self._timeout), request, self._timeout, patience)

    def tap(
        self,
        *,
        sender: str = "*",
        recipient: str = "*",
        subject: str = "*",
        kinds: Sequence[str] = (),
        patience: float | None = None,
    ) -> Tap:
        """Follow the mail between all processes, over a connection of its own.

        ``sender``, ``recipient`` and ``subject`` are globs; ``kinds`` are
        letter, reply, bounce and publication, all where none is named. Bodies
        are shown, whatever they hold, so that only root and the gateway's own
        user may. Ends as `tail` does.
        """
        request = {
            "op": "tap",
            "sender": sender,
            "recipient": recipient,
            "subject": subject,
            "kinds": list(kinds),
        }
        return Tap(_Line(self.path, self._timeout), request, self._timeout, patience)

    def log_level(self, level: str = "", name: str = "") -> dict[str, Any]:
        """Log ``name``, a process, a logger or ``""`` for all, from ``level`` upwards.

        "default" takes back what was set, an empty ``level`` only asks.
        Returns the levels that were set: ``default``, ``loggers``,
        ``processes``.
        """
        levels = self._exchange({"op": "log-level", "name": name, "level": level}, self._timeout)
        if not isinstance(levels, dict):
            raise ProtocolError("the gateway's answer to log-level is no object")
        return levels

    def close(self) -> None:
        """Hang up; the next call connects again."""
        with self._lock:
            self._hang_up()

    def _exchange(self, request: dict[str, Any], timeout: float) -> Any:
        deadline = monotonic() + timeout
        if not self._lock.acquire(timeout=timeout):
            raise CallTimeoutError(f"another thread's call took all of the {timeout:g} s")
        try:
            said = self._say(request, deadline)
        except GatewayError:
            # What is still under way must not be taken for the next answer.
            self._hang_up()
            raise
        finally:
            self._lock.release()
        return _body_of(said)

    def _say(self, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        self._asked += 1
        data = _packed({**request, "id": self._asked})
        if self._line is None or not self._line.write(data, deadline):
            # Whoever listened earlier is gone, and has not read this.
            self._hang_up()
            self._line = _Line(self.path, self._timeout)
            if not self._line.write(data, deadline):
                raise self._line.hung_up()
        return self._line.answer(self._asked, deadline)

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()


class _Followed:
    """What comes of itself on a line of its own; close it, or use it as a context."""

    def __init__(
        self, line: _Line, request: dict[str, Any], timeout: float, patience: float | None
    ) -> None:
        self._line = line
        self._patience = patience
        deadline = monotonic() + timeout
        try:
            if not line.write(_packed({**request, "id": 1}), deadline):
                raise line.hung_up()
            _body_of(line.answer(1, deadline))
        except BaseException:
            line.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def _read(self, key: str) -> tuple[dict[str, Any], int]:
        """Return the next object that has ``key``, and how many were dropped before it."""
        dropped = 0
        deadline = None if self._patience is None else monotonic() + self._patience
        while key not in (said := self._line.read(deadline)):
            dropped += said.get("dropped", 0)
        return said, dropped


class Tail(_Followed, Iterator[Publication]):
    """Publications as they come."""

    def __next__(self) -> Publication:
        said, dropped = self._read("topic")
        body = said["body"] if "body" in said else said.get("error")
        return Publication(
            said["topic"],
            body,
            said.get("time", 0.0),
            said.get("sender", ""),
            said.get("retain", False),
            dropped,
        )


class Tap(_Followed, Iterator[Copy]):
    """Copies of the mail as it flows."""

    def __next__(self) -> Copy:
        said, dropped = self._read("kind")
        error = said.get("error") or {}
        return Copy(
            said["kind"],
            said.get("time", 0.0),
            said.get("sender", ""),
            said.get("recipient", ""),
            said.get("subject", ""),
            said.get("body"),
            said.get("message_id", ""),
            said.get("thread_id", ""),
            said.get("thread_index", 0),
            said.get("in_reply_to", ""),
            said.get("route", ""),
            said.get("cut", False),
            f"{error.get('code')}: {error.get('reason')}" if error else "",
            dropped,
        )


class _Line:
    """One connection: whole lines out and in, each under a deadline (monotonic seconds)."""

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self._unread = bytearray()
        self._socket = _connect(path, timeout)

    def write(self, data: bytes, deadline: float) -> bool:
        """Write a request; False where the gateway has hung up before it could read it."""
        self._set_deadline(deadline, self._late)
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise self._late() from None
        except ConnectionError:
            if (farewell := self._farewell(deadline)) is not None:
                raise farewell from None
            return False
        return True

    def answer(self, id: int, deadline: float) -> dict[str, Any]:
        """Return the answer to ``id``, good or bad."""
        while True:
            said = self.read(deadline)
            # A line without id is about a line of ours that could not be read.
            if said.get("id") in (id, None):
                return said

    def read(self, deadline: float | None) -> dict[str, Any]:
        """Return the next line's object."""
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) > LARGEST:
                raise ProtocolError(f"the gateway's answer has more than {LARGEST} bytes")
            self._receive(deadline)
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        try:
            said = from_json(line)
        except BodyError as error:
            raise ProtocolError(f"the gateway's answer is no JSON: {error}") from error
        if not isinstance(said, dict):
            raise ProtocolError("the gateway's answer is no object: is it one that listens there?")
        return said

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _receive(self, deadline: float | None) -> None:
        self._set_deadline(deadline, self._silent)
        try:
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            raise self._silent() from None
        except ConnectionError:
            data = b""
        if not data:
            raise self.hung_up()
        self._unread += data

    def hung_up(self) -> RecipientGoneError:
        """Return the error for a gateway that has closed the connection."""
        why = "it was stopped, or this program read too slowly"
        return RecipientGoneError(f"the gateway at {self.path} hung up: {why}")

    def _farewell(self, deadline: float) -> GatewayError | None:
        """Return why the gateway hung up, where it said so."""
        try:
            return error_from(self.read(deadline).get("error"))
        except RecipientGoneError:
            return None

    def _set_deadline(self, deadline: float | None, late: Any) -> None:
        left = None if deadline is None else deadline - monotonic()
        if left is not None and left <= 0:
            raise late()
        self._socket.settimeout(left)

    def _late(self) -> CallTimeoutError:
        return CallTimeoutError(f"the gateway at {self.path} takes no requests: it is stuck")

    def _silent(self) -> CallTimeoutError:
        return CallTimeoutError(f"nothing came from the gateway at {self.path} in time")


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
        raise _not_reached(path, error) from error
    return made


def _not_reached(path: Path, error: OSError) -> GatewayError:
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


def _packed(request: dict[str, Any]) -> bytes:
    return to_json(request) + b"\n"


def _body_of(said: dict[str, Any]) -> Any:
    if said.get("ok") is True:
        return said.get("body")
    raise error_from(said.get("error"))
