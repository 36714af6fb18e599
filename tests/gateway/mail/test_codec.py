"""Letters as bytes: what goes in comes out, and garbage is only ever garbage."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import BodyError, ProtocolError
from gateway.mail.body import checked, register
from gateway.mail.codec import decode, decode_body, encode, from_json, to_json, to_json_line
from gateway.mail.message import NORMAL, URGENT, Message

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.binary(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts.filter(lambda key: key != "$bytes"), inner, max_size=4)
    ),
    max_leaves=10,
)
letters = st.builds(
    Message,
    message_id=texts,
    thread_id=texts,
    thread_index=st.integers(0, 2**40),
    time=st.floats(0, 2e9),
    sender=texts,
    recipient=texts,
    subject=texts,
    body=plain,
    priority=st.integers(0, 2),
    expiry=st.none() | st.floats(0, 2e9),
    in_reply_to=st.none() | texts,
    kind=st.sampled_from(["letter", "reply", "bounce", "publication", "control"]),
    incarnation=st.integers(0, 2**31),
    sender_incarnation=st.integers(0, 2**31),
    receipt=st.booleans(),
    retain=st.booleans(),
    route=texts,
    headers=st.none() | st.dictionaries(texts, texts, max_size=3),
)


@register
class CodecTestReading(msgspec.Struct, frozen=True):
    """A body with a type of its own."""

    volts: float
    raw: bytes = b""


def letter(body: Any = None, **fields: Any) -> Message:
    return Message("1", "1", 1, 0.0, "main", "worker", "hello", body, **fields)


@given(letters)
def test_every_letter_survives_the_wire(message: Message) -> None:
    assert decode(encode(message)) == message


@given(letters)
def test_a_body_may_travel_beside_its_letter(message: Message) -> None:
    assert decode_body(encode(message.body), message.body_type) == message.body


def test_a_struct_is_restored_on_both_ways() -> None:
    reading = CodecTestReading(3.3, b"\x00")
    message = letter(reading, body_type="CodecTestReading")
    assert decode(encode(message)).body == reading
    assert decode_body(encode(reading), "CodecTestReading") == reading


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xdc\x00\x13" + b"\xc0" * 19)
@example(b"\x91" * 3000)
@example(encode(letter())[:-1])
@example(encode(letter(CodecTestReading(1.0)))[:-4])
@example(encode(letter({"volts": "high"}, body_type="CodecTestReading")))
def test_garbage_is_a_protocol_error_and_nothing_else(data: bytes) -> None:
    try:
        decode(data)
    except ProtocolError:
        return


@given(letters, st.data())
def test_a_damaged_letter_is_a_letter_or_a_protocol_error(message: Message, data: Any) -> None:
    packed = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    packed = packed[: data.draw(st.integers(0, len(packed)))]
    for read in (decode, partial(decode_body, body_type=message.body_type)):
        try:
            read(bytes(packed))
        except ProtocolError:
            continue


# JSON


@given(plain)
def test_every_body_survives_json(body: Any) -> None:
    data = to_json(body)
    json.loads(data)
    assert from_json(data) == body


@given(st.text(max_size=60) | st.binary(max_size=60))
@example('{"$bytes":"é"}')
@example('{"$bytes":"abc"}')
@example('"\\ud800"')
@example("NaN")
@example("Infinity")
@example("1e400")
@example(str(2**63))
@example("1" + "0" * 400)
@example("")
@example(b"\xff")
def test_wrong_json_is_a_body_error_and_nothing_else(data: str | bytes) -> None:
    try:
        body = from_json(data)
    except BodyError:
        return
    assert checked(body)[0] == body


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("data", ["[" * 600 + "]" * 600, "[" * 990 + "]" * 990, "[" * 100_000])
def test_json_that_is_nested_without_end_is_a_body_error(data: str) -> None:
    with pytest.raises(BodyError, match=r"nested|no JSON"):
        from_json(data)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_nan(number: float) -> None:
    for body in (number, [number], {"a": [number]}, CodecTestReading(number)):
        with pytest.raises(BodyError, match="JSON has no such number"):
            to_json(body)


def test_json_shows_times_and_bytes_in_a_readable_way() -> None:
    body = {"at": datetime(2026, 1, 2, tzinfo=UTC), "reading": b"\x00\xff"}
    assert to_json(body) == b'{"at":"2026-01-02T00:00:00Z","reading":{"$bytes":"AP8="}}'
    assert to_json(CodecTestReading(1.5, b"A")) == b'{"volts":1.5,"raw":{"$bytes":"QQ=="}}'


def test_text_that_is_no_unicode_is_refused_outside() -> None:
    with pytest.raises(BodyError, match="no Unicode"):
        to_json({"a": "\ud800"})


def test_a_line_has_its_headers_by_name_and_leaves_empty_ones_out() -> None:
    fields = json.loads(to_json_line(letter({"a": b"A"}, priority=NORMAL)))
    assert fields["sender"] == "main"
    assert fields["priority"] == NORMAL
    assert fields["body"] == {"a": {"$bytes": "QQ=="}}
    assert not {"expiry", "in_reply_to", "route", "headers", "receipt", "body_type"} & set(fields)


def test_a_line_tells_an_urgent_letter_from_others() -> None:
    assert json.loads(to_json_line(letter(priority=URGENT)))["priority"] == URGENT


def test_a_line_is_one_line() -> None:
    line = to_json_line(letter("first\nsecond", headers={"a": "b\n"}))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(to_json_line(letter(None)))["body"] is None
