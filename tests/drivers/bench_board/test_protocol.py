"""The protocol's rule holds for every request: its answer is known, and no other's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.bench_board import protocol
from gateway.errors import ProtocolError, RefusedError

REQUESTS = st.one_of(
    st.sampled_from([protocol.IDENTIFY, protocol.PING, protocol.COUNTERS, protocol.HANG]),
    st.booleans().map(protocol.set_led),
    st.integers(0, protocol.MAX_HZ).map(protocol.set_stream),
    st.integers(0, 999).map(protocol.read_analogue),
    st.integers(0, 255).map(protocol.corrupt_every),
    st.integers(1, protocol.MAX_FAULT).map(protocol.report_fault),
)
VALUES = st.binary(max_size=20).map(lambda data: b" " + data)


@given(REQUESTS, REQUESTS, st.one_of(st.just(b""), VALUES))
def test_a_success_answers_its_own_request_and_no_other(
    request: bytes, other: bytes, values: bytes
) -> None:
    answer = request + values
    assert protocol.is_answer(request, answer)
    assert protocol.result(request, answer) == values[1:]
    assert protocol.is_answer(other, answer) == (other == request)


def test_a_request_that_begins_like_another_is_told_from_it() -> None:
    assert not protocol.is_answer(b"R1", b"R12 1250,512")
    assert not protocol.is_answer(b"S20", b"S200")
    with pytest.raises(ProtocolError, match="no answer"):
        protocol.result(b"R1", b"R12 1250,512")


@given(REQUESTS, REQUESTS, st.sampled_from([protocol.UNKNOWN, protocol.ARGUMENT]))
def test_a_refusal_answers_the_request_that_it_names(
    request: bytes, other: bytes, reason: bytes
) -> None:
    answer = b"N" + reason + b" " + request
    assert protocol.is_answer(other, answer) == (other == request)
    with pytest.raises(RefusedError, match="the board does not"):
        protocol.result(request, answer)


@given(REQUESTS, st.sampled_from(b"ABE"), st.binary(max_size=20))
def test_what_nobody_asked_for_answers_nothing(request: bytes, letter: int, rest: bytes) -> None:
    assert not protocol.is_answer(request, bytes([letter]) + rest)


def test_a_request_that_arrived_damaged_is_a_matter_of_the_wire() -> None:
    with pytest.raises(ProtocolError, match="reached the board damaged"):
        protocol.result(b"L1", b"Nchecksum")


def test_a_line_that_was_too_long_is_refused_without_its_request() -> None:
    with pytest.raises(RefusedError, match="lines of up to 64 bytes"):
        protocol.result(b"L1", b"Nlong")


def test_a_refusal_for_a_reason_of_newer_firmware_keeps_its_word() -> None:
    with pytest.raises(RefusedError, match="L1: refused: asleep"):
        protocol.result(b"L1", b"Nasleep L1")


def test_another_requests_answer_is_no_result() -> None:
    with pytest.raises(ProtocolError, match="no answer"):
        protocol.result(b"L1", b"L0")


@pytest.mark.parametrize("values", [b"", b"bench-board", b"bench-board 1.0.0", b"a b c d", b"a  c"])
def test_half_an_identity_is_refused(values: bytes) -> None:
    with pytest.raises(ProtocolError, match="an identity is"):
        protocol.parse_identity(values)


@pytest.mark.parametrize(
    "values", [b"", b"1", b"1,", b"1,2,3", b"-1,2", b"1, 2", b"+1,2", b"1,1024", b"1_0,2", b"a,b"]
)
def test_a_reading_that_is_no_reading_is_refused(values: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.parse_reading(values)


@pytest.mark.parametrize("frame", [b"E", b"Ex", b"E-1 hot", b"E 1"])
def test_a_fault_without_its_number_is_refused(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.parse_fault(frame)


def test_counters_come_in_sixes() -> None:
    assert protocol.parse_counters(b"1,2,3,4,5,6").unsent == 6
    with pytest.raises(ProtocolError, match="6 numbers"):
        protocol.parse_counters(b"1,2,3")


@pytest.mark.parametrize(
    ("build", "bad"),
    [
        (protocol.set_stream, -1),
        (protocol.set_stream, 201),
        (protocol.corrupt_every, 256),
        (protocol.report_fault, 0),
        (protocol.report_fault, 4),
    ],
)
def test_a_request_out_of_range_is_not_even_built(build: object, bad: int) -> None:
    assert callable(build)
    with pytest.raises(ValueError, match=str(bad)):
        build(bad)
