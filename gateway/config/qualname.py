"""What ``module:qualname`` names, imported when it is asked for.

Refused, as `ConfigError`: what cannot be imported, or is not there.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gateway.errors import ConfigError


def named(name: str, noun: str = "class") -> Any:
    """Return what ``name`` names, which is to be a ``noun``.

    >>> named("gateway.errors:ConfigError.code")
    'config'
    """
    module, _, qualname = name.partition(":")
    try:
        found: Any = import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"there is no {noun} {name!r}: {error}") from error
    return found
