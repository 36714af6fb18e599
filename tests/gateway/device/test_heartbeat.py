"""Heartbeat decisions, with a clock that is cranked by hand."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.device.heartbeat import Heartbeat, Silence

HEARTBEAT = Heartbeat(ping=b"P", every=1.0, patience=3.0)
moments = st.floats(min_value=0, max_value=1e6)


def test_the_first_ping_is_due_at_once() -> None:
    assert HEARTBEAT.due(now=5.0, heard=5.0, pinged=-inf).ping


@pytest.mark.parametrize(
    ("silent_for", "silence"),
    [
        (0.0, Silence.NONE),
        (2.999, Silence.NONE),
        (3.0, Silence.STALE),
        (5.999, Silence.STALE),
        (6.0, Silence.OVERDUE),
        (1e9, Silence.OVERDUE),
    ],
)
def test_silence_is_judged_in_steps_of_patience(silent_for: float, silence: Silence) -> None:
    assert HEARTBEAT.due(now=100.0 + silent_for, heard=100.0, pinged=100.0).silence is silence


def test_a_board_that_streams_is_alive_though_its_pings_go_unanswered() -> None:
    for tick in range(1000):
        now = tick * 0.5
        assert HEARTBEAT.due(now=now, heard=now - 0.1, pinged=now - 0.9).silence is Silence.NONE


def test_pings_go_on_while_it_is_stale_so_that_it_can_come_back() -> None:
    now, pinged, pings = 0.0, -inf, 0
    while now < 20.0:
        due = HEARTBEAT.due(now, heard=0.0, pinged=pinged)
        if due.ping:
            pinged, pings = now, pings + 1
        now = due.wake
    assert pings == 20


@given(
    now=moments,
    heard_ago=st.floats(min_value=0, max_value=1e4),
    pinged_ago=st.one_of(st.just(inf), st.floats(min_value=0, max_value=1e4)),
    every=st.floats(min_value=0.01, max_value=100),
    patience=st.floats(min_value=0.01, max_value=100),
)
def test_waking_when_told_misses_nothing_and_never_spins(
    now: float, heard_ago: float, pinged_ago: float, every: float, patience: float
) -> None:
    heartbeat = Heartbeat(ping=b"P", every=every, patience=patience)
    heard, pinged = now - heard_ago, now - pinged_ago
    due = heartbeat.due(now, heard, pinged)
    assert due.wake > now
    assume(due.wake - now > 1e-6)  # below that it is the floats that are judged
    pinged = now if due.ping else pinged
    just_before = now + (due.wake - now) * 0.999
    before = heartbeat.due(just_before, heard, pinged)
    assert (before.silence, before.ping) == (due.silence, False)


@pytest.mark.parametrize(("pong", "answer"), [(None, b"P"), (b"OK", b"OK")])
def test_the_answer_is_the_ping_unless_said_otherwise(pong: bytes | None, answer: bytes) -> None:
    assert Heartbeat(ping=b"P", every=1.0, patience=2.0, pong=pong).answer == answer


LISTENING = Heartbeat(patience=3.0)


def test_without_a_ping_nothing_is_written_and_silence_is_judged_all_the_same() -> None:
    now, seen = 0.0, []
    while now < inf:
        due = LISTENING.due(now, heard=0.0, pinged=-inf)
        assert not due.ping
        seen.append((now, due.silence))
        now = due.wake
    assert seen == [(0.0, Silence.NONE), (3.0, Silence.STALE), (6.0, Silence.OVERDUE)]
    assert LISTENING.answer is None


@given(now=moments, heard_ago=st.floats(min_value=0, max_value=1e4))
def test_listening_judges_silence_as_pinging_does(now: float, heard_ago: float) -> None:
    heard = now - heard_ago
    assert LISTENING.due(now, heard, -inf).silence is HEARTBEAT.due(now, heard, pinged=now).silence


@pytest.mark.parametrize("extra", [{"every": 1.0}, {"pong": b"P"}])
def test_without_a_ping_there_is_nothing_to_time_or_to_answer(extra: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no every and no pong"):
        Heartbeat(patience=3.0, **extra)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "nonsense",
    [
        {"ping": b""},
        {"pong": b""},
        {"every": 0.0},
        {"every": inf},
        {"patience": -1.0},
        {"patience": float("nan")},
    ],
)
def test_nonsense_is_refused(nonsense: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a heartbeat"):
        Heartbeat(**{"ping": b"P", "every": 1.0, "patience": 3.0, **nonsense})  # type: ignore[arg-type]
