"""The generators that are open here, and what their callers have not read yet.

A stream is stepped when its caller pulls, so that nothing is made that nobody
reads, and one with a slow reader costs no thread. A batch begins with one part
and doubles while the parts come fast, so that a slow one is never kept waiting
for company.

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

from gateway.errors import MailboxFullError, RefusedError, described
from gateway.mail.body import checked
from gateway.mail.codec import encode
from gateway.mail.message import Message
from gateway.rpc.failure import as_gateway_error
from gateway.rpc.in_hand import Owner, owner_of
from gateway.rpc.terms import MOST_AHEAD

MOST = 256
"""Streams of one process that are open at a time, at the most."""

LINGER = 0.001
"""Seconds after which a batch goes out as it is."""

HEAVY = 1024 * 1024
"""Bytes of parts after which a batch goes out as it is."""

PATIENCE = 60.0
"""Seconds in which a caller from outside is to pull, until its stream is closed."""

_LIGHT = frozenset({type(None), bool, int, float})


class OpenStream:
    """One generator, who may pull it, and whatever says who steps it (``served``)."""

    def __init__(self, message: Message, generator: Any, served: Any = None) -> None:
        self.message = message
        """The call that opened it."""
        self.id = message.message_id
        self.owner = owner_of(message)
        self.generator = generator
        self.served = served
        self.pulled_at = 0.0
        self.is_closed = False
        self.lock = Lock()
        self.size = 1
        """Parts that the next batch has at the most."""
        self.weight = 0
        """Bytes of the parts in this batch, roughly."""

    def batch(self, most: int, now: Callable[[], float]) -> dict[str, Any]:
        """Step the generator for up to ``most`` parts; return what is written of them."""
        told = self.begun()
        began = now()
        try:
            while self.wants_more(told, most, now() - began):
                try:
                    part = next(self.generator)
                except StopIteration as end:
                    told.update(more=False, returned=checked(end.value)[0])
                    break
                self.add(part, told)
        except Exception as bug:  # noqa: BLE001 - it is the caller's
            self.tell_of(bug, told)
        return self.ended(told)

    def begun(self) -> dict[str, Any]:
        """Return an empty batch."""
        self.weight = 0
        return {"stream": self.id, "parts": [], "more": True}

    def wants_more(self, told: dict[str, Any], most: int, seconds: float) -> bool:
        """Tell whether a batch that took ``seconds`` so far is to have another part."""
        count = len(told["parts"])
        if count and (seconds > LINGER or self.weight > HEAVY):
            self.size = 1
            return False
        if count < min(self.size, most):
            return True
        self.size = min(2 * self.size, MOST_AHEAD)
        return False

    def add(self, part: Any, told: dict[str, Any]) -> None:
        """Put ``part`` into a batch; raise `BodyError` for what no letter carries."""
        part = checked(part)[0]
        told["parts"].append(part)
        if type(part) is bytes or type(part) is str:
            self.weight += len(part)
        elif type(part) not in _LIGHT:
            self.weight += len(encode(part))

    def tell_of(self, bug: BaseException, told: dict[str, Any]) -> None:
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
