"""The generators that are open here, and what their callers have not read yet.

A stream is stepped when its caller pulls, so that nothing is made that nobody
reads, and one with a slow reader costs no thread. A batch begins with one part
and doubles while the parts come fast, so that a slow one is never kept waiting
for company.

Refused: more streams than `MOST` at a time (`MailboxFullError`), a pull from
somebody else than the caller, of a stream that is closed or by two at once
(`RefusedError`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from threading import Lock
from typing import Any

from gateway.errors import MailboxFullError, RefusedError, described
from gateway.mail.body import checked
from gateway.mail.message import Message
from gateway.rpc.failure import as_gateway_error
from gateway.rpc.in_hand import Owner, owner_of
from gateway.rpc.terms import MOST_AHEAD

MOST = 256
"""Streams of one process that are open at a time, at the most."""

LINGER = 0.001
"""Seconds after which a batch goes out as it is."""

PATIENCE = 60.0
"""Seconds in which a caller is to pull, until its stream is closed."""


class OpenStream:
    """One generator, who may pull it, and whatever says who steps it (``served``)."""

    def __init__(self, message: Message, generator: Any, served: Any = None) -> None:
        self.id = message.message_id
        self.owner = owner_of(message)
        self.generator = generator
        self.served = served
        self.pulled_at = 0.0
        self.is_closed = False
        self.lock = Lock()
        self.size = 1
        """Parts that the next batch has at the most."""

    def batch(self, most: int, now: Callable[[], float]) -> dict[str, Any]:
        """Step the generator for up to ``most`` parts; return what is written of them."""
        told = self.begun()
        began = now()
        try:
            while self.wants_more(told, most, now() - began):
                told["parts"].append(checked(next(self.generator))[0])
        except StopIteration as end:
            told.update(more=False, returned=end.value)
        except Exception as bug:  # noqa: BLE001 - it is the caller's
            self.tell_of(bug, told)
        return self.ended(told)

    def begun(self) -> dict[str, Any]:
        """Return an empty batch."""
        return {"stream": self.id, "parts": [], "more": True}

    def wants_more(self, told: dict[str, Any], most: int, seconds: float) -> bool:
        """Tell whether a batch that took ``seconds`` so far is to have another part."""
        count = len(told["parts"])
        if count and seconds > LINGER:
            self.size = 1
            return False
        if count < min(self.size, most):
            return True
        self.size = min(2 * self.size, MOST_AHEAD)
        return False

    def tell_of(self, bug: Exception, told: dict[str, Any]) -> None:
        """Write into a batch what ended the stream; where, for who is inside."""
        inside = not self.owner[2]
        told.update(more=False, error=described(as_gateway_error(bug), inside=inside))

    def ended(self, told: dict[str, Any]) -> dict[str, Any]:
        """Return a batch that is done, the generator closed where it is the last."""
        if self.is_closed or not told["more"]:
            told["more"] = False
            self.shut()
        return told

    def shut(self) -> None:
        """Close the generator; what it raises then is nobody's."""
        with contextlib.suppress(Exception):
            self.generator.close()


class Streams:
    """What is open, by the id of the call that opened it. Thread-safe."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._open: dict[str, OpenStream] = {}
        self._lock = Lock()
        self.opened = 0
        self.closed_early = 0

    def open(self, stream: OpenStream) -> None:
        """Note what a call has opened."""
        stream.pulled_at = self._now()
        self._close_idle()
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
            raise RefusedError("there is no such stream: it ended, or was closed")
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
        """Have ``stream`` to step; raise `RefusedError` where somebody has it."""
        if not stream.lock.acquire(blocking=False):
            raise RefusedError("two pull this stream at once")

    def end_step(self, stream: OpenStream, told: dict[str, Any]) -> None:
        """Give ``stream`` back; forget one that ended."""
        stream.pulled_at = self._now()
        stream.lock.release()
        if not told.get("more"):
            with self._lock:
                self._open.pop(stream.id, None)

    def close(self, id: str, owner: Owner) -> bool:
        """Close the stream ``id`` of ``owner``; tell whether there was one."""
        with self._lock:
            found = self._open.get(id)
            if found is None or found.owner != owner:
                return False
            del self._open[id]
        self._shut(found)
        return True

    def close_of(self, sender: str, incarnation: int) -> None:
        """Close what one life of ``sender`` has opened."""
        self._close_where(lambda each: each.owner[:2] == (sender, incarnation))

    def close_all(self) -> None:
        """Close everything."""
        self._close_where(lambda each: True)

    def _close_idle(self) -> None:
        due = self._now() - PATIENCE
        self._close_where(lambda each: each.pulled_at < due)

    def _close_where(self, wanted: Callable[[OpenStream], bool]) -> None:
        with self._lock:
            found = [each for each in self._open.values() if wanted(each)]
            for each in found:
                del self._open[each.id]
        for each in found:
            self._shut(each)

    def _shut(self, stream: OpenStream) -> None:
        self.closed_early += 1
        stream.is_closed = True
        # One that is being stepped is closed by who steps it.
        if stream.lock.acquire(blocking=False):
            try:
                stream.shut()
            finally:
                stream.lock.release()

    def __len__(self) -> int:
        with self._lock:
            return len(self._open)
