"""From pressed keys to scanned texts: where one begins, where it ends, what it may be.

A scanner types a code and then a key that ends it. A text that is too long, that holds
a key which writes nothing, or that lacks the prefix the scanner was told to put before
each, is no scan: somebody typed on a keyboard, or the scanner is set up otherwise. It
is refused (`ProtocolError`) once it ends, and never published in part. Pure.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from drivers.barcode_scanner.layout import character
from drivers.barcode_scanner.reports import Press
from gateway.device import Unit
from gateway.errors import ProtocolError
from gateway.mail.body import register


@register
class Scan(msgspec.Struct, frozen=True):
    """One code; ``text`` is what it says, without prefix and end."""

    text: str
    length: Annotated[int, Unit("characters")]


class Reader:
    """Puts the keys of one scanner together.

    ``ends`` are usage numbers of keys; ``limit`` is in characters, prefix included.
    """

    def __init__(self, prefix: str, ends: frozenset[int], limit: int) -> None:
        self._prefix = prefix
        self._ends = ends
        self._limit = limit
        self._text = ""
        self._length = 0
        self._strange = 0

    def press(self, key: Press) -> Scan | None:
        """Take one key; return the scan that it ends, or raise `ProtocolError`."""
        if key.usage in self._ends and not key.modifiers:
            return self._end()
        written = character(key.usage, key.modifiers)
        if written is None:
            self._strange = self._strange or key.usage
        else:
            self._length += 1
            if self._length <= self._limit:
                self._text += written
        return None

    def _end(self) -> Scan | None:
        text, length, strange = self._text, self._length, self._strange
        self._text, self._length, self._strange = "", 0, 0
        if strange:
            raise ProtocolError(
                f"{text[:40]!r} came with a key that writes nothing ({strange:#04x}): "
                "set the scanner to the US layout"
            )
        if length > self._limit:
            raise ProtocolError(
                f"{length} characters before an end, beginning {text[:40]!r}; the limit is "
                f"{self._limit}: raise it, or have the scanner end each code"
            )
        if not text.startswith(self._prefix):
            raise ProtocolError(f"{text[:40]!r} does not begin with {self._prefix!r}")
        text = text.removeprefix(self._prefix)
        # An end by itself: two suffixes are set, or somebody leans on the key.
        return Scan(text, len(text)) if text else None
