"""What an object can do that lives in a service: have more called than its class has.

::

    class Robot:
        def load(self, tool: str) -> None:
            register_function("drill", Drill(tool).turn)

From then on ``robot.drill(...)`` is there on every proxy, until `remove_function`.

Refused (`RefusedError`): to register anything outside of a service.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.errors import RefusedError
from gateway.services.object_api import ObjectApi
from gateway.services.proxy import Proxy

_here: list[tuple[ObjectApi, Callable[[], Proxy]]] = []


def register_function(name: str, function: Callable[..., Any]) -> None:
    """Have ``name`` of this service, on every proxy of it, call ``function``.

    Raises `ValueError` for what is no name, `RefusedError` for one that the service
    has already, and where this is no service.
    """
    _inside()[0].add_function(name, function)


def remove_function(name: str) -> bool:
    """Take back what `register_function` registered; tell whether it was there."""
    return _inside()[0].remove_function(name)


def functions() -> dict[str, Callable[..., Any]]:
    """Return what is registered now, by name."""
    return _inside()[0].functions()


def this_service() -> Any:
    """Return a proxy of the service that this is, to be handed to others.

    An object that hands itself out returns ``self``, which does the same.
    """
    return _inside()[1]()


def is_inside() -> bool:
    """Whether this OS process is a service."""
    return bool(_here)


def enter(api: ObjectApi, make_proxy: Callable[[], Proxy]) -> None:
    """Note that this OS process serves ``api`` from now on."""
    _here.append((api, make_proxy))


def leave() -> None:
    """Note that it serves nothing any more."""
    _here.clear()


def _inside() -> tuple[ObjectApi, Callable[[], Proxy]]:
    if not _here:
        raise RefusedError(
            "this is no service: register functions within an object that Services.start made;"
            " elsewhere hand over remote_function(process, function)"
        )
    return _here[-1]
