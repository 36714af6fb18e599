"""For programs outside the gateway: write to anything behind it, see what goes on.

::

    with Client() as gateway:
        wheels = remote(gateway, "wheels@serial")
        wheels.drive(left=100, right=100)
        for publication in gateway.tail("devices/+/state"):
            print(publication.topic, publication.body)

It speaks JSON lines over the socket of the unix_socket route. A `Client` connects when
it is first used and once more after the gateway was restarted. Threads may share it:
what each of them asks is under way at the same time (`gateway.client_exchange`).
`gateway.rpc.remote` makes a tree of remote functions of it. Every wait has a deadline.

Refused: bodies that no letter can carry (`BodyError`), answers of more than
`LARGEST` bytes and lines that are no answers (`ProtocolError`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

from gateway.client_exchange import Exchange
from gateway.client_following import Copy, Publication, Tail, Tap
from gateway.client_line import LARGEST, VARIABLE
from gateway.errors import ProtocolError
from gateway.mail.body import checked
from gateway.timeout import USUAL, in_seconds

__all__ = ["LARGEST", "SOCKET", "VARIABLE", "Client", "Copy", "Publication", "Tail", "Tap"]

SOCKET = "/run/gateway/gateway.sock"
"""Where the gateway listens unless it is told otherwise."""

_GRACE = 2.0
"""Seconds beyond a letter's timeout in which the gateway is to say that it is over."""


class Client:
    """A program's way into the gateway that listens at ``path``.

    Without ``path`` it is what `VARIABLE` says, or `SOCKET`. ``timeout`` is how
    long, in seconds, the gateway may take for what concerns no recipient. As every
    time-out it is a `TypeError` where it is no number, a `ValueError` as inf or nan.

    All methods raise a `GatewayError` that says what to do:
    `RecipientGoneError` where nobody listens or the gateway ended,
    `RefusedError` where the user may not, `CallTimeoutError` at the deadline.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, timeout: float = USUAL
    ) -> None:
        self.path = Path(path or os.environ.get(VARIABLE) or SOCKET)
        self._timeout = in_seconds(timeout)
        self.exchange = Exchange(self.path, self._timeout)
        """What carries the requests."""
        self.calls: Any = None
        """The calls that this program has made, if any; see `gateway.rpc`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, to: str, subject: str, body: Any = None, *, timeout: float = USUAL) -> Any:
        """Write a letter and return the body of its answer, within ``timeout`` seconds.

        Raises the error with which the recipient, or whatever is on the way
        to it, declined.
        """
        timeout = in_seconds(timeout)
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
        return Tail(self.path, request, self._timeout, patience)

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
        return Tap(self.path, request, self._timeout, patience)

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
        """Hang up, which takes back what is under way; the next call connects again."""
        self.exchange.close()
        if self.calls is not None:
            self.calls.close()

    def _exchange(self, request: dict[str, Any], timeout: float) -> Any:
        return self.exchange.ask(request, monotonic() + timeout)
