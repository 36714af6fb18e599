"""What goes along with a message under MQTT 5, and has no place under 3.1.1.

Pure. Packed here (MQTT 5.0, section 2.2.2), since paho takes 80 µs for four
properties. Refused with `ValueError`, before anything is queued: what the
protocol cannot carry.
"""

from __future__ import annotations

import math
import struct

import msgspec

from gateway.mail.message import Message
from gateway.mail.topic import LIMIT, check_topic
from routes.mqtt.packets import pack_length

MESSAGE_ID, THREAD_ID = "message_id", "thread_id"
"""The user properties by which a consumer tells a repeat, and which letters belong together."""

JSON = "application/json"

_LONGEST = 0xFFFF_FFFF
"""Seconds of the longest expiry that can be said, some 136 years."""


class Properties(msgspec.Struct, frozen=True, kw_only=True):
    """The properties of one outgoing message; none unless said.

    ``expires_in`` (s) counts from when the message is published: one that is
    still here by then is not sent, under 3.1.1 either, and the broker is told
    what is left of it. ``user`` are name and value pairs in their order.

    >>> Properties(response_topic="answers/#")
    Traceback (most recent call last):
    ValueError: 'answers/#' is no topic: + and # belong into patterns
    """

    expires_in: float | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    content_type: str = ""
    user: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.expires_in is not None and math.isnan(self.expires_in):
            raise ValueError("a message cannot expire in nan seconds")
        if self.response_topic is not None:
            check_topic(self.response_topic)
            self.response_topic.encode()
        if len(self.correlation_data or b"") > LIMIT:
            raise ValueError(f"correlation data has more than {LIMIT} bytes")
        for text in (self.content_type, *(text for pair in self.user for text in pair)):
            # Brokers may hang up on control characters and the like (section 1.5.4), and do.
            if not text.isprintable() or len(text.encode()) > LIMIT:
                raise ValueError(
                    f"{text[:40]!r} is no property: it cannot be printed, or has over {LIMIT} bytes"
                )

    @property
    def size(self) -> int:
        """What it weighs: about the bytes that it takes on the wire."""
        if self is NONE:
            return 0
        texts = len(self.content_type) + len(self.response_topic or "")
        pairs = sum(len(name) + len(value) + 5 for name, value in self.user)
        return texts + pairs + len(self.correlation_data or b"")

    def pack(self, left: float | None) -> bytes:
        """Return the bytes of section 2.2.2; ``left`` are the seconds until it expires."""
        packed = b""
        if left is not None:
            # A broker that reads 0 drops the message: what has a moment left gets one second.
            packed += struct.pack(
                "!BI", 0x02, min(max(1, math.ceil(min(left, _LONGEST))), _LONGEST)
            )
        if self.content_type:
            packed += b"\x03" + _text(self.content_type)
        if self.response_topic is not None:
            packed += b"\x08" + _text(self.response_topic)
        if self.correlation_data is not None:
            packed += b"\x09" + _binary(self.correlation_data)
        for name, value in self.user:
            packed += b"\x26" + _text(name) + _text(value)
        return pack_length(len(packed)) + packed


NONE = Properties()


def of_message(message: Message, now: float) -> Properties:
    """Return the properties of a letter of ours whose body goes out as JSON.

    ``now`` is in seconds of the monotonic clock, like the letter's own expiry.
    """
    return Properties(
        expires_in=None if message.expiry is None else message.expiry - now,
        content_type=JSON,
        user=((MESSAGE_ID, message.message_id), (THREAD_ID, message.thread_id)),
    )


def _text(text: str) -> bytes:
    return _binary(text.encode())


def _binary(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data
