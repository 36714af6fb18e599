"""Back-off: it grows, it is bounded, it scatters, it begins again."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backoff import Backoff


@given(st.randoms(use_true_random=False), st.floats(0.01, 10), st.floats(1, 100))
def test_each_wait_is_between_half_and_whole_of_a_doubling_span(
    random: Random, first: float, times: float
) -> None:
    ceiling = first * times
    backoff = Backoff(first, ceiling, random)
    for turn in range(12):
        span = min(first * 2**turn, ceiling)
        assert span / 2 <= backoff.next() <= span


def test_two_that_failed_together_do_not_come_back_together() -> None:
    waits = {Backoff(1.0, 30.0, Random(seed)).next() for seed in range(100)}
    assert len(waits) == 100


def test_reset_begins_again() -> None:
    backoff = Backoff(1.0, 64.0, Random(1))
    for _ in range(10):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= 1.0


@pytest.mark.parametrize(
    ("first", "ceiling"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, float("inf"))]
)
def test_nonsense_is_refused(first: float, ceiling: float) -> None:
    with pytest.raises(ValueError, match="a back-off needs"):
        Backoff(first, ceiling, Random(1))
