"""What a program outside follows: publications, and the mail between all processes.

Each over a connection of its own, as much may come of itself: one that is not read in
time loses the oldest, and is told how many. Closed, or used as a context.

Refused: to be followed without an end, where there is a patience (`CallTimeoutError`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self

from gateway.client_line import Line
from gateway.errors import error_from
from gateway.timeout import in_seconds


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


class Followed:
    """What comes of itself on a line of its own to ``path``; close it, or use it as a context.

    The gateway may take ``timeout`` seconds to say that it stands, and ``patience`` for each
    that follows; None is for ever.
    """

    def __init__(
        self, path: Path, request: dict[str, Any], timeout: float, patience: float | None
    ) -> None:
        # First: what is refused here leaves no connection.
        self._patience = None if patience is None else in_seconds(patience, "patience")
        self._line = line = Line(path, timeout)
        deadline = monotonic() + timeout
        try:
            if not line.write({"id": 1, **request}, deadline):
                raise line.hung_up()
            while (said := line.read(deadline)).get("id") not in (1, None):
                pass
            if said.get("ok") is not True:
                raise error_from(said.get("error"))
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


class Tail(Followed, Iterator[Publication]):
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


class Tap(Followed, Iterator[Copy]):
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
