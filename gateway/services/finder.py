"""Who finds what a reference stands for, in the process where somebody asks.

A reference that comes in a letter is found by the process whose letter it is. One
that is unpickled says nothing of where: it is found by the process on whose
thread that happens.

Refused (`RefusedError`): to find anything where no process of an application has its
services.
"""

from __future__ import annotations

from typing import Any, Protocol
from weakref import WeakValueDictionary

from gateway.errors import RefusedError
from gateway.process.process import Process
from gateway.process.whereabouts import here


class Finder(Protocol):
    """Finds what references stand for, for one process."""

    process: Process

    def find(self, told: dict[str, Any]) -> Any:
        """Return what a reference stands for here; `RefusedError` for nonsense."""
        ...

    def refer(self, value: object) -> dict[str, Any] | None:
        """Return what stands for ``value``, None where nothing does."""
        ...


_finders: WeakValueDictionary[str, Finder] = WeakValueDictionary()


def note(finder: Finder) -> None:
    """Have ``finder`` asked on the threads of its process."""
    _finders[finder.process.name] = finder


def finder_here() -> Finder:
    """Return who finds things on this thread; raise `RefusedError` where that is nobody."""
    name = here().process
    found = _finders.get(name) or _finders.get(name.rpartition("@")[2])
    # Somebody may still hold what a process had that is over.
    if found is None or found.process.run_level == "dead":
        raise RefusedError(
            f"{name!r} has no services here: make gateway.services.Services(process) first"
        )
    return found


def found_here(told: dict[str, Any]) -> Any:
    """Return what a reference stands for on this thread."""
    return finder_here().find(told)
