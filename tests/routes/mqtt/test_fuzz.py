"""A little of what `tests.fuzz.mqtt_inbound` and `tests.fuzz.mqtt_broker` do at length."""

from __future__ import annotations

from random import SystemRandom

import pytest

from tests.fuzz import mqtt_broker
from tests.fuzz.mqtt_inbound import soak
from tests.fuzz.mqtt_router import soak_router

INPUTS = 1_500
"""Of the hundred thousand."""


def test_fuzzed_publishes_crash_nothing_and_are_all_counted():
    seed = SystemRandom().randrange(1 << 32)
    tally = soak(INPUTS, seed)
    assert tally.inputs == INPUTS
    assert tally.received == tally.carried + tally.refused.total() >= INPUTS
    # It has been everywhere that a message can end before it reaches the access list.
    assert len(tally.refused) >= 10, f"seed {seed}: {tally}"


def test_one_seed_makes_one_run():
    first, again = soak(200, 7), soak(200, 7)
    first.grown = again.grown = 0
    assert first == again


@pytest.mark.parametrize("level", [5, 4])
def test_a_session_survives_a_mad_broker_and_accounts_for_every_letter(level):
    tally = mqtt_broker.soak(40, SystemRandom().randrange(1 << 32), level)
    assert tally.attempts >= 40
    assert tally.ends["acknowledged"] > 0


@pytest.mark.needs("mosquitto")
def test_fuzzed_publishes_by_a_real_broker_are_all_accounted_for_by_the_router():
    tally = soak_router(1_000, SystemRandom().randrange(1 << 32))
    assert tally.answered > 0
    assert {"not_allowed", "no_json", "arguments", "response_topic"} <= tally.refused.keys()
