"""On what terms a call is made: its deadline, who waits, what becomes of an error.

A tree has terms, a branch may have others, and so may one call; `gateway.rpc.using`
changes them.

Refused (`ValueError`): a deadline that is none, what is to be called and cannot be,
an answer wanted in two ways, a callback for an event, which has no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

MOST_AHEAD = 4096
"""Parts of a stream that are asked for at once, at the most."""


class Releasable(Protocol):
    """A semaphore, or the like."""

    def release(self) -> object:
        """Let one more through."""
        ...


class Settable(Protocol):
    """An event, or the like."""

    def set(self) -> object:
        """Let everybody through."""
        ...


class Terms(msgspec.Struct, frozen=True):
    """The terms of a tree, a branch or a call; see `gateway.rpc.using`."""

    timeout: float = 5.0
    sync: bool = True
    solicited: bool = True
    ignore_errors: bool = False
    callback: Callable[..., object] | None = None
    release: Releasable | Settable | None = None
    combine: Callable[[Iterable[Any]], Any] | None = None
    window: int = 64

    def changed(self, **changes: Any) -> Terms:
        """Return these terms with ``changes``; raise `ValueError` for what cannot stand."""
        for name in changes:
            if name not in self.__struct_fields__:
                known = ", ".join(self.__struct_fields__)
                raise ValueError(f"a call has no {name!r}: it has {known}")
        if changes.get("callback") is not None or changes.get("release") is not None:
            # Who names what is told of the answer does not wait for it.
            changes.setdefault("sync", False)
        terms = msgspec.structs.replace(self, **changes)
        if not _is_deadline(terms.timeout):
            raise ValueError(f"{terms.timeout!r} s is no deadline: give seconds, up to a day")
        if not isinstance(terms.window, int) or not 1 <= terms.window <= MOST_AHEAD:
            raise ValueError(f"a window of {terms.window!r} parts: give 1 to {MOST_AHEAD}")
        for name in ("callback", "combine"):
            found = changes.get(name)
            if found is not None and not callable(found):
                raise ValueError(f"{name}={found!r} cannot be called: give a function")
        waits_for_nothing = terms.sync and (terms.callback or terms.release)
        if waits_for_nothing:
            raise ValueError("a call that waits has no callback and releases nothing: sync=False")
        if not terms.solicited and (terms.callback or terms.release):
            raise ValueError("an event has no answer, so nobody can be told of it")
        return terms


def _is_deadline(timeout: Any) -> bool:
    try:
        return bool(0 < timeout <= 86_400)
    except TypeError:
        return False
