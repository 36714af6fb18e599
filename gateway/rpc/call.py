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

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.errors import CallCancelledError
from gateway.rpc.transaction import TransactionId


class Call(NamedTuple):
    """What was called, by whom, with which arguments.

    ``arguments`` have names, ``positional`` have none. ``route`` is the router
    that brought it in, or ``""``. ``expires`` is when nobody waits any more, in
    seconds since 1970, None where that was not said.
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


class _Here(threading.local):
    make: Callable[[], Call] | None = None


_here = _Here()


def current_call() -> Call:
    """Return the call that this thread carries out; `RuntimeError` where there is none."""
    if _here.make is None:
        raise RuntimeError("nothing was called on this thread: ask within a handler")
    return _here.make()


def enter(make: Callable[[], Call] | None) -> Callable[[], Call] | None:
    """Note what this thread carries out from here on; return what it was before."""
    before, _here.make = _here.make, make
    return before
