"""So many lines a second, whatever the lines are and whenever they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.process.log_rate import LogRate


@given(st.integers(1, 5), st.lists(st.floats(0, 10), max_size=60))
def test_no_second_has_more_and_every_line_is_let_through_or_counted(
    most: int, moments: list[float]
) -> None:
    rate = LogRate(most)
    moments.sort()
    let = [now for now in moments if rate.lets(now)]
    for second in range(11):
        wanted = sum(now // 1 == second for now in moments)
        assert sum(now // 1 == second for now in let) == min(most, wanted)
    assert len(let) + rate.take_left_out() == len(moments)


def test_a_rate_that_lets_nothing_through_is_refused() -> None:
    with pytest.raises(ValueError, match="use 1 or more"):
        LogRate(0)
