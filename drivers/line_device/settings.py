"""What is declared for a board that speaks lines: everything.

Patterns are Python's regular expressions, searched in each line; the groups that
they name are the values. Refused when it is loaded, by the key: a pattern that
is none, a template that names what is no parameter (or leaves one out), a value
without its group, a command called like something that every driver has.
"""

from __future__ import annotations

import keyword
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from drivers.line_device.values import SAMPLES, Kind, Value, fields_of, write
from gateway.device import Driver

Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\r\n]*\Z")]
Seconds = Annotated[float, Meta(gt=0, le=3600, description="seconds")]
Topic = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_-]{1,63}\Z", description="letters, digits, '-' and '_'")
]
_TAKEN = frozenset({"name", "settings"})


class LineField(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One value that a line brings: the group of this name, as ``type``, times ``scale``."""

    type: Kind = "float"
    unit: str = ""
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.scale != 1.0 and self.type not in ("int", "float"):
            raise ValueError(f"scale: a {self.type} is not scaled")


class LineParameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One parameter of a command. ``min`` and ``max`` are for numbers, ``choices`` for text.

    With a ``default`` it may be left out. A bool is written as ``words``: false, then true.
    """

    type: Kind = "float"
    unit: str = ""
    min: float | None = None
    max: float | None = None
    choices: list[str] = []
    default: bool | int | float | str | None = None
    words: tuple[str, str] = ("0", "1")

    def __post_init__(self) -> None:
        if (self.min, self.max) != (None, None) and self.type not in ("int", "float"):
            raise ValueError(f"min: bounds are for numbers, and this is a {self.type}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min: {self.min:g} is above max, {self.max:g}")
        if self.choices and self.type != "str":
            raise ValueError(f"choices: they are for text, and this is a {self.type}")
        if self.default is not None:
            try:
                msgspec.convert(self.default, self.annotation)
            except msgspec.ValidationError as error:
                raise ValueError(f"default: {error}") from None

    @property
    def annotation(self) -> object:
        """Its type with its bounds, as a command's signature has it."""
        if self.choices:
            return Literal[tuple(self.choices)]
        if self.type == "str":
            return Annotated[str, Meta(max_length=200)]
        if self.type == "bool":
            return bool
        low, high = self.min, self.max
        if self.type == "int":
            low = None if low is None else -int(-low // 1)
            high = None if high is None else int(high // 1)
            return Annotated[int, Meta(ge=low, le=high)]
        return Annotated[float, Meta(ge=low, le=high)]


class LineCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``write`` is the line, with ``{parameter}`` or ``{parameter:.1f}`` in it.

    With an ``answer`` its line is waited for, ``timeout`` seconds; what it ``returns``
    is the group ``value`` of that. A line like ``error`` is a refusal, in the words
    of its group ``reason``.
    """

    write: Text
    description: str = ""
    parameters: dict[str, LineParameter] = {}
    answer: str = ""
    error: str = ""
    timeout: Seconds = 1.0
    returns: LineField | None = None

    def __post_init__(self) -> None:
        named = set(fields_of(self.write))
        for name in self.parameters:
            if not name.isidentifier() or keyword.iskeyword(name) or name == "self":
                raise ValueError(f"parameters: {name!r} cannot be a parameter's name")
        if named != set(self.parameters):
            odd = ", ".join(sorted(named ^ set(self.parameters)))
            raise ValueError(f"write: the line and the parameters differ in {odd}")
        try:
            samples: dict[str, Value] = {n: SAMPLES[p.type] for n, p in self.parameters.items()}
            write(self.write, samples, ("0", "1"))
        except ValueError as error:
            raise ValueError(f"write: {error}") from None
        groups = pattern("answer", self.answer).groupindex
        pattern("error", self.error)
        if self.error and not self.answer:
            raise ValueError("error: it is looked for where an answer is waited for; write one")
        if self.returns is not None and "value" not in groups:
            raise ValueError("returns: the answer has no group (?P<value>…)")


class LinePublication(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Lines like ``match`` are published: the group ``value`` alone, or each of ``fields``."""

    match: str
    fields: Annotated[dict[str, LineField], Meta(min_length=1)]
    retain: bool = False

    def __post_init__(self) -> None:
        if not self.match:
            raise ValueError("match: every line is like an empty pattern")
        groups = pattern("match", self.match).groupindex
        for name in self.fields:
            if name not in groups:
                raise ValueError(f"fields: the pattern has no group (?P<{name}>…)")


class LinePoll(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``ask`` is written every so many seconds; the answer is published like any other line."""

    ask: Text
    every: Annotated[float, Meta(ge=0.01, le=86400, description="seconds")]


class LineHandshake(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A line like ``answer`` proves the board; where there is an ``ask``, as the answer to that.

    Its groups ``model``, ``firmware`` and ``serial_number`` say who it is.
    """

    answer: str
    ask: Text | None = None
    timeout: Seconds = 1.0
    within: Seconds = 5.0

    def __post_init__(self) -> None:
        if not self.answer:
            raise ValueError("answer: every line is like an empty pattern, and proves nothing")
        for name in pattern("answer", self.answer).groupindex:
            if name not in ("model", "firmware", "serial_number"):
                raise ValueError(f"answer: {name} is none of model, firmware, serial_number")


class LineHeartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``ping`` is written ``every`` so many seconds, ``pong`` is what its answer begins with."""

    patience: Seconds
    ping: Text | None = None
    every: Seconds | None = None
    pong: Text | None = None

    def __post_init__(self) -> None:
        if (self.ping is None) != (self.every is None):
            raise ValueError("every: a ping needs to know how often, and nothing else does")
        if self.ping is None and self.pong is not None:
            raise ValueError("pong: it is the answer to a ping, and there is none")


class LineDeviceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole board. ``ending`` is what is written; all are read. ``checksum``: ``xor`` is
    ``*XX`` before the ending. ``limit``: bytes of the longest line.
    """

    handshake: LineHandshake
    ending: Literal["\n", "\r\n", "\r"] = "\n"
    checksum: Literal["none", "xor"] = "none"
    limit: Annotated[int, Meta(ge=1, le=4096)] = 256
    heartbeat: LineHeartbeat | None = None
    commands: dict[str, LineCommand] = {}
    publications: dict[Topic, LinePublication] = {}
    polls: dict[str, LinePoll] = {}

    def __post_init__(self) -> None:
        for name in self.commands:
            if not name.isidentifier() or name.startswith("_") or keyword.iskeyword(name):
                raise ValueError(f"commands: {name!r} cannot be a command's name")
            if name in _TAKEN or hasattr(Driver, name):
                raise ValueError(f"commands: every driver has a {name} already; call it otherwise")
        for topic in self.publications:
            if topic in ("state", "info", "events", "moves", "claim"):
                raise ValueError(f"publications: {topic} is published by the gateway itself")


def pattern(key: str, text: str) -> re.Pattern[str]:
    """Return ``text`` as a pattern; `ValueError` with the ``key`` where it is none."""
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{key}: {text!r} is no regular expression: {error}") from None
