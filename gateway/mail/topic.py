"""Topics and the patterns that subscribers give, with MQTT's ``+`` and ``#``.

``+`` stands for one level, ``#`` for the rest, also for none (MQTT 5.0,
section 4.7). Matching is pure; who subscribed to what is the directory's.

Refused: empty topics, wildcards in a topic, wildcards that do not fill their
level, ``#`` before the end, NUL, text that is no Unicode, more than 65,535 bytes
(`ValueError`), and what is no text (`TypeError`).
"""

from __future__ import annotations

LIMIT = 65_535
"""Bytes of UTF-8 that a topic may have (MQTT 5.0, section 1.5.4)."""


def check_topic(topic: str) -> None:
    """Raise `ValueError` where ``topic`` is none."""
    _check(topic)
    if "+" in topic or "#" in topic:
        raise ValueError(f"{topic!r} is no topic: + and # belong into patterns")


def check_pattern(pattern: str) -> None:
    """Raise `ValueError` where ``pattern`` is none."""
    _check(pattern)
    levels = pattern.split("/")
    for index, level in enumerate(levels):
        if ("+" in level or "#" in level) and len(level) > 1:
            raise ValueError(f"{pattern!r} is no pattern: + and # fill a whole level")
        if level == "#" and index < len(levels) - 1:
            raise ValueError(f"{pattern!r} is no pattern: # stands at the end")


def matches(pattern: str, topic: str) -> bool:
    """Tell whether ``topic`` falls under ``pattern``.

    >>> matches("devices/+/state", "devices/wheels/state")
    True
    >>> matches("devices/#", "devices")
    True
    >>> matches("#", "$SYS/uptime")
    False
    """
    if pattern == topic:
        return True
    wanted, given = pattern.split("/"), topic.split("/")
    # A leading $ marks what is not for everybody (MQTT 5.0, section 4.7.2).
    if given[0].startswith("$") and wanted[0] in ("+", "#"):
        return False
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(given) or level not in ("+", given[index]):
            return False
    return len(wanted) == len(given)


def _check(text: str) -> None:
    if type(text) is not str:
        raise TypeError(f"a topic is text (a plain str), not {text!r}")
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is no topic: it is empty or holds NUL")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{text[:40]!a} is no topic: it is no Unicode") from None
    if size > LIMIT:
        raise ValueError(f"{text[:40]!r}… is no topic: longer than {LIMIT} bytes")
