"""Ways to switch one feature off, so that the test which shows it can be seen red.

Each switch changes one thing in the running code, before anything is forked.
``pytest --without NAME`` throws one (`tests.conftest`); the tables in docs/rpc.md
and docs/services.md say which test each of them must turn red, and
`tests.features.rows` sees to it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

Switch = Callable[[], None]

SWITCHES: dict[str, Switch] = {}


def switch(function: Switch) -> Switch:
    """Enter ``function`` under its name, with dashes."""
    SWITCHES[function.__name__.replace("_", "-")] = function
    return function


def find(place: str) -> tuple[Any, str]:
    """Return the module or class, and the name in it, of ``module:Class.name``."""
    module, _, path = place.partition(":")
    target: Any = importlib.import_module(module)
    *inner, name = path.split(".")
    for each in inner:
        target = getattr(target, each)
    return target, name


def replace(place: str, value: Any) -> Any:
    """Put ``value`` where ``place`` says; return what stood there."""
    target, name = find(place)
    before = getattr(target, name)
    setattr(target, name, value)
    return before


def nothing(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""


def without_term(*names: str) -> None:
    """Have every call made as if ``names`` had not been said."""

    def changed(terms: Any, **changes: Any) -> Any:
        return before(terms, **{key: each for key, each in changes.items() if key not in names})

    before = replace("gateway.rpc.terms:Terms.changed", changed)
