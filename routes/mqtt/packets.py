"""The two packets that telemetry is made of: a PUBLISH out, and its PUBACK back.

paho takes as long for one of them as all the rest of a message's way takes together.
These are packed and cut here (MQTT 3.1.1 and 5.0, sections 3.3 and 3.4); everything
else is paho's.

Pure. Refuses nothing: what cannot be cut here is left to paho, which knows better.
"""

from __future__ import annotations

from typing import NamedTuple

PUBLISH, PUBACK = 0x30, 0x40


def pack_publish(
    topic: bytes,
    payload: bytes,
    *,
    qos: int,
    retain: bool,
    identifier: int,
    properties: bytes,
) -> bytes:
    """Return a PUBLISH; ``properties`` are packed, with their length, and empty under 3.1.1.

    >>> pack_publish(b"a", b"hi", qos=1, retain=False, identifier=7, properties=b"").hex(" ")
    '32 07 00 01 61 00 07 68 69'
    """
    numbered = identifier.to_bytes(2, "big") if qos else b""
    size = 2 + len(topic) + len(numbered) + len(properties) + len(payload)
    return b"".join(
        (
            bytes((PUBLISH | qos << 1 | retain,)),
            pack_length(size),
            len(topic).to_bytes(2, "big"),
            topic,
            numbered,
            properties,
            payload,
        )
    )


def pack_length(number: int) -> bytes:
    """Return a variable byte integer (MQTT 5.0, section 1.5.5).

    >>> pack_length(127).hex(), pack_length(128).hex()
    ('7f', '8001')
    """
    packed = bytearray()
    while number > 127:
        packed.append(number & 127 | 128)
        number >>= 7
    packed.append(number)
    return bytes(packed)


class Acknowledgement(NamedTuple):
    """A PUBACK: for which PUBLISH, what follows its identifier, and where it ends."""

    identifier: int
    rest: bytes
    end: int


def cut_puback(data: bytes, at: int) -> Acknowledgement | None:
    """Return the PUBACK that begins at ``at``; None where there is another packet, or half of one.

    One with a long explanation counts as another packet.

    >>> cut_puback(bytes.fromhex("4002000740"), 0)
    Acknowledgement(identifier=7, rest=b'', end=4)
    """
    if len(data) - at < 4 or data[at] != PUBACK or not 2 <= data[at + 1] <= 127:
        return None
    end = at + 2 + data[at + 1]
    if end > len(data):
        return None
    return Acknowledgement(data[at + 2] << 8 | data[at + 3], data[at + 4 : end], end)
