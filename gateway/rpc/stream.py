"""The parts that a remote function yields, one after the other, as they arrive.

The caller pulls: each pull is a call of its own, so that it has a deadline, and
ends at once where the other side dies. One is under way while the parts of the
one before are read; what the other side makes ahead is never more than two
windows. Leaving the loop closes the function over there::

    for part in robot.lidar.scan():
        ...

Refused: to be read by two threads at once (`ValueError`, as of any generator).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Protocol, Self

from gateway.errors import GatewayError, ProtocolError, error_from
from gateway.mail.message import CANCEL
from gateway.rpc.transaction import Transaction

__all__ = ["CANCEL", "Answer", "Batch", "Parts", "Stream"]


class Answer(Protocol):
    """What came back: a letter, or what a line makes of one."""

    @property
    def subject(self) -> str:
        """`Stream.SUBJECT` where more is to follow."""
        ...

    @property
    def body(self) -> Any:
        """What was returned."""
        ...


class Batch(NamedTuple):
    """Some parts; whether there are more, and what ended it."""

    stream: str
    parts: list[Any]
    more: bool
    error: GatewayError | None
    returned: Any

    @classmethod
    def of(cls, answer: Answer) -> Batch:
        """Return what an answer holds; raise `ProtocolError` where it is no batch."""
        body = answer.body
        if answer.subject != Parts.SUBJECT or not isinstance(body, dict):
            raise ProtocolError("what came in a stream is no part of it")
        parts = body.get("parts")
        told = body.get("error")
        return cls(
            str(body.get("stream", "")),
            parts if isinstance(parts, list) else [],
            body.get("more") is True,
            error_from(told) if told is not None else None,
            body.get("returned"),
        )


class Parts:
    """What both kinds of streams know: the parts that came, and how to have more."""

    SUBJECT: ClassVar[str] = "$stream"
    NEXT: ClassVar[str] = "$next"

    def __init__(
        self,
        first: Batch,
        pull: Callable[[str], Transaction[Batch]],
        cancel: Callable[[str], None],
        abandon: Callable[[str], None] | None = None,
    ) -> None:
        """Begin with the batch ``first``; ``pull`` asks for more, ``cancel`` closes.

        ``abandon`` closes what is collected as garbage, which may be at any moment and
        under any lock; it takes none.
        """
        self._pull = pull
        self._cancel = cancel
        self._abandon = abandon or cancel
        self._id = first.stream
        self._is_open = True
        self._error: GatewayError | None = None
        self._coming: Transaction[Batch] | None = None
        self._is_read = False
        self.returned: Any = None
        """What the function returned in the end, once all was read."""
        self._take(first)

    def _take(self, batch: Batch) -> None:
        self._parts = iter(batch.parts)
        if batch.more and self._is_open:
            try:
                self._coming = self._pull(self._id)
            except GatewayError as error:
                # What has come is read before anybody is told.
                self._error = error
            return
        self._is_open = False
        self._error, self.returned = batch.error, batch.returned

    def _awaited(self) -> Transaction[Batch] | None:
        """Take out what is to come next; None at the end, or the error that ended it."""
        if self._is_read:
            raise ValueError("another thread reads this stream: one at a time can")
        coming, self._coming = self._coming, None
        error, self._error = self._error, None
        if error is not None:
            self.close()
            try:
                raise error
            finally:
                # Held by the frame that it came through it would be a cycle.
                del error
        return coming

    def close(self) -> None:
        """Read no more; the function over there is closed. Twice is fine."""
        self._parts, self._coming, self._error = iter(()), None, None
        if self._is_open:
            self._is_open = False
            self._cancel(self._id)

    def __del__(self) -> None:
        """Close what somebody left in the middle of a loop."""
        if getattr(self, "_is_open", False):
            self._is_open = False
            self._abandon(self._id)


class Stream(Parts, Iterator[Any]):
    """The parts of one call; an iterator, and a context that closes it."""

    def __next__(self) -> Any:
        while True:
            for part in self._parts:
                return part
            coming = self._awaited()
            if coming is None:
                raise StopIteration
            self._is_read = True
            try:
                self._take(coming.result())
            except BaseException:
                self.close()
                raise
            finally:
                self._is_read = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
