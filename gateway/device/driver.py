"""The `Driver`: what the author of a device writes, and the `DriverHost` it stands on.

A driver is one typed class: which framing, which handshake, which heartbeat,
what to do with a frame, and commands as annotated methods. It owns no thread,
no descriptor and no clock; its host calls it, always from one thread and never
while another of its methods runs. One driver object lives as long as one
opening of the link: what it remembers is forgotten when the cable is pulled.

What a driver raises says whose fault it is. A `GatewayError` costs the
exchange: the sender of the command gets it as a bounce (`RefusedError` is the
one for "I will not": its text reaches a person). `LinkLostError` costs the
link. Anything else is a bug: the device fails with that cause, is closed, and
tried again later.

Refused: use from another thread (`RuntimeError`), publishing under a topic
that is the gateway's own (`ValueError`), a payload that the framing cannot
carry (`ProtocolError`, as it may come from a letter).
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, ClassVar, Protocol

import msgspec

from gateway.device.command import Command, commands_of, type_text, unit_of
from gateway.device.heartbeat import Heartbeat
from gateway.device.identity import Identity
from gateway.framing.framing import Framing

RESERVED: frozenset[str] = frozenset({"state", "info", "events", "moves", "claim"})
"""First words of topics under ``devices/<name>/`` that the gateway publishes itself."""

_LEADING_WORD = re.compile(rb"[A-Za-z]+|.", re.DOTALL)


class DriverHost(Protocol):
    """What stands under a driver: its thread, or a stand-in for a test."""

    def ask(self, request: bytes, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        """Write ``request``, return the first frame from now on that ``answers`` accepts."""
        ...

    def write(self, payload: bytes) -> None:
        """Write one frame."""
        ...

    def publish(self, topic: str, body: object, *, retain: bool = False) -> None:
        """Publish under ``devices/<name>/``."""
        ...

    def fault(self, cause: str) -> None:
        """Tell the house that the board reports a fault."""
        ...


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of a driver that has none."""


class Driver(ABC):
    """The code of one device."""

    framing: ClassVar[Framing]
    """How the board marks the end of a frame."""
    heartbeat: ClassVar[Heartbeat | None] = None
    """How to see that the board is alive; without one it is never called stale."""
    publications: ClassVar[Mapping[str, type]] = {}
    """Topic to body type of everything that `publish` is used for."""
    handshake_within: ClassVar[float] = 5.0
    """Seconds that a board gets to identify itself after its port was opened.

    A question that goes unanswered or is answered with nonsense is asked again
    until then, on the same open port: many boards restart when it is opened.
    """
    simulator: ClassVar[str] = ""
    """Where the board in Python is, as ``module:class``; empty where there is none.

    The class takes the path of a symbolic link to put its port behind, and has
    `start`, `plug`, `unplug` and `stop`. It is imported by who wants it.
    """
    Settings: ClassVar[type[msgspec.Struct]] = NoSettings
    """Types ``[devices.<name>.settings]`` of the configuration."""

    def __init__(
        self,
        name: str,
        host: DriverHost,
        settings: Mapping[str, Any] | msgspec.Struct | None = None,
    ) -> None:
        """Stand on ``host``; nothing is open yet.

        ``settings`` that are no struct are read as `Settings`
        (`msgspec.ValidationError`, a ValueError, where they do not fit).
        """
        self.name = name
        self.settings: Any = (
            settings
            if isinstance(settings, msgspec.Struct)
            else msgspec.convert(settings or {}, self.Settings)
        )
        self._host = host

    # -- what an author writes ---------------------------------------------

    @abstractmethod
    def handshake(self) -> Identity:
        """Find out who is there.

        `CallTimeoutError` and `ProtocolError` have it called again until
        `handshake_within`; any other error, such as `RefusedError` for a
        board of another kind, fails the device at once.
        """

    def received(self, frame: bytes) -> None:  # noqa: B027  a driver may have nothing to hear
        """Handle a frame that answers no question; called for one at a time."""

    def answers(self, request: bytes, frame: bytes) -> bool:
        """Say whether ``frame`` answers ``request``; `ask` uses it without ``answer=``.

        Unless overridden: the frame begins with the request's leading letters
        (``ID`` of ``ID?``, ``V`` of ``V10,-10``), or else its first byte.
        """
        word = _LEADING_WORD.match(request)
        return word is not None and frame.startswith(word.group())

    # -- what an author uses -----------------------------------------------

    def ask(self, request: bytes, *, answer: bytes | None = None, timeout: float = 1.0) -> bytes:
        """Write ``request`` and return the payload that answers it.

        The answer is the first frame from now on that begins with ``answer``,
        or that `answers` accepts. Frames that come before it are kept, and
        reach `received` when this method's caller has returned.

        Raises `CallTimeoutError` after ``timeout`` seconds and `LinkLostError`
        where the link breaks, also while waiting.
        """
        if answer is not None:
            return self._host.ask(request, lambda frame: frame.startswith(answer), timeout)
        return self._host.ask(request, partial(self.answers, request), timeout)

    def write(self, payload: bytes) -> None:
        """Write one frame; `LinkLostError`, or `ProtocolError` where no frame can carry it."""
        self._host.write(payload)

    def publish(self, topic: str, body: object, *, retain: bool = False) -> None:
        """Publish ``body`` as ``devices/<name>/<topic>``; `ValueError` for the gateway's own."""
        if topic.partition("/")[0] in RESERVED:
            raise ValueError(f"devices/{self.name}/{topic} is published by the gateway itself")
        self._host.publish(topic, body, retain=retain)

    def fault(self, cause: str) -> None:
        """Report a fault of the board, in words; the link stays as it is."""
        self._host.fault(cause)

    # -- what the gateway reads --------------------------------------------

    @classmethod
    def commands(cls) -> Mapping[str, Command]:
        """Return the commands by name; `TypeError` where one cannot be described."""
        return _commands(cls)

    @classmethod
    def describe(cls, identity: Identity | None) -> dict[str, Any]:
        """Return the body of ``devices/<name>/info``: data only, and all that others know."""
        return {
            "driver": cls.__name__,
            "description": inspect.getdoc(cls) or "",
            "identity": None if identity is None else msgspec.to_builtins(identity),
            "commands": {name: each.describe() for name, each in cls.commands().items()},
            "publications": [
                {"topic": topic, "body": type_text(body), "fields": _fields(body)}
                for topic, body in cls.publications.items()
            ],
        }


@cache
def _commands(driver: type[Driver]) -> Mapping[str, Command]:
    return commands_of(driver)


def _fields(body: type) -> dict[str, dict[str, str]]:
    """Return the fields of a published struct; a scalar or a dict has none to tell."""
    if not isinstance(body, type) or not issubclass(body, msgspec.Struct):
        return {}
    return {
        each.name: {"type": type_text(each.type), "unit": unit_of(each.type)}
        for each in msgspec.structs.fields(body)
    }
