"""Whether and when a process is started again: a pure judgement."""

from __future__ import annotations

from math import inf, nan
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.supervision.restart import Kind, RestartPolicy, Restarts, Verdict


@pytest.mark.parametrize(
    ("kind", "failed", "again"),
    [
        ("permanent", True, True),
        ("permanent", False, True),
        ("transient", True, True),
        ("transient", False, False),
        ("temporary", True, False),
        ("temporary", False, False),
    ],
)
def test_the_kind_says_who_is_restarted(kind: Kind, failed: bool, again: bool) -> None:
    restarts = Restarts(RestartPolicy(kind), Random(1))
    verdict = restarts.ended(0.0, failed=failed)
    assert (verdict.delay is not None) is again
    assert restarts.count == int(again)


def test_too_many_within_a_while_make_it_degraded_until_it_has_held_out() -> None:
    policy = RestartPolicy(most=3, within=60.0, first=0.1, ceiling=5.0, slowly=90.0)
    restarts = Restarts(policy, Random(1))
    verdicts = [restarts.ended(float(second), failed=True) for second in range(4)]
    assert [verdict.degraded for verdict in verdicts] == [False, False, False, True]
    for now in (100.0, 200.0, 300.0):
        restarts.began(now)
        verdict = restarts.ended(now + 1.0, failed=True)
        assert verdict.degraded, "slow retries are no new burst, though the window is empty"
        assert 45.0 <= (verdict.delay or 0.0) <= 90.0
    restarts.began(400.0)
    later = restarts.ended(400.0 + 60.1, failed=True)
    assert not later.degraded
    assert later.delay is not None
    assert later.delay <= policy.first, "the back-off began again"


def test_an_end_in_order_waits_as_it_is_told_to_and_counts_for_nothing() -> None:
    policy = RestartPolicy(most=2, within=60.0, first=0.5, ceiling=5.0, slowly=90.0)
    restarts = Restarts(policy, Random(1))
    for second in range(0, 1000, 10):
        restarts.began(float(second))
        assert restarts.ended(float(second) + 5.0, failed=False) == Verdict(0.5)
    assert restarts.count == 100
    waits = [restarts.ended(1000.0, failed=True).delay or 0.0 for _ in range(2)]
    assert waits[0] <= 0.5 <= waits[1] <= 1.0, "the back-off has not grown before"


def test_brief_lives_that_end_in_order_wait_longer_each_time_and_are_never_degraded() -> None:
    policy = RestartPolicy(most=2, within=60.0, first=0.5, ceiling=5.0)
    restarts = Restarts(policy, Random(1))

    def after(lived: float, *, failed: bool = False) -> Verdict:
        restarts.began(0.0)
        return restarts.ended(lived, failed=failed)

    assert [after(1.0).delay for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert not any(after(0.0).degraded for _ in range(2000))
    assert [after(5.0).delay, after(1.0).delay, after(1.0).delay] == [0.5, 0.5, 1.0]
    after(1.0, failed=True)
    assert after(1.0).delay == 0.5


def test_an_end_in_order_ends_that_it_is_degraded_and_forgives_no_failure() -> None:
    restarts = Restarts(RestartPolicy(most=1, within=60.0), Random(1))
    assert [restarts.ended(0.0, failed=True).degraded for _ in range(2)] == [False, True]
    assert restarts.ended(1.0, failed=False) == Verdict(0.1)
    assert not restarts.degraded
    assert restarts.ended(2.0, failed=True).degraded, "three within the window are too many"


def test_those_that_failed_together_do_not_come_back_together() -> None:
    delays = set()
    for seed in range(20):
        restarts = Restarts(RestartPolicy(most=0), Random(seed))
        delays.add(restarts.ended(0.0, failed=True).delay)
    assert len(delays) == 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "forever"},
        {"most": -1},
        {"within": 0.0},
        {"slowly": 0.0},
        {"first": 0.0},
        {"first": 2.0, "ceiling": 1.0},
        {"most": nan},
        {"within": nan},
        {"slowly": nan},
        {"slowly": 1e10},
        {"first": nan},
        {"ceiling": 1e10},
        {"ceiling": inf},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="a restart policy"):
        RestartPolicy(**wrong)


@given(
    st.lists(st.floats(0.0, 40.0), min_size=1, max_size=40),
    st.integers(1, 5),
    st.floats(1.0, 60.0),
    st.integers(0, 99),
)
def test_degraded_begins_with_more_than_most_within_the_window_and_is_never_final(
    gaps: list[float], most: int, within: float, seed: int
) -> None:
    restarts = Restarts(RestartPolicy(most=most, within=within), Random(seed))
    now, ends, degraded = 0.0, [], False
    for gap in gaps:
        now += gap
        ends.append(now)
        verdict = restarts.ended(now, failed=True)
        degraded = degraded or len([end for end in ends if now - end <= within]) > most
        assert verdict.degraded is degraded
        assert verdict.delay is not None
        assert 0 < verdict.delay <= 60.0
    assert restarts.count == len(gaps)


def test_waits_grow_to_the_ceiling() -> None:
    restarts = Restarts(RestartPolicy(most=1000, first=0.1, ceiling=1.0), Random(3))
    waits = [restarts.ended(0.0, failed=True).delay or 0.0 for _ in range(10)]
    assert waits[0] <= 0.1
    assert all(0.5 <= wait <= 1.0 for wait in waits[4:])
