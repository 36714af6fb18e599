"""Names as Home Assistant's topics, ids and templates can hold them. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes


def safe(name: str) -> str:
    """Return ``name`` in letters, digits, ``-`` and ``_``; no two names give the same.

    >>> safe("motor_board"), safe("pins/links+2")
    ('motor__board', 'pins_2flinks_2b2')
    """
    return "".join(map(_safe_character, name))


def unsafe(text: str) -> str | None:
    """Return the name that `safe` spells so; None where it spells none so.

    >>> unsafe("motor__board"), unsafe("motor_board")
    ('motor_board', None)
    """
    spelt = _SPELT.sub(lambda found: "%5F" if found[0] == "__" else f"%{found[0][1:]}", text)
    try:
        name = unquote_to_bytes(spelt).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return name if safe(name) == text else None


def quoted(text: str) -> str:
    """Return ``text`` as a template writes it.

    >>> quoted("it's")
    "'it\\\\'s'"
    """
    return f"'{''.join(map(_quoted_character, text))}'"


def _quoted_character(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    # A template's own line ends are all made alike.
    return character if character.isprintable() else character.encode("unicode-escape").decode()


def _safe_character(character: str) -> str:
    if character.isascii() and (character.isalnum() or character == "-"):
        return character
    if character == "_":
        return "__"
    return "".join(f"_{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))


_SPELT: Final = re.compile("__|_[0-9a-f]{2}")
