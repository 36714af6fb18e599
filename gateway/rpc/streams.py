"""The streams that are open here, by who may pull them.

A stream is stepped when its caller pulls, so that nothing is made that nobody
reads, and one with a slow reader costs no thread.

Refused: more streams than `MOST` at a time (`MailboxFullError`), a pull from
somebody else than the caller, of a stream that is closed or by two at once
(`RefusedError`). A caller from outside who does not pull for `PATIENCE` seconds
has gone; of one inside the bus tells.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any

from gateway.errors import MailboxFullError, RefusedError
from gateway.rpc.in_hand import Owner
from gateway.rpc.open_stream import OpenStream

MOST = 256
"""Streams of one process that are open at a time, at the most."""

PATIENCE = 60.0
"""Seconds in which a caller from outside is to pull, until its stream is closed."""

ENDED = "there is no such stream: it ended, or was closed"


class Streams:
    """What is open, by the id of the call that opened it. Thread-safe."""

    def __init__(
        self, now: Callable[[], float], soon: Callable[[Callable[[], None]], object]
    ) -> None:
        """Keep none yet; ``soon`` has what it is given called where generators are closed."""
        self._now = now
        self._soon = soon
        self._open: dict[str, OpenStream] = {}
        self._left: deque[OpenStream] = deque()
        self._lock = Lock()
        self.opened = 0
        self.closed_early = 0

    def open(self, stream: OpenStream) -> None:
        """Note what a call has opened."""
        stream.pulled_at = self._now()
        with self._lock:
            if len(self._open) >= MOST:
                raise MailboxFullError(f"{MOST} streams are open here already: read or close some")
            self._open[stream.id] = stream
            self.opened += 1

    def find(self, id: object, owner: Owner) -> OpenStream:
        """Return the stream ``id`` of ``owner``; raise `RefusedError` where there is none."""
        with self._lock:
            found = self._open.get(id) if isinstance(id, str) else None
        if found is None or found.owner != owner:
            raise RefusedError(ENDED)
        return found

    def next(self, stream: OpenStream, most: int) -> dict[str, Any]:
        """Return the next batch of ``stream``, up to ``most`` parts."""
        self.begin_step(stream)
        told: dict[str, Any] = {}
        try:
            told = stream.batch(most, self._now)
        finally:
            self.end_step(stream, told)
        return told

    def begin_step(self, stream: OpenStream) -> None:
        """Have ``stream`` to step; raise `RefusedError` where somebody has it, or it was closed."""
        if stream.is_closed:
            raise RefusedError(ENDED)
        if not stream.lock.acquire(blocking=False):
            raise RefusedError("two pull this stream at once")

    def end_step(self, stream: OpenStream, told: dict[str, Any]) -> None:
        """Give ``stream`` back; forget one that ended."""
        stream.pulled_at = self._now()
        stream.lock.release()
        if stream.is_closed:
            # It was closed after the last look.
            self._shut(stream)
        elif not told.get("more"):
            with self._lock:
                self._open.pop(stream.id, None)

    def close(self, id: str, owner: Owner) -> bool:
        """Close the stream ``id`` of ``owner``; tell whether there was one."""
        with self._lock:
            found = self._open.get(id)
            if found is None or found.owner != owner:
                return False
            del self._open[id]
        self._leave([found])
        return True

    def close_of(self, sender: str, incarnation: int) -> None:
        """Close what one life of ``sender`` has opened."""
        self._close_where(lambda each: each.owner[:2] == (sender, incarnation))

    def close_all(self) -> None:
        """Close everything, here and now."""
        self._close_where(lambda each: True)
        self._shut_left()

    def close_idle(self) -> float | None:
        """Close what came from outside and is pulled no more; return when to look again, in s."""
        due = self._now() - PATIENCE
        self._close_where(lambda each: bool(each.owner[2]) and each.pulled_at <= due)
        with self._lock:
            left = [each.pulled_at for each in self._open.values() if each.owner[2]]
        return max(0.0, min(left) - due) if left else None

    def _close_where(self, wanted: Callable[[OpenStream], bool]) -> None:
        with self._lock:
            found = [each for each in self._open.values() if wanted(each)]
            for each in found:
                del self._open[each.id]
        self._leave(found)

    def _leave(self, found: list[OpenStream]) -> None:
        # Whoever reads of it is on any thread, and what a generator does in the end is
        # the handler's: it has its own.
        for each in found:
            each.is_closed = True
        self.closed_early += len(found)
        self._left.extend(found)
        if found:
            self._soon(self._shut_left)

    def _shut_left(self) -> None:
        while self._left:
            with contextlib.suppress(IndexError):
                self._shut(self._left.popleft())

    def _shut(self, stream: OpenStream) -> None:
        # One that is being stepped is closed by who steps it.
        if stream.lock.acquire(blocking=False):
            try:
                stream.shut()
            finally:
                stream.lock.release()

    def __len__(self) -> int:
        with self._lock:
            return len(self._open)
