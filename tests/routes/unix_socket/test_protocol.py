"""Lines at the front door, good and bad."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, ProtocolError
from gateway.framing.frame import Frame
from gateway.framing.line import Line
from gateway.mail.json_lines import Refusal, failure
from gateway.mail.message import Message
from routes.unix_socket import protocol
from routes.unix_socket.protocol import Hello, Ps, Send, Tail, parse

IDS = st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=64)
BODIES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
).filter(lambda body: not (isinstance(body, dict) and "$bytes" in body))


@given(st.binary(max_size=200))
def test_no_line_of_bytes_is_more_than_refused(line: bytes) -> None:
    parsed = parse(line)
    assert isinstance(parsed, Refusal | Hello | Ps | Send | Tail)


@given(
    st.dictionaries(
        st.sampled_from(["op", "id", "to", "subject", "body", "timeout", "pattern", "x"]),
        st.sampled_from(["send", "ps", "tail", "hello", "", 0, 1.5, None, True, [], {}, "x" * 99]),
    )
)
def test_no_object_is_more_than_refused_with_a_reason(said: dict[str, object]) -> None:
    parsed = parse(json.dumps(said).encode())
    if isinstance(parsed, Refusal):
        assert isinstance(parsed.error, ProtocolError)
        assert json.loads(failure(parsed.id, parsed.error))["error"]["reason"]


@pytest.mark.parametrize(
    "body",
    [str(2**64), "1e999", '{"$bytes":"!"}', '{"$bytes":"AAE"}', "[" * 40 + "]" * 40],
)
@pytest.mark.parametrize("id", [7, "seven", None])
def test_a_request_whose_body_is_none_is_refused_under_its_id(
    body: str, id: int | str | None
) -> None:
    parsed = parse(f'{{"op":"send","body":{body},"id":{json.dumps(id)}}}'.encode())
    assert isinstance(parsed, Refusal)
    assert parsed.id == id


@pytest.mark.parametrize("id", [str(2**64), "{}", "true", '"' + "x" * 65 + '"', r'"\ud800"'])
def test_an_id_that_is_none_comes_back_as_null(id: str) -> None:
    parsed = parse(f'{{"op":"send","body":[{2**64}],"id":{id}}}'.encode())
    assert isinstance(parsed, Refusal)
    assert parsed.id is None


@given(IDS, st.text(), st.text(), BODIES, st.floats(0.001, 600))
def test_what_was_asked_is_what_was_meant(id, to, subject, body, timeout) -> None:
    said = {"op": "send", "id": id, "to": to, "subject": subject, "body": body, "timeout": timeout}
    assert parse(json.dumps(said).encode()) == Send(
        id=id, to=to, subject=subject, body=body, timeout=timeout
    )


@given(
    st.lists(st.binary(min_size=1).filter(lambda b: b"\n" not in b and b"\r" not in b)), st.data()
)
def test_how_the_stream_is_sliced_changes_nothing(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    decoder = Line(limit=64).decoder()
    whole = Line(limit=64).decoder().feed(stream)
    sliced = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        sliced += decoder.feed(stream[:size])
        stream = stream[size:]
    assert [type(event) for event in sliced] == [type(event) for event in whole]
    frames = [event for event in whole if isinstance(event, Frame)]
    assert [event for event in sliced if isinstance(event, Frame)] == frames


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[1]", "write an object"),
        (b"{}", "op is hello, ps, send, cancel, tail, tap or log-level"),
        (b'{"op":"sing"}', "op is hello, ps, send, cancel, tail, tap or log-level"),
        (b'{"op":"send","to":"x"}', "subject"),
        (b'{"op":"send","to":"x","subject":"y","bdoy":1}', "bdoy"),
        (b'{"op":"send","to":"x","subject":"y","timeout":0}', "timeout"),
        (b'{"op":"send","to":"x","subject":"y","timeout":1e9}', "timeout"),
        (b'{"op":"send","to":"x","subject":"y","headers":{"a":1}}', "headers"),
        (b'{"op":"cancel","request":{}}', "request"),
        (b'{"op":"send","to":{"$bytes":"AA=="},"subject":"y"}', "to"),
        (b'{"op":"hello","id":{}}', "id"),
        (b'{"op":"hello","id":99999999999999999999}', "64 bits"),
        (b"[" * 700 + b"]" * 700, "nested"),
        (b'{"a":' * 950 + b"1" + b"}" * 950, "nested"),
        (b"[" * 60000, "no request"),
    ],
)
@pytest.mark.usefixtures("uncollected")
def test_a_refusal_says_what_is_wrong(line: bytes, why: str) -> None:
    parsed = parse(line)
    assert isinstance(parsed, Refusal)
    assert why in str(parsed.error)


def test_a_refusal_bears_the_id_where_it_can_be_read() -> None:
    for said, id in (({"op": "x", "id": 7}, 7), ({"op": "x", "id": [7]}, None)):
        parsed = parse(json.dumps(said).encode())
        assert isinstance(parsed, Refusal)
        assert parsed.id == id


@pytest.mark.parametrize("body", [float("nan"), [float("inf")], "\ud800"])
def test_an_answer_that_json_cannot_hold_is_a_failure(body: object) -> None:
    said = json.loads(protocol.answer(3, body))
    assert (said["id"], said["ok"], said["error"]["code"]) == (3, False, "bad_body")


def test_a_reason_may_quote_anything() -> None:
    said = json.loads(failure("x", GatewayError("half \ud800 of it")))
    assert said["error"]["reason"] == "half ? of it"


def test_a_publication_that_json_cannot_hold_is_told_with_why() -> None:
    message = Message("1", "1", 1, 5.0, "serial", "", "devices/x/v", float("nan"))
    said = json.loads(protocol.addressed(1, protocol.publication(message)))
    assert (said["id"], said["topic"], said["error"]["code"]) == (1, "devices/x/v", "bad_body")


@pytest.mark.parametrize(
    ("line", "id"),
    [
        (b'{"id":17,"op":"se', 17),
        (b'{"id":17', None),
        (b'{"id":"a","op"', None),
        (b'{"op":"send","id":17,', None),
        (b'{"id":' + b"9" * 30 + b",", None),
    ],
)
def test_which_request_was_too_long_is_told_where_its_id_stands_first(
    line: bytes, id: int | None
) -> None:
    assert protocol.id_in(line) == id
