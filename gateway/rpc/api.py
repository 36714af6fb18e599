"""A tree of handlers: what can be called at one address.

Handlers come from marked methods, of an object and of what hangs on it, and are
registered at run time, by their path or on a branch::

    api = Api(arm)                       # the methods of arm that are marked
    api.add("lamp.blink", blink)         # any function, under any path
    lamp = api.branch("lamp")
    lamp.add("dim", dim)                 # the same as api.add("lamp.dim", dim)

A call goes to the catch-alls from the root down to its branch, to the handlers
of its path, the newest first, and then to the generic ones (`otherwise`) from
its branch up to the root. The first that does not return `UNHANDLED` has it.

Any thread may change it. Refused (`ValueError`): paths that are none, names that begin
with an underscore, and objects with nothing to call.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any, TypeVar, overload

from gateway.errors import UnknownApiError
from gateway.mail.signature import marked_in
from gateway.rpc.handler import Function, Handler

F = TypeVar("F", bound=Function)
T = TypeVar("T")


class Api:
    """What can be called; see the module's head.

    >>> api = Api()
    >>> api.add("arm.grip", lambda force: f"{force} N")
    >>> [handler.path for handler in api.find("arm.grip")], api.paths()
    (['arm.grip'], ['arm.grip'])
    """

    def __init__(self, *sources: object) -> None:
        self._handlers: dict[str, tuple[Handler, ...]] = {}
        self._catch_alls: dict[str, tuple[Handler, ...]] = {}
        self._others: dict[str, tuple[Handler, ...]] = {}
        self._lock = Lock()
        self._listeners: list[Callable[[], None]] = []
        for source in sources:
            self.include(source)

    # Registering

    @overload
    def add(self, path: str) -> Callable[[F], F]: ...
    @overload
    def add(self, path: str, function: Function, *, typed: bool = False) -> None: ...
    def add(self, path: str, function: Function | None = None, *, typed: bool = False) -> Any:
        """Have calls of ``path`` answered by ``function``; without one it is a decorator.

        Several may stand under one path; the newest is asked first.
        """
        _check(path)
        if function is None:

            def mark(function: F) -> F:
                self.add(path, function)
                return function

            return mark
        self._put(self._handlers, path, Handler(path, function, typed=typed))
        return None

    def catch_all(self, function: Function, at: str = "") -> None:
        """Have ``function(call)`` see each call under the branch ``at`` before anybody else."""
        self._put(self._catch_alls, at, Handler(at or "everything", function, raw=True))

    def otherwise(self, function: Function, at: str = "") -> None:
        """Have ``function(call)`` see each call under the branch ``at`` that nobody handled."""
        self._put(self._others, at, Handler(at or "the rest", function, raw=True))

    def include(self, source: object, at: str = "") -> None:
        """Add the marked methods of ``source`` under ``at``, and those of what hangs on it.

        What hangs on it are its attributes without an underscore whose class has
        marked methods. Raises `ValueError` where there are none, since nobody could call it.
        """
        found = list(_marked(source, at, ()))
        if not found:
            raise ValueError(_nothing_marked(source))
        for path, function in found:
            self.add(path, function, typed=True)

    def remove(self, path: str, function: Function | None = None) -> int:
        """Remove the handlers of ``path``, or ``function`` alone, everywhere it stands there.

        Returns how many that were. A catch-all or a generic one goes by its branch.
        """
        removed = 0
        with self._lock:
            for table in (self._handlers, self._catch_alls, self._others):
                known = table.get(path, ())
                if function is None and table is not self._handlers:
                    continue
                kept = tuple(h for h in known if function is not None and h.function != function)
                removed += len(known) - len(kept)
                if kept:
                    table[path] = kept
                else:
                    table.pop(path, None)
        self._tell()
        return removed

    def branch(self, path: str) -> Branch:
        """Return the part of this tree under ``path``, to register there."""
        _check(path)
        return Branch(self, path)

    def put(self, handler: Handler) -> None:
        """Have calls of the path of ``handler`` answered by it, as `add` has a function."""
        _check(handler.path)
        self._put(self._handlers, handler.path, handler)

    # Asking

    def find(self, path: str) -> tuple[Handler, ...]:
        """Return who is asked for ``path``, in turn; nobody where it is not known."""
        exact = tuple(reversed(self._handlers.get(path, ())))
        if not self._catch_alls and not self._others:
            return exact
        before = [each for at, found in _above(path, self._catch_alls) for each in found]
        after = [each for at, found in reversed(_above(path, self._others)) for each in found]
        return (*before, *exact, *after)

    def paths(self) -> list[str]:
        """Return every path that has a handler of its own."""
        return sorted(self._handlers)

    def describe(self) -> dict[str, Any]:
        """Return the map: of each path what it takes and returns."""
        return {path: self._handlers[path][-1].describe() for path in self.paths()}

    def _put(self, table: dict[str, tuple[Handler, ...]], path: str, handler: Handler) -> None:
        with self._lock:
            table[path] = (*table.get(path, ()), handler)
        self._tell()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have ``listener()`` called after every change, on whatever thread made it."""
        self._listeners.append(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


class Branch:
    """A part of an `Api`, with the same words; paths begin here."""

    def __init__(self, api: Api, path: str) -> None:
        self._api = api
        self._path = path

    def add(self, path: str, function: Function | None = None) -> Any:
        """Have calls of ``path``, below here, answered by ``function``; or decorate one."""
        if function is None:
            return self._api.add(f"{self._path}.{path}")
        return self._api.add(f"{self._path}.{path}", function)

    def catch_all(self, function: Function) -> None:
        """Have ``function(call)`` see each call below here before anybody else."""
        self._api.catch_all(function, self._path)

    def otherwise(self, function: Function) -> None:
        """Have ``function(call)`` see each call below here that nobody handled."""
        self._api.otherwise(function, self._path)

    def include(self, source: object) -> None:
        """Add the marked methods of ``source`` below here."""
        self._api.include(source, self._path)

    def branch(self, path: str) -> Branch:
        """Return a part of this part."""
        return self._api.branch(f"{self._path}.{path}")


def unknown(address: str, path: str, paths: list[str]) -> UnknownApiError:
    """Return the error for a call of ``path``, with what may have been meant."""
    near = difflib.get_close_matches(path, paths, n=1)
    if near:
        return UnknownApiError(f"{address} has no {path!r} to call; did you mean {near[0]!r}?")
    shown = ", ".join(paths[:12]) + (", …" if len(paths) > 12 else "")
    return UnknownApiError(f"{address} has no {path!r} to call; it has {shown or 'nothing'}")


def _nothing_marked(source: object) -> str:
    if isinstance(source, type):
        return f"{source.__name__} is a class: make one, {source.__name__}(…), and serve that"
    return (
        f"{type(source).__name__} has no method that can be called: mark some with @command,"
        " or register functions by name, api_of(process).add(name, function)"
    )


def _marked(source: object, at: str, above: tuple[object, ...]) -> Iterator[tuple[str, Function]]:
    prefix = f"{at}." if at else ""
    kind = type(source)
    for name in marked_in(kind):
        # Of the class: a process has attributes of its own, which may have that name.
        yield prefix + name, inspect.getattr_static(kind, name).__get__(source, kind)
    for name, value in list(getattr(source, "__dict__", {}).items()):
        if name.startswith("_") or any(value is each for each in (*above, source)):
            continue
        if marked_in(type(value)):
            yield from _marked(value, prefix + name, (*above, source))


def _above(path: str, table: dict[str, T]) -> list[tuple[str, T]]:
    """Return what ``table`` has for the branches that ``path`` is on, the root first.

    The branches are looked at, and not the path: that comes from anywhere, and may have
    thousands of dots.
    """
    found = [(at, each) for at, each in list(table.items()) if not at or path.startswith(f"{at}.")]
    return sorted(found, key=lambda each: len(each[0]))


def _check(path: str) -> None:
    names = path.split(".")
    if not all(name.isidentifier() and not name.startswith("_") for name in names):
        raise ValueError(
            f"{path!r} is no path: write names with dots between, none of which begins with _"
        )
