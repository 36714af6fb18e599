"""What came from the broker, as plain data, free of paho's types."""

from __future__ import annotations

import msgspec
from paho.mqtt.client import MQTTMessage

PAIRS = 32
"""User properties of one message that anybody here looks at."""


class Incoming(msgspec.Struct, frozen=True):
    """One message that the broker delivered.

    ``topic`` is empty where its bytes are no UTF-8. ``retained`` says that
    the broker kept it from before we subscribed, ``duplicate`` that it says
    it has sent it before. ``response_topic`` and ``correlation_data`` are
    MQTT 5's (sections 3.3.2.3.5 and 3.3.2.3.6), None where they were absent;
    so are ``expires_in`` (s), what the broker says is left of it, and the
    ``user`` properties, of which no more than `PAIRS` are kept.
    """

    topic: str
    payload: bytes
    retained: bool = False
    duplicate: bool = False
    response_topic: str | None = None
    correlation_data: bytes | None = None
    expires_in: int | None = None
    content_type: str = ""
    user: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, message: MQTTMessage) -> Incoming:
        """Copy what matters out of paho's ``message``."""
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        properties = message.properties
        return cls(
            topic=topic,
            payload=bytes(message.payload),
            retained=bool(message.retain),
            duplicate=bool(message.dup),
            response_topic=getattr(properties, "ResponseTopic", None),
            correlation_data=getattr(properties, "CorrelationData", None),
            expires_in=getattr(properties, "MessageExpiryInterval", None),
            content_type=getattr(properties, "ContentType", ""),
            user=tuple(getattr(properties, "UserProperty", ())[:PAIRS]),
        )
