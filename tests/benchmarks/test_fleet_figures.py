"""What a fleet's figures are made of: percentiles, bins, the most within a moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fleet_figures import (
    BINS,
    connecting,
    histogram,
    milliseconds,
    most_within,
    percentile,
    width_for,
)

MOMENTS = st.lists(st.floats(0, 10_000), min_size=1, max_size=200)
WHOLE = st.integers(0, 40).map(float)


@given(MOMENTS, st.floats(0, 1))
def test_a_percentile_is_the_value_below_which_that_share_lies(
    values: list[float], share: float
) -> None:
    found = percentile(sorted(values), share)
    assert found in values
    assert sum(value < found for value in values) <= share * len(values)
    assert sum(value <= found for value in values) >= share * len(values)


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)
    assert milliseconds([]) == {"count": 0}


@given(MOMENTS)
def test_a_histogram_loses_nobody_and_fits_its_columns(moments: list[float]) -> None:
    width = width_for(max(moments))
    bins = histogram(moments, width)
    assert sum(bins) == len(moments)
    assert len(bins) <= BINS + 1


@given(st.lists(WHOLE, min_size=1, max_size=60), WHOLE)
def test_the_fullest_moment_is_found_wherever_it_lies(moments: list[float], span: float) -> None:
    ordered = sorted(moments)
    slowly = max(
        sum(first <= each and each - first <= span for each in ordered) for first in ordered
    )
    assert most_within(moments, span) == slowly


def test_nodes_that_never_came_are_told_of() -> None:
    assert connecting([], 3) == {"connected": 0, "expected": 3}
    spread = connecting([0.5, 0.1], 3)
    assert (spread["connected"], spread["expected"]) == (2, 3)
    assert (spread["first_s"], spread["all_s"]) == (0.1, 0.5)
