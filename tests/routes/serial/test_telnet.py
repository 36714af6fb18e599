"""Commands come out of the stream, however it was sliced; no two ends answer for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routes.serial import telnet
from routes.serial.telnet import (
    DO,
    DONT,
    IAC,
    LIMIT,
    SB,
    SE,
    WILL,
    WONT,
    Decoder,
    Event,
    Negotiation,
    Options,
    Subnegotiation,
    escaped,
    negotiation,
    subnegotiation,
)

VERBS = st.sampled_from([WILL, WONT, DO, DONT])
EVENTS = st.one_of(
    st.builds(Negotiation, VERBS, st.integers(0, 255)),
    st.builds(Subnegotiation, st.integers(0, 254), st.binary(max_size=LIMIT - 1)),
)


def sent(part: bytes | Event) -> bytes:
    match part:
        case Negotiation(verb, option):
            return negotiation(verb, option)
        case Subnegotiation(option, payload):
            return subnegotiation(option, payload)
    return escaped(part)


def fed(decoder: Decoder, data: bytes, size: int) -> tuple[bytes, list[Event]]:
    payload, events = b"", []
    for start in range(0, len(data), size):
        more, found = decoder.feed(data[start : start + size])
        payload += more
        events += found
    return payload, events


@given(st.lists(st.one_of(st.binary(max_size=20), EVENTS), max_size=20), st.integers(1, 40))
def test_data_and_commands_come_apart_however_they_were_sliced(
    parts: list[bytes | Event], size: int
) -> None:
    payload, events = fed(Decoder(), b"".join(map(sent, parts)), size)
    assert payload == b"".join(part for part in parts if isinstance(part, bytes))
    assert events == [part for part in parts if not isinstance(part, bytes)]


@given(st.binary(max_size=300), st.integers(1, 40))
def test_noise_raises_nothing_and_depends_on_no_slicing(noise: bytes, size: int) -> None:
    assert fed(Decoder(), noise, size) == fed(Decoder(), noise, 1000)


def test_a_subnegotiation_without_an_end_costs_no_more_than_the_limit() -> None:
    decoder = Decoder()
    for _ in range(100):
        assert decoder.feed(bytes([IAC, SB]) + b"x" * 10_000) == (b"", [])
    assert decoder._inside is not None
    assert len(decoder._inside) <= LIMIT + 1
    assert decoder.feed(bytes([IAC, SE]) + b"data") == (b"data", [])


def test_what_means_nothing_to_a_port_is_passed_over() -> None:
    assert Decoder().feed(bytes([IAC, 241]) + b"a" + bytes([IAC, 246]) + b"b") == (b"ab", [])


@given(st.lists(st.builds(Negotiation, VERBS, st.integers(0, 255)), max_size=60))
def test_each_option_is_answered_a_bounded_number_of_times(heard: list[Negotiation]) -> None:
    options = Options([0, 3, 44])
    options.begin()
    answers = [options.answer(each) for each in heard for _ in range(3)]
    said = [answer for answer in answers if answer]
    for answer in said:
        if answer[1] in (WILL, DO):
            assert answer[2] in (0, 3, 44)
    # One that repeats itself is answered once.
    for first, second, third in zip(answers[::3], answers[1::3], answers[2::3], strict=True):
        del first
        assert second == third == b""


def test_two_ends_come_to_an_agreement_and_fall_silent() -> None:
    one, other = Options([0, 3, 44]), Options([0, 1, 44])
    line = [(other, one.begin()), (one, other.begin())]
    for _ in range(50):
        if not line:
            break
        reader, data = line.pop(0)
        for event in Decoder().feed(data)[1]:
            assert isinstance(event, Negotiation)
            if answer := reader.answer(event):
                line.append((one if reader is other else other, answer))
    assert not line
    assert one._said[WILL, 44]
    assert one._said[DO, 44]
    assert not one._said[DO, 1]


def test_no_is_not_answered_where_nothing_was_asked_for() -> None:
    assert Options([]).answer(Negotiation(DONT, 9)) == b""
    assert Options([]).answer(Negotiation(WONT, 9)) == b""
    assert Options([]).answer(Negotiation(DO, 9)) == negotiation(WONT, 9)
    assert telnet.escaped(b"plain") == b"plain"
