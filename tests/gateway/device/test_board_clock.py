from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import VirtualClock
from gateway.device.board_clock import WORST, BoardClock


def test_it_shows_what_the_base_shows_until_something_is_done_to_it() -> None:
    base = VirtualClock()
    base.now = 5.0
    clock = BoardClock(base)
    base.now = 7.5
    assert (clock.monotonic(), clock.time()) == (7.5, base.time())


def test_a_drift_counts_from_the_moment_it_began() -> None:
    base = VirtualClock()
    clock = BoardClock(base)
    base.now = 1000.0
    clock.drift(-500)
    base.now = 2000.0
    assert clock.monotonic() == pytest.approx(1999.5)
    clock.drift(0)
    base.now = 3000.0
    assert clock.monotonic() == pytest.approx(2999.5)
    assert clock.time() == pytest.approx(base.epoch + 2999.5)


def test_one_that_is_held_moves_by_steps_alone() -> None:
    base = VirtualClock()
    clock = BoardClock(base, held=True)
    base.now = 100.0
    assert clock.monotonic() == 0.0
    clock.step(2.5)
    assert (clock.monotonic(), clock.time()) == (2.5, base.epoch + 2.5)
    assert clock.base_of(2.5) == 100.0
    assert clock.base_of(2.6) is None


def test_it_tells_when_something_is_due_on_the_base() -> None:
    base = VirtualClock()
    clock = BoardClock(base)
    clock.drift(250_000)
    assert clock.base_of(10.0) == 8.0


@pytest.mark.parametrize("parts", [WORST * 1.01, -WORST * 1.01, math.nan, math.inf])
def test_a_drift_that_no_clock_has_is_refused(parts: float) -> None:
    with pytest.raises(ValueError, match="wrong by"):
        BoardClock(VirtualClock()).drift(parts)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_it_does_not_go_back(seconds: float) -> None:
    with pytest.raises(ValueError, match="give 0 or more"):
        BoardClock(VirtualClock()).step(seconds)


MOVES = st.one_of(
    st.tuples(st.just("pass"), st.floats(0, 1e4)),
    st.tuples(st.just("step"), st.floats(0, 1e4)),
    st.tuples(st.just("drift"), st.floats(-WORST, WORST)),
)


@given(st.lists(MOVES, max_size=20))
def test_it_never_goes_back_whatever_is_done_to_it(moves: list[tuple[str, float]]) -> None:
    base = VirtualClock()
    clock = BoardClock(base)
    last = clock.monotonic()
    for what, amount in moves:
        if what == "pass":
            base.now += amount
        else:
            getattr(clock, what)(amount)
        now = clock.monotonic()
        assert now >= last - 1e-6
        last = now
