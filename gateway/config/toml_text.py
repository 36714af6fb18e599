"""A document as TOML text: the way back from what `tomllib` reads.

Comments and the order of keys among tables are not kept; every value is. Reads
nothing and writes no file.

Refused (`TypeError`): what TOML has no word for, as None.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.provenance import Path, written


def toml_text(document: Mapping[str, Any]) -> str:
    """Return ``document`` as TOML 1.0.

    >>> print(toml_text({"node": "a", "devices": {"left wheel": {"hz": 20}}}))
    node = "a"
    <BLANKLINE>
    [devices."left wheel"]
    hz = 20
    <BLANKLINE>
    """
    return "\n".join(_table(document, ()))


def _table(table: Mapping[str, Any], path: Path) -> Iterator[str]:
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    plain = {key: value for key, value in table.items() if key not in inner}
    # A table that only holds tables is implied by theirs.
    if path and (plain or not inner):
        yield f"[{written(path)}]"
    for key, value in plain.items():
        yield f"{written((key,))} = {_value(value)}"
    if plain or (path and not inner):
        yield ""
    for key, value in inner.items():
        yield from _table(value, (*path, key))


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            # JSON leaves one control character as it is that TOML wants escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() | float():
            return repr(value)
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case Mapping():
            pairs = (f"{written((key,))} = {_value(each)}" for key, each in value.items())
            return f"{{ {', '.join(pairs)} }}" if value else "{}"
    raise TypeError(f"TOML has no word for a {type(value).__name__}")
