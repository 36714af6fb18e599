"""One invocation, as the one who carries it out sees it.

`current_call` tells a handler who called, until when an answer is wanted, and
whether it still is::

    @command
    def sweep(self, degrees: float) -> None:
        while self.arm.moves_on():
            current_call().check()

Refused: to ask where nothing was called (`RuntimeError`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

from gateway.errors import CallCancelledError
from gateway.mail.message import Message
from gateway.rpc.transaction import TransactionId


class Call(NamedTuple):
    """What was called, by whom, with which arguments.

    ``arguments`` have names, ``positional`` have none. ``route`` is the router
    that brought it in, or ``""``. ``expires`` is when nobody waits any more, in
    seconds of the monotonic clock, None where that was not said.
    """

    id: TransactionId
    path: str
    caller: str
    route: str
    arguments: dict[str, Any]
    positional: list[Any]
    expires: float | None
    look: Callable[[], bool]

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody wants the answer any more: it was taken back, or the caller died."""
        return self.look()

    def check(self) -> None:
        """Raise `CallCancelledError` where nobody wants the answer any more."""
        if self.look():
            raise CallCancelledError(f"{self.path!r} was taken back by {self.caller!r}")


class Desk(Protocol):
    """Whoever has a call carried out."""

    def call_of(self, message: Message) -> Call:
        """Return the call that ``message`` is."""
        ...

    def is_unwanted(self, message: Message) -> bool:
        """Tell whether nobody waits for the answer to ``message`` any more."""
        ...


doing: ContextVar[tuple[Desk, Message] | None] = ContextVar("doing", default=None)
"""What is carried out here: which letter, for which desk. Written by the desk alone."""


def current_call() -> Call:
    """Return the call that is carried out here; `RuntimeError` where there is none."""
    found = doing.get()
    if found is None:
        raise RuntimeError("nothing was called here: ask within a handler")
    desk, message = found
    return desk.call_of(message)
