"""What came from the broker, as plain data, free of paho's types."""

from __future__ import annotations

import msgspec
from paho.mqtt.client import MQTTMessage


class Incoming(msgspec.Struct, frozen=True):
    """One message that the broker delivered.

    ``topic`` is empty where its bytes are no UTF-8. ``retained`` says that
    the broker kept it from before we subscribed, ``duplicate`` that it says
    it has sent it before. ``response_topic`` and ``correlation_data`` are
    MQTT 5's (sections 3.3.2.3.5 and 3.3.2.3.6), None where they were absent;
    ``user_properties`` are pairs of names and values (3.3.2.3.7).
    """

    topic: str
    payload: bytes
    retained: bool = False
    duplicate: bool = False
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = ()

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
            user_properties=tuple(getattr(properties, "UserProperty", ())),
        )
