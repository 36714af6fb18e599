"""What every part of the route has that takes something from the broker."""

from __future__ import annotations

from typing import Protocol, TypedDict, Unpack

from routes.mqtt.incoming import Incoming
from routes.mqtt.properties import Properties


class OwnToo(str):
    """A topic filter under which one's own retained words are wanted back.

    They may be from an earlier life, under the same client id; others are
    subscribed to without the echo of what we publish.
    """

    __slots__ = ()


class Inlet(Protocol):
    """One kind of what comes in, told by its topic."""

    @property
    def subscription(self) -> str:
        """The topic filter that is subscribed to at the broker."""

    def hear(self, incoming: Incoming) -> None:
        """Judge what came; on the session's thread, which must not wait.

        Nothing that comes from outside may make this raise.
        """


class Options(TypedDict, total=False):
    """How a message is said; what is left out is as `Session.publish` has it."""

    qos: int
    retain: bool
    urgent: bool
    properties: Properties


class Outlet(Protocol):
    """Says something at the broker: `routes.mqtt.session.Session.publish`, where there is one."""

    def __call__(self, topic: str, payload: bytes, **options: Unpack[Options]) -> bool:
        """Queue one message; False where it was refused, or there is no session."""
