"""A broker may send its burst and its rate, and not a packet more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routes.mqtt.inflow import BURST, Inflow

RATE = 100


def test_a_burst_is_let_through_and_one_more_is_not():
    inflow = Inflow(RATE, now=5.0)
    assert not inflow.is_too_much(int(RATE * BURST), now=5.0)
    assert inflow.is_too_much(int(RATE * BURST) + 1, now=5.0)


def test_who_keeps_to_the_rate_is_never_told_off():
    inflow = Inflow(RATE, now=0.0)
    assert not any(inflow.is_too_much(RATE * second, now=second) for second in range(1, 1000))


def test_a_quiet_hour_earns_no_more_than_one_burst():
    inflow = Inflow(RATE, now=0.0)
    assert not inflow.is_too_much(int(RATE * BURST), now=3600.0)
    assert inflow.is_too_much(int(RATE * BURST) + 1, now=3600.0)


@given(st.lists(st.tuples(st.integers(0, 2000), st.floats(0, 20)), max_size=30))
def test_whoever_sends_more_than_burst_and_rate_is_told_off_in_time(steps):
    inflow, packets, now, told = Inflow(RATE, now=0.0), 0, 0.0, False
    for more, seconds in steps:
        packets, now = packets + more, now + seconds
        told |= inflow.is_too_much(packets, now)
        assert told or packets <= RATE * (BURST + now) + 1e-6
