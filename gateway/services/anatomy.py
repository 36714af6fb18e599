"""What a class shows to who has a proxy of one of its objects: methods and properties.

Every name without an underscore counts, marked or not. Functions are methods,
whatever kind they are; all the rest are properties: those that are written as such,
slots, constants of the class. What an object has besides its class is for
`gateway.services.object_api`. Nothing of the object is touched: a property that
counts its readers counts none here.

Pure. Left out: classes within the class.
"""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import Any, Literal, get_type_hints

Kind = Literal["method", "property", "attribute", "function"]
"""What a name is; ``attribute`` is of the object alone, a ``function`` was registered."""


def anatomy(kind: type) -> dict[str, Kind]:
    """Return what each public name of ``kind`` is, by name.

    >>> from statistics import NormalDist
    >>> found = anatomy(NormalDist)
    >>> found["cdf"], found["mean"], "_mu" in found
    ('method', 'property', False)
    """
    found: dict[str, Kind] = {}
    for name in dir(kind):
        if not is_public(name):
            continue
        static = inspect.getattr_static(kind, name, None)
        if isinstance(static, type):
            continue
        found[name] = "property" if _is_data(static) else "method"
    return found


def is_public(name: str) -> bool:
    """Whether ``name`` is one that others may use."""
    return name.isidentifier() and not name.startswith("_")


def value_type(kind: type, name: str) -> Any:
    """Return the type of the values of the property ``name``, as annotated; `Any` for none."""
    static = inspect.getattr_static(kind, name, None)
    try:
        if isinstance(static, property):
            if static.fset is not None:
                hints = get_type_hints(static.fset, include_extras=True)
                hints.pop("return", None)
                return next(iter(hints.values()), Any)
            return get_type_hints(static.fget, include_extras=True).get("return", Any)
        return get_type_hints(kind, include_extras=True).get(name, Any)
    except (TypeError, NameError, AttributeError):
        # As of a name that is imported for type checkers alone.
        return Any


def _is_data(static: object) -> bool:
    if isinstance(static, property | cached_property) or inspect.isdatadescriptor(static):
        return True
    function = getattr(static, "__func__", static)
    return not callable(function) and not hasattr(type(static), "__get__")
