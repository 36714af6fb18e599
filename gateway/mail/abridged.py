"""A body cut down to what somebody who watches the mail needs to see of it.

The copy shares nothing that could change with the body, costs no more than its
bound however large the body is, and is always Unicode. It is for showing:
nothing is refused.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

BOUND = 2048
"""Characters, bytes and items that are kept of one body at the most."""

MARK = "…"
"""Stands where something was left out of a text, a list or a dict."""


def abridged(body: Any, bound: int = BOUND) -> tuple[Any, bool]:
    """Return a copy of ``body`` and whether something was left out.

    >>> abridged({"left": 10, "raw": b"abc"})
    ({'left': 10, 'raw': b'abc'}, False)
    >>> abridged(["x" * 100, 1, 2], bound=5)
    (['xxx…', '…'], True)
    """
    knife = _Knife(bound)
    return knife.cut(body), knife.was_used


def as_unicode(text: str) -> str:
    r"""Return ``text`` as it can be written down: half a surrogate pair becomes ``?``.

    >>> as_unicode("a\ud800")
    'a?'
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class _Knife:
    def __init__(self, left: int) -> None:
        self.was_used = False
        self._left = left

    def cut(self, value: Any) -> Any:
        self._left -= 1
        if isinstance(value, str):
            kept = as_unicode(value[: max(0, self._left)])
            self._left -= len(kept)
            return kept if len(kept) == len(value) else kept + self._marked()
        if isinstance(value, bytes):
            raw = value[: max(0, self._left)]
            self._left -= len(raw)
            self.was_used |= len(raw) < len(value)
            return raw
        if isinstance(value, dict):
            return self._cut_dict(value)
        if isinstance(value, list | tuple):
            items: list[Any] = []
            for item in value:
                if self._left <= 0:
                    items.append(self._marked())
                    break
                items.append(self.cut(item))
            return items
        if isinstance(value, msgspec.Struct):
            return self._cut_dict({name: getattr(value, name) for name in value.__struct_fields__})
        # A date is text for whoever watches.
        return value.isoformat() if isinstance(value, datetime) else value

    def _cut_dict(self, value: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, item in value.items():
            if self._left <= 0:
                kept[MARK] = self._marked()
                break
            kept[self.cut(key)] = self.cut(item)
        return kept

    def _marked(self) -> str:
        self.was_used = True
        return MARK
