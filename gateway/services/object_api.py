"""An object as an API: its methods, its properties and its attributes, without a mark on any.

A property is a path like any other: called without an argument it is read, with
one it is set. So it has the deadlines, the errors and the map of a call, and
``gateway call robot speed`` reads it. What the object sets on itself, in its
constructor or later, is an attribute, and works as a property does. Functions are
registered and removed while it is served (`add_function`).

What is set is checked against the annotation of the setter or of the class. A
handler is made when its path is first called, so that a large class costs no more
to serve than a small one.

Refused: a name that the object has already, for a function (`RefusedError`);
attributes that it does not have, so that a slip of the pen makes none
(`UnknownApiError`).
"""

from __future__ import annotations

import inspect
from datetime import datetime
from threading import Lock
from typing import Any

import msgspec

from gateway.errors import RefusedError, UnknownApiError
from gateway.mail.signature import is_carried, type_text
from gateway.rpc.api import Api
from gateway.rpc.handler import Function, Handler, arguments
from gateway.services.anatomy import Kind, anatomy, is_public, value_type

_AS_THEY_ARE = (bytes, datetime)


class ObjectApi(Api):
    """What can be called of ``target``; see the module's head.

    >>> from types import SimpleNamespace
    >>> api = ObjectApi(SimpleNamespace(speed=3))
    >>> (handler,) = api.find("speed")
    >>> handler.invoke({"*": [5]}), handler.invoke(None)
    (None, 5)
    """

    def __init__(self, target: object = None) -> None:
        super().__init__()
        self.target: object = None
        self._class: dict[str, Kind] = {}
        self._functions: dict[str, Function] = {}
        self._naming = Lock()
        if target is not None:
            self.embody(target)

    def embody(self, target: object) -> None:
        """Be the API of ``target``, which may have registered functions while it was made."""
        with self._naming:
            self.target, self._class = target, anatomy(type(target))
            taken = self._functions.keys() & {*self._class, *_attributes(target)}
        if taken:
            raise RefusedError(f"{', '.join(sorted(taken))}: registered, and there already")

    # Functions that are registered at run time

    def add_function(self, name: str, function: Function) -> None:
        """Have calls of ``name`` answered by ``function``, until `remove_function`."""
        if not is_public(name):
            raise ValueError(f"{name!r} is no name: letters, digits and _, none of which begins it")
        with self._naming:
            known = self.kind_of(name)
            if known is not None:
                raise RefusedError(f"there is a {known} {name!r} already: choose another name")
            self.add(name, function)
            self._functions[name] = function

    def remove_function(self, name: str) -> bool:
        """Have ``name`` answered no longer; tell whether it was registered."""
        with self._naming:
            if name not in self._functions:
                return False
            del self._functions[name]
            self.remove(name)
        return True

    def functions(self) -> dict[str, Function]:
        """Return what is registered now, by name."""
        return self._functions.copy()

    # Asking

    def kind_of(self, name: str) -> Kind | None:
        """Return what ``name`` is, None where it is nothing."""
        found = self._class.get(name)
        if found is not None:
            return found
        if name in self._functions:
            return "function"
        return "attribute" if is_public(name) and name in _attributes(self.target) else None

    def kinds(self) -> dict[str, Kind]:
        """Return what there is, by name."""
        # A copy: workers may add attributes and remove them meanwhile.
        own: list[str] = [name for name in list(_attributes(self.target)) if is_public(name)]
        return {
            **dict.fromkeys(own, "attribute"),
            **dict.fromkeys(self._functions, "function"),
            **self._class,
        }

    def find(self, path: str) -> tuple[Handler, ...]:
        """Return who is asked for ``path``, in turn; nobody where it is not known."""
        found = super().find(path)
        if found:
            return found
        kind = self.kind_of(path)
        if kind is None or kind == "function":
            return ()
        made = (
            Handler(path, getattr(self.target, path))
            if kind == "method"
            else PropertyHandler(path, self.target, own=kind == "attribute")
        )
        self.put(made)
        return (made,)

    def paths(self) -> list[str]:
        """Return every name that can be called, read or set."""
        return sorted(self.kinds())

    def describe(self) -> dict[str, Any]:
        """Return the map: of each name its kind, what it takes and returns."""
        return {
            name: {**found[0].describe(), "kind": kind}
            for name, kind in sorted(self.kinds().items())
            if (found := self.find(name))
        }


class PropertyHandler(Handler):
    """Reads and sets one property of ``target``, or an attribute that is its ``own``."""

    def __init__(self, path: str, target: object, *, own: bool = False) -> None:
        super().__init__(path, self._access, raw=True)
        self.raw = False
        self.check = self._checked
        self._target = target
        self._is_own = own
        static = inspect.getattr_static(type(target), path, None)
        self._is_read_only = isinstance(static, property) and static.fset is None
        self._type = value_type(type(target), path)
        self._is_checked = self._type is not Any and is_carried(self._type)

    def invoke(self, body: Any) -> Any:
        """Read it where ``body`` holds no argument, set it to the one that it holds."""
        return self._access(**self._checked(body))

    def _checked(self, body: Any) -> dict[str, Any]:
        if body is None:
            return {}
        values, named = arguments(body)
        if named or len(values) > 1:
            raise RefusedError(
                f"{self.path} is a property: it is read without an argument, and set with one"
            )
        if values and self._is_checked:
            try:
                values = [msgspec.convert(values[0], self._type, builtin_types=_AS_THEY_ARE)]
            except msgspec.ValidationError as error:
                raise RefusedError(f"{self.path}: {error}") from None
        return {"value": values[0]} if values else {}

    def _access(self, value: Any = msgspec.UNSET) -> Any:
        if value is msgspec.UNSET:
            return getattr(self._target, self.path)
        if self._is_own and self.path not in _attributes(self._target):
            raise UnknownApiError(f"{type(self._target).__name__} has no {self.path!r} any more")
        setattr(self._target, self.path, value)
        return None

    def describe(self) -> dict[str, Any]:
        """Return what the map says of it."""
        static = inspect.getattr_static(type(self._target), self.path, None)
        about = inspect.getdoc(static) if isinstance(static, property) else None
        told = type_text(self._type)
        value = {"value": {"type": told, "unit": "", "required": False}}
        return {
            "description": about or "",
            "parameters": {} if self._is_read_only else value,
            "returns": told,
            "stream": False,
        }


def _attributes(target: object) -> dict[str, Any]:
    own: dict[str, Any] = getattr(target, "__dict__", {})
    return own
