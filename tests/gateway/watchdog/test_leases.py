"""Leases of the log end by themselves, and the most talkative holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RefusedError
from gateway.process.log_levels import NAMES, number
from gateway.watchdog.leases import LONGEST, MOST, Lease, Leases, checked_seconds


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from(NAMES), st.integers(0, 100), st.integers(0, 50)
        ),
        max_size=20,
    )
)
def test_what_holds_is_the_most_talkative_that_has_not_ended(
    asked: list[tuple[str, str, int, int]],
) -> None:
    leases = Leases()
    known: dict[str, tuple[str, float]] = {}
    now = 0.0
    for owner, level, seconds, pause in asked:
        leases.ask(owner, level, float(seconds), now)
        known[owner] = (level, now + seconds)
        now += pause
        alive = {who: each for who, each in known.items() if each[1] > now}
        held = leases.in_force(now)
        if not alive:
            assert held is None
        else:
            assert held is not None
            assert number(held.level) == min(number(level) for level, _ in alive.values())
            assert (held.level, held.until) in alive.values()


def test_none_seconds_end_a_lease_and_only_ones_own() -> None:
    leases = Leases()
    leases.ask("a", "debug", 60.0, 0.0)
    leases.ask("b", "debug", 0.0, 0.0)
    assert len(leases) == 1
    leases.ask("a", "debug", 0.0, 0.0)
    assert leases.in_force(0.0) is None


def test_more_than_so_many_are_refused_until_one_ends() -> None:
    leases = Leases()
    for owner in range(MOST):
        leases.ask(str(owner), "info", 60.0 if owner else 10.0, 0.0)
    with pytest.raises(RefusedError, match="wait until one"):
        leases.ask("late", "info", 60.0, 0.0)
    leases.ask("1", "debug", 60.0, 0.0)
    leases.ask("late", "info", 60.0, 10.0)


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(RefusedError, match="use debug, info"):
        Leases().ask("a", "loud", 1.0, 0.0)


@pytest.mark.parametrize("seconds", [None, "60", True, -1, LONGEST + 1, float("nan"), [60]])
def test_times_that_are_none_are_refused(seconds: object) -> None:
    with pytest.raises(RefusedError, match="use"):
        checked_seconds(seconds)


def test_what_is_left_of_an_hour_is_never_more_than_one() -> None:
    moments = [512.0 + number / 97 for number in range(5000)]
    assert any(now + LONGEST - now > LONGEST for now in moments)
    for now in moments:
        assert LONGEST - 0.001 < Lease("info", now + LONGEST).left(now) <= LONGEST
