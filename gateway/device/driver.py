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
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, ClassVar, Protocol, Self, get_origin, get_type_hints, is_typeddict

import msgspec

from gateway.device.heartbeat import Heartbeat
from gateway.device.identity import Identity
from gateway.framing.framing import Framing
from gateway.mail.signature import Command, commands_of, type_text, unit_of

RESERVED: frozenset[str] = frozenset({"state", "info", "events", "moves", "claim"})
"""First words of topics under ``devices/<name>/`` that the gateway publishes itself."""

_LEADING_WORD = re.compile(rb"[A-Za-z]+|.", re.DOTALL)


class DriverHost(Protocol):
    """What stands under a driver: its thread, or a stand-in for a test."""

    def ask(self, request: bytes, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        """Write ``request``, return the first frame from now on that ``answers`` accepts."""
        ...

    def listen(self, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        """Write nothing, return the first frame from now on that ``answers`` accepts."""
        ...

    def ask_many(
        self,
        requests: Sequence[bytes],
        answers: Callable[[bytes, bytes], bool],
        timeout: float,
        in_flight: int,
    ) -> list[bytes]:
        """Write ``requests``, ``in_flight`` at a time, and return their answers in order."""
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
    publications: ClassVar[Mapping[str, Any]] = {}
    """Topic to body type of everything that `publish` is used for.

    A type is a registered Struct whose fields bear units, or a plain one with
    its own: ``Annotated[float, Unit("V")]``. A level of the topic that varies
    is ``+``, as in ``pins/+``. The contract test holds the driver to it.
    """
    handshake_within: ClassVar[float] = 5.0
    """Seconds that a board gets to identify itself after its port was opened.

    A question that goes unanswered or is answered with nonsense is asked again
    until then, on the same open port: many boards restart when it is opened.
    """
    in_flight: ClassVar[int] = 1
    """Questions that `ask_many` has waiting at a time.

    Raise it where the board takes a question before it has answered the last.
    Safe with answers that name their question (a tag, an echo: see `answers`);
    without them only where the board answers in order and no answer is lost.
    """
    quarantine: ClassVar[float] = 0.0
    """Seconds after a question went unanswered before another one is written.

    For boards whose answers do not tell which question they are to: the longest
    that an answer has been seen to take, less the timeout. With 0 the question
    that follows may be given the late answer of the one before.
    """
    simulator: ClassVar[str] = ""
    """Where the board in Python is, as ``module:class``; empty where there is none.

    The class takes the path of a symbolic link to put its port behind, and has
    `start`, `plug`, `unplug` and `stop`. It is imported by who wants it. One that
    inherits from `SimulatedPort` or `SimulatedUsb` and names its ``make_board`` can
    also be hung, stepped and the like by ``gateway simulate``.
    """
    looks_like: ClassVar[Sequence[Mapping[str, str]]] = ()
    """What such a board usually is when it is plugged in: matches, as a device's ``match``.

    Only ``gateway devices`` reads them, to say for whom a stranger may be.
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
        self.settings: Any = self.typed(settings)
        self._host = host

    @classmethod
    def configured(cls, settings: Mapping[str, Any] | msgspec.Struct | None = None) -> type[Driver]:
        """Return the class that serves a device with these settings: unless overridden, this one.

        Override it where the heartbeat, the publications or the commands
        themselves are declared in the configuration. Whoever hosts a device
        asks once, and makes its drivers of what it gets.
        """
        return cls

    @classmethod
    def variant(cls, **attributes: Any) -> type[Self]:
        """Return this class with other ``attributes``: for `configured`."""
        own = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
        # A metaclass is asked, or the module would be that of ABCMeta.
        return types.new_class(
            cls.__name__, (cls,), exec_body=lambda space: space.update(own, **attributes)
        )

    @classmethod
    def typed(cls, settings: Mapping[str, Any] | msgspec.Struct | None) -> Any:
        """Return ``settings`` as `Settings`; `msgspec.ValidationError` where they do not fit."""
        if isinstance(settings, msgspec.Struct):
            return settings
        return msgspec.convert(settings or {}, cls.Settings)

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

    def tick(self, now: float) -> float | None:  # noqa: B027  a driver may have nothing to do
        """Do what is due at ``now`` without being asked; return when to be called next.

        Both are the clock's monotonic seconds; None: never again while the
        link is open. First called when the board is proven. Do one thing at a
        time, such as one question, and return a moment that has come already
        where there is more: mail and frames get their turn in between.

        A `GatewayError` other than `LinkLostError` is counted as nonsense, and
        the next call comes a second later.
        """

    def late(self, request: bytes, frame: bytes) -> None:
        """Handle the answer to a ``request`` that had been given up by then.

        Unless overridden it is one more frame for `received`. It is never
        taken for the answer to another question that does not accept it too.
        """
        self.received(frame)

    def answers(self, request: bytes, frame: bytes) -> bool:
        """Say whether ``frame`` answers ``request``; `ask` uses it without ``answer=``.

        Unless overridden: the frame begins with the request's leading letters
        (``ID`` of ``ID?``, ``V`` of ``V10,-10``), or else its first byte.
        """
        word = _LEADING_WORD.match(request)
        return word is not None and frame.startswith(word.group())

    # -- what an author uses -----------------------------------------------

    def ask(
        self,
        request: bytes,
        *,
        answer: bytes | Callable[[bytes], bool] | None = None,
        timeout: float = 1.0,
    ) -> bytes:
        """Write ``request`` and return the payload that answers it.

        The answer is the first frame from now on that begins with ``answer``
        (or that it accepts, where it is a function), or that `answers` accepts.
        Frames that come before it are kept, and reach `received` when this
        method's caller has returned.

        Raises `CallTimeoutError` after ``timeout`` seconds, and an answer that
        comes then is `late`; `LinkLostError` where the link breaks, also while
        waiting.
        """
        if answer is None:
            return self._host.ask(request, partial(self.answers, request), timeout)
        if isinstance(answer, bytes):
            return self._host.ask(request, lambda frame: frame.startswith(answer), timeout)
        return self._host.ask(request, answer, timeout)

    def listen(self, answers: Callable[[bytes], bool], *, timeout: float = 1.0) -> bytes:
        """Return the first frame from now on that ``answers`` accepts; nothing is written.

        For boards that talk by themselves. Otherwise as `ask`.
        """
        return self._host.listen(answers, timeout)

    def ask_many(self, requests: Sequence[bytes], *, timeout: float = 1.0) -> list[bytes]:
        """Write ``requests``, `in_flight` of them at a time; return the answers in that order.

        A frame is the answer to the first question waiting that `answers`
        accepts it for. Each question has ``timeout`` seconds from the last
        answer on. Raises what `ask` raises; the answers that had come are then
        lost, and those that were still to come are `late`.
        """
        return self._host.ask_many(requests, self.answers, timeout, self.in_flight)

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
                {
                    "topic": topic,
                    "body": type_text(body),
                    "unit": unit_of(body),
                    "description": _words(body),
                    "fields": _fields(body),
                }
                for topic, body in cls.publications.items()
            ],
        }


@cache
def _commands(driver: type[Driver]) -> Mapping[str, Command]:
    commands = commands_of(driver)
    for name in commands:
        if name in ("name", "settings") or hasattr(Driver, name):
            raise TypeError(f"command {name}: every driver has a {name} already; call it otherwise")
    return commands


def _words(body: Any) -> str:
    """Return what a published struct says of itself."""
    return inspect.cleandoc(body.__doc__ or "") if _is_struct(body) else ""


def _is_struct(body: Any) -> bool:
    # list[int] passes for a type, and is none that issubclass takes.
    return isinstance(body, type) and get_origin(body) is None and issubclass(body, msgspec.Struct)


def _fields(body: Any) -> dict[str, dict[str, str]]:
    """Return the fields of a published struct or typed dict; a scalar has none to tell."""
    if is_typeddict(body):
        hints = get_type_hints(body, include_extras=True)
        return {
            name: {"type": type_text(hint), "unit": unit_of(hint)} for name, hint in hints.items()
        }
    if not _is_struct(body):
        return {}
    return {
        each.name: {"type": type_text(each.type), "unit": unit_of(each.type)}
        for each in msgspec.structs.fields(body)
    }
