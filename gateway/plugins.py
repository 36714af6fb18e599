"""Drivers and routers by name: how the core comes to what it does not know.

Ours and a third party's alike are entry points of an installed distribution, in the
groups `DRIVERS` and `ROUTES`. A plug-in is imported when it is asked for, never to be
listed. The class of a process of one's own needs no entry point: its module and
name are enough. Refused: a name that nobody offers, one that two distributions offer, and what
cannot be imported, because something it needs is absent or because it is broken.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from gateway.config.assembly import CALLABLES, DRIVERS, PROCESSES, ROUTES
from gateway.config.mistake import ConfigErrors, Mistake, suggest
from gateway.config.qualname import BROKEN, named, raised_by
from gateway.errors import ConfigError
from gateway.mail.signature import commands_of, marked_in

__all__ = ["CALLABLES", "DRIVERS", "PROCESSES", "ROUTES", "find", "names"]

_NOUNS = {DRIVERS: "driver", ROUTES: "type of route"}
_MEND = "mend it there"


def names(group: str) -> list[str]:
    """Return the names that ``group`` offers, sorted; nothing is imported."""
    return sorted({point.name for point in _points(group)})


def find(group: str, name: str) -> Any:
    """Import and return the class called ``name`` in ``group``; in `PROCESSES`, module:qualname.

    In `CALLABLES` it is a function, or what has marked methods.

    Raises `ConfigErrors` (a `gateway.errors.ConfigError`) with one mistake, which has no
    place in a file: the caller knows where the name was written.
    """
    if group == PROCESSES:
        return _process(name)
    if group == CALLABLES:
        return _callable(name)
    noun = _NOUNS.get(group, "plug-in")
    points = {point.value: point for point in _points(group) if point.name == name}
    if not points:
        advice = suggest(name, names(group)) or f"none is installed in {group}"
        raise _mistake(f"there is no {noun} {name!r}", advice)
    if len(points) > 1:
        offers = ", ".join(f"{value} ({_owner(point)})" for value, point in sorted(points.items()))
        raise _mistake(f"two packages offer the {noun} {name!r}: {offers}", "uninstall one")
    (point,) = points.values()
    try:
        found = point.load()
    except BROKEN as error:
        problem = f"the {noun} {name!r} cannot be imported: {raised_by(point.module, error)}"
        absent = isinstance(error, ImportError | AttributeError)
        advice = f"reinstall {_owner(point)}, or what is missing" if absent else _MEND
        raise _mistake(problem, advice) from error
    if not isinstance(found, type):
        raise _mistake(f"the {noun} {name!r} is no class: {point.value}", "ask its author")
    return found


def _process(name: str) -> type[Any]:
    """Import the class of a process that no distribution offers by another name than its own."""
    try:
        found = named(name)
    except ConfigError as error:
        advice = "write module:qualname of what this Python can import"
        raise _mistake(str(error), _MEND if _is_broken(error) else advice) from error
    if not isinstance(found, type) or not all(
        callable(getattr(found, method, None)) for method in ("birth", "life", "death")
    ):
        raise _mistake(f"{name!r} is no Process", "name a subclass of gateway.Process")
    return found


def _callable(name: str) -> Any:
    """Import what an API of the configuration names."""
    try:
        found = named(name, "function")
    except ConfigError as error:
        advice = "write module:name of what this Python can import"
        raise _mistake(str(error), _MEND if _is_broken(error) else advice) from error
    kind = found if isinstance(found, type) else type(found)
    if marked_in(kind):
        try:
            commands_of(kind)
        except (TypeError, ValueError, NameError) as error:
            raise _mistake(f"{name!r} cannot be called: {error}", _MEND) from error
        if isinstance(found, type) and (why := _needs(found)):
            advice = "give its arguments defaults, or name an object that is made already"
            raise _mistake(f"{name!r} cannot be made without arguments: {why}", advice)
    elif isinstance(found, type) or not callable(found):
        what = "a class without marked methods" if isinstance(found, type) else "no function"
        advice = "name a function, or mark methods with @command"
        raise _mistake(f"{name!r} is {what}", advice)
    return found


def _needs(kind: type[Any]) -> str:
    """Return why ``kind()`` would fail, as far as its signature tells; empty where it does not."""
    if inspect.isabstract(kind):
        return "it is abstract"
    try:
        inspect.signature(kind).bind()
    except ValueError:
        return ""  # one that is not written in Python tells nothing
    except TypeError as error:
        return str(error)
    return ""


def _is_broken(error: ConfigError) -> bool:
    """Return whether what was named is there, and raised when it was imported."""
    return not isinstance(error.__cause__, ImportError | AttributeError)


def _points(group: str) -> Iterable[EntryPoint]:
    return entry_points(group=group)


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown package"


def _mistake(problem: str, advice: str) -> ConfigErrors:
    return ConfigErrors([Mistake(problem=problem, advice=advice)])
