"""Envelopes there and back, and what is none."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BodyError, RefusedError
from routes.mqtt.mail_envelope import (
    Bounce,
    EnvelopeError,
    Letter,
    MailTopics,
    Reply,
    Taken,
    bounce,
    read,
    write,
)

ids = st.from_regex(r"[!-.0-~]{1,64}", fullmatch=True)
plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
names = plain.filter(bool)
bodies = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | plain
    | st.binary(max_size=60),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(plain.filter(lambda key: key != "$bytes"), inner, max_size=4)
    ),
    max_leaves=12,
)
letters = st.builds(
    Letter,
    id=ids,
    sender=names,
    recipient=names,
    subject=plain,
    body=bodies,
    thread=ids,
    index=st.integers(1, 2**31),
    time=st.floats(0, 1e11),
    ttl=st.none() | st.floats(0, 1e9),
    priority=st.integers(0, 2),
    receipt=st.booleans(),
    headers=st.dictionaries(plain, plain, max_size=5),
)
envelopes = (
    letters
    | st.builds(Taken, to=ids)
    | st.builds(Reply, to=ids, id=ids, subject=plain, body=bodies)
    | st.builds(Bounce, to=ids, code=plain, reason=plain)
)


@given(envelopes)
def test_an_envelope_arrives_as_it_was_sent(envelope: Any) -> None:
    assert read(write(envelope)) == envelope


@given(st.binary(max_size=300) | bodies.map(lambda body: json.dumps(body, default=repr).encode()))
def test_whatever_comes_is_an_envelope_or_an_envelope_error(payload: bytes) -> None:
    with contextlib.suppress(EnvelopeError):
        read(payload)


@given(letters, st.data())
def test_an_envelope_with_one_key_spoilt_raises_nothing_else(letter: Letter, data: Any) -> None:
    said = json.loads(write(letter))
    said[data.draw(st.sampled_from(sorted(said)))] = data.draw(
        st.none() | st.integers() | st.text(max_size=3) | st.lists(st.none(), max_size=2)
    )
    with contextlib.suppress(EnvelopeError):
        read(json.dumps(said).encode())


def test_what_is_newer_than_we_are_is_told_from_nonsense() -> None:
    with pytest.raises(EnvelopeError, match="version 2, where 1 is understood") as raised:
        read(b'{"v": 2, "kind": "letter", "id": "a-1", "stamps": 3}')
    assert (raised.value.kind, raised.value.id) == ("version", "a-1")
    assert read(b'{"v": 1, "kind": "taken", "to": "a-1", "more": 1}') == Taken(to="a-1")


def test_a_body_that_json_cannot_hold_is_a_body_error() -> None:
    with pytest.raises(BodyError):
        write(Reply(to="a", id="b", subject="x", body=float("nan")))


def test_a_bounce_quotes_anything() -> None:
    said = bounce("a-1", RefusedError("half \ud800 " + "x" * 5000))
    assert (said.code, len(said.reason)) == ("refused", 1000)
    assert read(write(said)) == said


@pytest.mark.parametrize("node", ["", "a b", "a@b", "-x", "%41", "living-pi", "x" * 64])
def test_a_topic_names_another_gateway_or_none(node: str) -> None:
    topics = MailTopics("living-pi")
    with pytest.raises(ValueError, match="no other gateway"):
        topics.sender(f"gateway/living-pi/mail/{node}")
