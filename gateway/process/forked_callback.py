"""Callbacks that run in an OS process of their own, forked for one letter.

The process hands the letter to the boss, whose fork server forks a child for
it (`gateway.supervision.errands`). There the function gets the letter, and
what it returns, unless that is None, is the reply. What it raises, and its
death, bounces; its process goes on either way.

Refused (`ValueError`): all but functions that stand at the top of a module,
since a name is all that can be handed over: no lambda, no method, no partial,
no coroutine.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import FunctionType
from typing import Any

from gateway.mail.filters import Callback
from gateway.mail.message import Message


def path_of(callback: Callback) -> str:
    """Return ``module:name`` of a module-level function; raise `ValueError` for all else.

    >>> path_of(path_of)
    'gateway.process.forked_callback:path_of'
    """
    if isinstance(callback, FunctionType) and not inspect.iscoroutinefunction(callback):
        module = sys.modules.get(callback.__module__)
        if getattr(module, callback.__qualname__, None) is callback:
            return f"{callback.__module__}:{callback.__qualname__}"
    raise ValueError(
        f"only a function at the top of a module can run in a forked process, not {callback!r}"
    )


def function_at(path: str) -> Callable[[Message], Any]:
    """Return the function that ``path_of`` named."""
    module, _, name = path.partition(":")
    found: Callable[[Message], Any] = getattr(
        sys.modules.get(module) or import_module(module), name
    )
    return found


def forked(callback: Callback, hand_over: Callable[[str, Message], None]) -> Callback:
    """Return what a filter calls so that ``callback`` runs in a forked OS process.

    ``hand_over`` is called with its path and a letter for it.
    """
    return partial(hand_over, path_of(callback))
