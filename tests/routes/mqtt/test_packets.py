"""A PUBLISH and its PUBACK, held against what paho and the standard make of them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from routes.mqtt.login import Login
from routes.mqtt.packets import cut_puback, pack_length, pack_publish
from routes.mqtt.paho_client import Ear, make_client


@given(
    topic=st.text(min_size=1, max_size=200),
    payload=st.binary(max_size=300),
    qos=st.sampled_from([0, 1]),
    retain=st.booleans(),
    is_5=st.booleans(),
)
def test_a_publish_is_what_paho_would_have_sent(
    topic: str, payload: bytes, qos: int, retain: bool, is_5: bool
) -> None:
    client: Any = make_client("5" if is_5 else "3.1.1", Login("x"), None, logger=Ear())
    sent: list[bytes] = []
    client._packet_queue = lambda command, packet, *_, **__: sent.append(bytes(packet))
    properties = PahoProperties(PacketTypes.PUBLISH) if is_5 else None
    client._sock = object()  # it packs nothing without one
    client._send_publish(7, topic.encode(), payload, qos, retain, properties=properties)
    client._sock = None
    packed = pack_publish(
        topic.encode(),
        payload,
        qos=qos,
        retain=retain,
        identifier=7,
        properties=b"\0" if is_5 else b"",
    )
    assert packed == sent[0]


@given(number=st.integers(0, 268_435_455))
def test_a_length_takes_one_to_four_bytes(number: int) -> None:
    packed = pack_length(number)
    assert sum((byte & 127) << 7 * place for place, byte in enumerate(packed)) == number
    assert len(packed) <= 4
    assert [byte > 127 for byte in packed] == [True] * (len(packed) - 1) + [False]


@given(st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=125)), max_size=5))
def test_acknowledgements_are_cut_one_behind_the_other(answers: list[tuple[int, bytes]]) -> None:
    data = b"".join(
        bytes((0x40, 2 + len(rest))) + identifier.to_bytes(2, "big") + rest
        for identifier, rest in answers
    )
    at, found = 0, []
    while (cut := cut_puback(data, at)) is not None:
        found.append((cut.identifier, cut.rest))
        at = cut.end
    assert found == answers
    assert at == len(data)


@given(st.binary(max_size=10))
def test_whatever_else_comes_is_left_to_paho(data: bytes) -> None:
    cut = cut_puback(data, 0)
    if cut is not None:
        assert data[0] == 0x40
        assert 4 <= cut.end == 2 + data[1] <= len(data)
