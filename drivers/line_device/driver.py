"""The driver of a board that speaks lines, whatever it says: the configuration tells.

From the declaration a class is made with the commands, publications, heartbeat and
framing of that one board (`LineDevice.configured`); to the rest of the house it is a
driver like any other.

Refused, in words: arguments out of bounds, and what the board itself refuses
by a line like the command's ``error``. Lines that no pattern knows are let go; those
whose groups are not what they are declared to be are a `ProtocolError`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Annotated, Any, ClassVar, TypedDict

import msgspec

from drivers.line_device.framing import DeviceLines
from drivers.line_device.settings import (
    LineCommand,
    LineDeviceSettings,
    LineField,
    LinePublication,
    pattern,
)
from drivers.line_device.values import TYPES, Value, read, write
from gateway.device import Driver, DriverHost, Heartbeat, Identity, Unit, command
from gateway.errors import ProtocolError, RefusedError
from gateway.framing import Framing

log = logging.getLogger(__name__)


class LineDevice(Driver):
    """A board that speaks lines, declared wholly in the configuration."""

    framing: ClassVar[Framing] = DeviceLines()
    simulator: ClassVar[str] = "drivers.line_device.simulator:SimulatedPump"
    Settings: ClassVar[type[msgspec.Struct]] = LineDeviceSettings

    @classmethod
    def configured(cls, settings: Mapping[str, Any] | msgspec.Struct | None = None) -> type[Driver]:
        """Return the class of the board that is declared."""
        typed: LineDeviceSettings = cls.typed(settings)
        checked = typed.checksum == "xor"
        beat = typed.heartbeat
        return cls.variant(
            framing=DeviceLines(typed.ending, checked=checked, limit=typed.limit),
            heartbeat=None
            if beat is None
            else Heartbeat(
                patience=beat.patience,
                **({} if beat.every is None else {"every": beat.every}),
                ping=None if beat.ping is None else beat.ping.encode(),
                pong=None if beat.pong is None else beat.pong.encode(),
            ),
            handshake_within=typed.handshake.within,
            publications={topic: _body_of(each) for topic, each in typed.publications.items()},
            **{name: _method(name, each) for name, each in typed.commands.items()},
        )

    def __init__(
        self,
        name: str,
        host: DriverHost,
        settings: Mapping[str, Any] | msgspec.Struct | None = None,
    ) -> None:
        super().__init__(name, host, settings)
        declared: LineDeviceSettings = self.settings
        self._known = [
            (topic, pattern("match", each.match), each)
            for topic, each in declared.publications.items()
        ]
        self._polls = list(declared.polls.values())
        self._due: list[float] = []

    def handshake(self) -> Identity:
        """Ask as it is declared, or listen, for the line that proves the board."""
        declared = self.settings.handshake
        fits = _like(pattern("answer", declared.answer))
        if declared.ask is None:
            line = self.listen(fits, timeout=declared.timeout)
        else:
            line = self.ask(declared.ask.encode(), answer=fits, timeout=declared.timeout)
        found = pattern("answer", declared.answer).search(_text(line))
        said = {} if found is None else {k: v for k, v in found.groupdict().items() if v}
        return Identity(**{"firmware": "unknown", **said})

    def received(self, frame: bytes) -> None:
        """Publish a line for every pattern that it is like."""
        line = _text(frame)
        for topic, known, declared in self._known:
            found = known.search(line)
            if found is not None:
                self.publish(topic, _body(found, declared), retain=declared.retain)

    def tick(self, now: float) -> float | None:
        """Write the question that is due; its answer is published when it comes."""
        if not self._polls:
            return None
        if not self._due:
            self._due = [now] * len(self._polls)
        due = min(self._due)
        if due > now:
            return due
        number = self._due.index(due)
        following = due + self._polls[number].every
        self._due[number] = following if following > now else now + self._polls[number].every
        self.write(self._polls[number].ask.encode())
        return min(self._due)

    def _carry_out(self, name: str, declared: LineCommand, given: dict[str, Value]) -> Value | None:
        line = self._line(name, declared, given)
        if not declared.answer:
            self.write(line)
            return None
        answer, error = pattern("answer", declared.answer), pattern("error", declared.error)
        fits = _like(answer, *([error] if declared.error else []))
        said = _text(self.ask(line, answer=fits, timeout=declared.timeout))
        refused = error.search(said) if declared.error else None
        if refused is not None:
            reason = refused.groupdict().get("reason")
            raise RefusedError(f"the board refuses {_text(line)!r}: {reason or said}")
        found = answer.search(said)
        if declared.returns is None or found is None:
            return None
        return _value("value", found, declared.returns)

    def _line(self, name: str, declared: LineCommand, given: dict[str, Value]) -> bytes:
        """Return the line of a command; `RefusedError` where it would be more than one."""
        texts: dict[str, Value] = {}
        for parameter, each in declared.parameters.items():
            default: Value = "" if each.default is None else each.default
            value = given.get(parameter, default)
            texts[parameter] = each.words[value] if isinstance(value, bool) else value
        line = write(declared.write, texts, ("0", "1")).encode(errors="replace")
        try:
            self.framing.encode(line)
        except ValueError as error:
            raise RefusedError(f"{name} makes no line of that: {error}") from None
        return line


def _method(name: str, declared: LineCommand) -> Callable[..., Any]:
    """Return the method of a command, with the signature that is declared."""

    def method(self: LineDevice, **arguments: Value) -> Value | None:
        return self._carry_out(name, declared, arguments)

    annotations: dict[str, Any] = {
        parameter: Annotated[each.annotation, Unit(each.unit)] if each.unit else each.annotation
        for parameter, each in declared.parameters.items()
    }
    parameters = [
        Parameter(
            each,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if declared.parameters[each].default is None else None,
        )
        for each in annotations
    ]
    method.__name__ = method.__qualname__ = name
    method.__doc__ = declared.description or f"Write {declared.write!r}."
    method.__annotations__ = {
        **annotations,
        "return": None if declared.returns is None else _annotation(declared.returns),
    }
    signature = Signature([Parameter("self", Parameter.POSITIONAL_ONLY), *parameters])
    method.__signature__ = signature  # type: ignore[attr-defined]
    return command(method)


def _annotation(declared: LineField) -> Any:
    kind = TYPES[declared.type]
    return Annotated[kind, Unit(declared.unit)] if declared.unit else kind


def _body_of(declared: LinePublication) -> Any:
    """Return the type of what is published."""
    fields = {name: _annotation(each) for name, each in declared.fields.items()}
    if list(fields) == ["value"]:
        return fields["value"]
    return TypedDict("dict", fields)  # type: ignore[operator]


def _body(found: re.Match[str], declared: LinePublication) -> Any:
    values = {name: _value(name, found, each) for name, each in declared.fields.items()}
    return values["value"] if list(values) == ["value"] else values


def _value(name: str, found: re.Match[str], declared: LineField) -> Value:
    text = found.group(name)
    if text is None:
        raise ProtocolError(f"{found.string[:60]!r} has no {name}")
    return read(declared.type, text, declared.scale)


def _like(*patterns: re.Pattern[str]) -> Callable[[bytes], bool]:
    return lambda frame: any(each.search(_text(frame)) for each in patterns)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")
