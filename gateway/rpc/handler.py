"""One function that can be called from afar, and the check of what it is called with.

A function whose parameters a letter can name is checked against its annotations;
one with ``*args``, ``**kwargs`` or parameters without a name takes what is given,
and only their number is checked.

Refused, at the caller, with what would be right: arguments that do not fit
(`RefusedError`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from gateway.errors import RefusedError
from gateway.mail.signature import POSITIONAL, Command, type_text

Function = Callable[..., Any]


class Unhandled:
    """What `UNHANDLED` is."""

    def __repr__(self) -> str:
        return "UNHANDLED"


UNHANDLED = Unhandled()
"""What a handler returns that leaves the call to the next one."""


class Handler:
    """A function under a path; one that is ``raw`` is given the `Call` and not its arguments."""

    def __init__(
        self, path: str, function: Function, *, typed: bool = False, raw: bool = False
    ) -> None:
        if not callable(function):
            raise TypeError(f"what {path!r} calls must be callable, not {function!r}")
        self.path = path
        self.function = function
        self.raw = raw
        self.command = None if raw else _command(path, function, typed=typed)
        self._signature = None if raw or self.command else _signature(function)
        self.check = self.command.check if self.command is not None else None
        """Returns the arguments by name that a body holds; None where that cannot be known."""
        made = inspect.unwrap(function)
        self.is_coroutine = inspect.iscoroutinefunction(made)
        self.is_stream = inspect.isgeneratorfunction(made) or inspect.isasyncgenfunction(made)

    def invoke(self, body: Any) -> Any:
        """Call the function with the arguments that ``body`` holds, once they fit."""
        if self.command is not None:
            return self.function(**self.command.check(body))
        args, kwargs = arguments(body)
        if self._signature is not None:
            try:
                self._signature.bind(*args, **kwargs)
            except TypeError as error:
                right = f"{self.path}{self._signature}"
                raise RefusedError(f"{self.path}: {error}; right is {right}") from None
        return self.function(*args, **kwargs)

    def describe(self) -> dict[str, Any]:
        """Return what an API's map says of it; parameters are None where they are not known."""
        known: dict[str, Any] = {"description": "", "parameters": None, "returns": "Any"}
        if self.command is not None:
            known = self.command.describe()
        elif self._signature is not None:
            known["description"] = inspect.getdoc(self.function) or ""
            returns = self._signature.return_annotation
            if returns is not self._signature.empty:
                known["returns"] = returns if isinstance(returns, str) else type_text(returns)
        return {**known, "stream": self.is_stream}

    def __repr__(self) -> str:
        return f"<handler of {self.path}>"


def arguments(body: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments without and with a name; raise `RefusedError` where those are none.

    >>> arguments({"force": 3, "*": [1]})
    ([1], {'force': 3})
    """
    if body is None:
        return [], {}
    if not isinstance(body, dict):
        raise RefusedError(f"arguments come by name, not as {type(body).__name__}")
    args = body.get(POSITIONAL, [])
    if not isinstance(args, list):
        raise RefusedError(f"{POSITIONAL!r} is a list of arguments, not {type(args).__name__}")
    return args, {name: value for name, value in body.items() if name != POSITIONAL}


def _command(path: str, function: Function, *, typed: bool) -> Command | None:
    try:
        return Command(path, function, bound=True, typed=typed)
    except (TypeError, ValueError, NameError):
        if typed:
            raise
        return None


def _signature(function: Function) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None
