"""Why a broker said no, or goodbye: its code, and its own words where it had some."""

from __future__ import annotations

from typing import Any, NamedTuple

from paho.mqtt.reasoncodes import ReasonCode

QUOTA_EXCEEDED = 0x97
"""MQTT 5.0, section 3.4.2.1: not now; the same message may be welcome later."""

PACKET_TOO_LARGE = 0x95

_LONGEST = 200
"""Characters of a broker's own words that anybody is shown."""


class Reason(NamedTuple):
    """An MQTT reason code (MQTT 5.0, section 2.4), its name, and what the broker said to it."""

    code: int
    name: str
    words: str = ""

    @classmethod
    def of(cls, code: ReasonCode, properties: Any = None) -> Reason:
        """Copy what matters out of paho's objects."""
        said = [getattr(properties, name, "") for name in ("ReasonString", "ServerReference")]
        words = " ".join(text for text in said if text)[:_LONGEST]
        return cls(code.value, code.getName(), "".join(filter(str.isprintable, words)))

    @property
    def quote(self) -> str:
        """The broker's own words in brackets, to be put behind a sentence."""
        return f" (it says: {self.words})" if self.words else ""
