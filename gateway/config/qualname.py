"""What ``module:qualname`` names, imported when it is asked for.

A module is imported by running it, so that it may raise anything: whatever that is, it is
the author's, and no bug of ours.

Refused, as `ConfigError`: what cannot be imported, or is not there.
"""

from __future__ import annotations

import traceback
from importlib import import_module
from typing import Any

from gateway.errors import ConfigError, reason_of

BROKEN = (Exception, SystemExit)
"""What a module may raise while it is imported; Ctrl-C is nobody's mistake."""


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
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"there is no {noun} {name!r}: {raised_by(module, error)}") from error
    except BROKEN as error:
        said = raised_by(module, error)
        raise ConfigError(f"the {noun} {name!r} cannot be imported: {said}") from error
    return found


def raised_by(module: str, error: BaseException) -> str:
    """Return on one line what the import of ``module`` raised, and the line that did, if known.

    >>> raised_by("arm", ImportError("No module named 'arm'"))
    "No module named 'arm'"
    >>> raised_by("arm", SyntaxError("invalid syntax", ("/opt/arm.py", 3, 1, "def", 3, 4)))
    'SyntaxError: invalid syntax (/opt/arm.py:3)'
    """
    kind = "" if isinstance(error, ImportError | AttributeError) else type(error).__name__
    told = error.msg if isinstance(error, SyntaxError) else reason_of(error)
    said = " ".join(told.split())
    said = f"{kind}: {said}" if kind and said != kind else said or kind
    place = _place(module, error)
    return f"{said} ({place})" if place else said


def _place(module: str, error: BaseException) -> str:
    """Return the file and line that raised: of the package of ``module``, where that took part."""
    if isinstance(error, SyntaxError) and error.filename and error.filename[0] != "<":
        return f"{error.filename}:{error.lineno}"
    package = module.partition(".")[0]
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        # What its module has asked a library to do is of more use than where that gave up.
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package:
            place = f"{frame.f_code.co_filename}:{line}"
    return "" if module.startswith(f"{__name__.partition('.')[0]}.") else place
