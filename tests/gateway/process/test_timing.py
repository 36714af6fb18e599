"""Frames keep their phase; what was overrun is counted and never caught up in a burst."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.process.timing import Frames

frequencies = st.floats(0.01, 10_000)


def test_frames_are_counted_from_the_start() -> None:
    frames = Frames(10.0, now=100.0)
    dues = []
    for late in (0.0, 0.04, 0.09, 0.0):
        due = frames.due
        assert due is not None
        dues.append(round(due - 100.0, 6))
        frames.advance(due + late)
    assert dues == [0.0, 0.1, 0.2, 0.3]
    assert (frames.number, frames.missed) == (4, 0)


def test_an_overrun_skips_frames_and_counts_them() -> None:
    frames = Frames(10.0, now=0.0)
    frames.advance(0.0)
    frames.advance(0.35)
    assert frames.due == pytest.approx(0.4)
    assert (frames.number, frames.missed) == (2, 2)


@given(frequencies, st.lists(st.floats(0, 5), max_size=20))
def test_the_phase_is_kept_whatever_life_costs(frequency: float, costs: list[float]) -> None:
    start, period = 1000.0, 1 / frequency
    frames = Frames(frequency, start)
    now = start
    for cost in costs:
        due = frames.due
        assert due is not None
        now = max(now, due)
        frames.advance(now)
        following = frames.due
        assert following is not None
        assert following > now - 1e-6, "nothing is caught up"
        assert following - now <= period * 1.001 + 1e-6, "no frame is lost without being due"
        planned = (following - start) / period
        assert abs(planned - round(planned)) < 1e-3
        assert frames.number + frames.missed == round(planned), "each one has begun, or is counted"
        now += cost
    assert frames.number == len(costs)


@pytest.mark.parametrize("frequency", [None, 0, 0.0])
def test_never_is_a_frequency(frequency: float | None) -> None:
    frames = Frames(frequency, 0.0)
    assert frames.due is None
    frames.advance(1.0)
    assert frames.missed == 0


@pytest.mark.parametrize(
    ("frequency", "error"),
    [
        ("5", TypeError),
        (True, TypeError),
        ([5.0], TypeError),
        (-1, ValueError),
        (10_001, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (10**400, ValueError),
    ],
)
def test_a_frequency_that_cannot_be_is_refused_and_the_old_one_stays(
    frequency: Any, error: type[Exception]
) -> None:
    said = f"a frequency is a number of hertz from 0 to 10,000, not {frequency!r}"
    with pytest.raises(error, match=re.escape(said)):
        Frames(frequency, 0.0)
    frames = Frames(50.0, 0.0)
    with pytest.raises(error, match=re.escape(said)):
        frames.set_frequency(frequency, 1.0)
    assert (frames.frequency, frames.due) == (50.0, 0.0)


@given(frequencies, frequencies)
def test_a_new_frequency_begins_one_of_its_periods_from_now(old: float, new: float) -> None:
    frames = Frames(old, 0.0)
    frames.advance(0.0)
    frames.set_frequency(new, 50.0)
    assert frames.due == pytest.approx(50.0 + 1 / new)


@given(frequencies, st.floats(0.0, 100.0))
def test_the_present_frame_ends_where_the_next_begins(frequency: float, late: float) -> None:
    frames = Frames(frequency, 0.0)
    assert frames.current() == (0.0, 0.0)
    frames.advance(late)
    begin, end = frames.current()
    assert end == frames.due
    assert end - begin == pytest.approx(1 / frequency)
    assert begin <= late + 1e-6 <= end + 2e-6
    frames.set_frequency(None, 7.0)
    assert frames.current() == (7.0, float("inf"))
