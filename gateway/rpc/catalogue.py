"""What is served at one process: which APIs, under which paths, with which workers.

The API nearest to a path is asked first, the one at the root last; what its
handlers leave goes on to the next.

Refused (`ValueError`): two APIs at one path.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gateway.process.callback_threads import CallbackThreads
from gateway.rpc.api import Api
from gateway.rpc.handler import Handler


class Served(NamedTuple):
    """An API, where it hangs, and who carries its calls out: None for the process itself."""

    api: Api
    at: str
    workers: CallbackThreads | None

    def within(self, subject: str) -> str | None:
        """Return the path within this API, None where ``subject`` is none of its."""
        if not self.at:
            return subject
        return subject[len(self.at) + 1 :] if subject.startswith(f"{self.at}.") else None

    def path(self, within: str) -> str:
        """Return the whole path of what this API has as ``within``."""
        return f"{self.at}.{within}" if self.at else within


class Found(NamedTuple):
    """Who handles a path, in the order in which they are asked, and who carries it out."""

    handlers: tuple[Handler, ...]
    served: Served


class Catalogue:
    """The APIs of one process.

    >>> catalogue = Catalogue()
    >>> arm = Api()
    >>> arm.add("grip", lambda force: force)
    >>> catalogue.add(arm, "arm", None)
    >>> catalogue.paths(), catalogue.find("arm.grip").served.at, catalogue.find("leg.kick")
    (['arm.grip'], 'arm', None)
    """

    def __init__(self) -> None:
        self._served: tuple[Served, ...] = ()
        self.quick: dict[str, Handler] = {}
        """Handlers that are asked without `find`: what `remember` noted since the last change."""

    def add(self, api: Api, at: str, workers: CallbackThreads | None) -> None:
        """Serve ``api`` under the path ``at``; raise `ValueError` where that is taken."""
        self.refuse_taken(at)
        served = (*self._served, Served(api, at, workers))
        self._served = tuple(sorted(served, key=lambda each: -len(each.at)))
        self._forget()
        api.on_change(self._forget)

    def refuse_taken(self, at: str) -> None:
        """Raise `ValueError` where something is served at ``at`` already."""
        if self.at(at) is not None:
            raise ValueError(f"something is served at {at or 'the root'!r} already")

    def at(self, path: str) -> Api | None:
        """Return what is served at ``path``, None for nothing."""
        return next((served.api for served in self._served if served.at == path), None)

    def find(self, path: str) -> Found | None:
        """Return who handles ``path``, None for nobody."""
        handlers: tuple[Handler, ...] = ()
        first: Served | None = None
        for served in self._served:
            within = served.within(path)
            found = served.api.find(within) if within else ()
            # Who has it first says who carries it out; what they leave goes to the next.
            first = first or (served if found else None)
            handlers += found
        return None if first is None else Found(handlers, first)

    def remember(self, quick: dict[str, Handler], path: str, found: Found) -> None:
        """Note in ``quick`` who handles ``path``, where that is one alone, in place, and checked.

        ``quick`` was taken before `find`: a change throws the whole table away.
        """
        first = found.handlers[0]
        if len(found.handlers) == 1 and first.check is not None and found.served.workers is None:
            quick[path] = first

    def describe(self) -> dict[str, Any]:
        """Return the map of everything that is served."""
        return {
            served.path(path): told
            for served in self._served
            for path, told in served.api.describe().items()
        }

    def paths(self) -> list[str]:
        """Return every path that is served."""
        return [served.path(path) for served in self._served for path in served.api.paths()]

    def pools(self) -> list[CallbackThreads]:
        """Return the workers of all that have some."""
        return [served.workers for served in self._served if served.workers is not None]

    def _forget(self) -> None:
        self.quick = {}

    def __bool__(self) -> bool:
        return bool(self._served)
