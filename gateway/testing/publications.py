"""Does what a driver publishes fit what it has declared?

`misfit` compares one body with the driver's ``publications``; a declared topic
may hold MQTT's ``+`` for a level that varies, as in ``pins/+``. `CheckedOutside`
is a `FakeOutside` that does so with everything a device tells, and keeps what
is wrong in ``problems``: to raise it would be the device's failure, not the
test's. Refused, as by the real house: what no letter can carry (`BodyError`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_origin

import msgspec

from gateway.device.driver import RESERVED
from gateway.errors import BodyError, GatewayError
from gateway.mail.body import checked
from gateway.mail.message import Message
from gateway.mail.topic import matches
from gateway.testing.fake_outside import FakeOutside

_GATEWAYS_OWN = RESERVED | {"moves", "claim"}


def misfit(declared: Mapping[str, Any], topic: str, body: Any) -> str:
    """Return what is wrong with publishing ``body`` on ``topic``, or empty text.

    >>> misfit({"volts": float}, "volts", 2.5), misfit({"volts": float}, "amps", 2.5)
    ('', "it published 'amps', which is not among its publications: volts")
    """
    kind = declared.get(topic)
    if kind is None:
        kind = next((each for pattern, each in declared.items() if matches(pattern, topic)), None)
    if kind is None:
        known = ", ".join(declared) or "none"
        return f"it published {topic!r}, which is not among its publications: {known}"
    try:
        sent, _ = checked(body)
    except BodyError as error:
        return f"what it published on {topic!r} cannot travel: {error}"
    if isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, msgspec.Struct):
        if type(body) is kind:
            sent = msgspec.to_builtins(sent, builtin_types=(bytes, datetime))
        else:
            return f"on {topic!r} it published {body!r:.200}, not a {kind.__name__}"
    try:
        msgspec.convert(sent, kind, builtin_types=(bytes, datetime))
    except msgspec.ValidationError as error:
        return f"on {topic!r} it published {body!r:.200}: {error}"
    return ""


class CheckedOutside(FakeOutside):
    """A `FakeOutside` that compares what one device tells with what its driver declares."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.problems: list[str] = []
        """What did not fit, in words."""
        self.refused: list[str] = []
        """What no letter can carry: refused, as the real house does."""
        self.declared: Mapping[str, Any] | None = None
        """The driver's publications; nothing is compared before they are known."""
        self._prefix = f"devices/{device}/"

    def publish(self, topic: str, body: object, *, retain: bool = False) -> None:
        """Compare the publication, and write it down."""
        try:
            checked(body)
        except BodyError as error:
            self.refused.append(f"{topic}: {error}")
            raise
        name = topic.removeprefix(self._prefix)
        if self.declared is not None and name.partition("/")[0] not in _GATEWAYS_OWN:
            problem = misfit(self.declared, name, body)
            if problem:
                self.problems.append(problem)
        super().publish(topic, body, retain=retain)

    def reply(self, message: Message, body: object) -> None:
        """See whether the answer can travel, and write it down."""
        try:
            checked(body)
        except BodyError as error:
            self.problems.append(f"what {message.subject} returned cannot travel: {error}")
        super().reply(message, body)

    def bounce(self, message: Message, error: GatewayError) -> None:
        """Write it down; an error without words is a problem."""
        if not str(error):
            self.problems.append(f"{message.subject} was refused without a word of why")
        super().bounce(message, error)
