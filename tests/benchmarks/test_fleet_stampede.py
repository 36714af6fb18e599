"""The model of a returning fleet: all come back, no faster than the broker takes them."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fleet_stampede import Longest, come_back


@given(
    nodes=st.integers(1, 60),
    outage=st.floats(0, 100),
    per_second=st.integers(1, 20),
    seed=st.integers(0, 1000),
)
def test_everybody_comes_back_and_the_broker_takes_no_more_than_it_does(
    nodes: int, outage: float, per_second: int, seed: int
) -> None:
    back = come_back(
        nodes, outage=outage, per_second=per_second, first=0.25, ceiling=30.0, random=Random(seed)
    )
    assert len(back.moments) == nodes
    assert min(back.moments) >= 0
    assert back.attempts >= nodes
    assert max(Counter(map(int, back.moments)).values()) <= per_second


def test_without_jitter_all_come_in_the_same_instant() -> None:
    together, apart = (
        come_back(100, outage=10.0, per_second=1000, first=0.25, ceiling=30.0, random=random)
        for random in (Longest(1), Random(1))
    )
    # 0.25 + 0.5 + 1 + 2 + 4 + 8 s after the loss.
    assert together.moments == [5.75] * 100
    assert together.most_attempts_in_1_s == 100
    assert apart.most_attempts_in_1_s < 60
