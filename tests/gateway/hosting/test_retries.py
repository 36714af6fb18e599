"""How soon a device is tried again."""

from __future__ import annotations

from random import Random

import pytest

from gateway.hosting.retries import LATER, SOON, STEADY, Retries


class Longest(Random):
    """Randomness by which every wait is as long as it can be."""

    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.fixture
def retries() -> Retries:
    return Retries(Longest())


def test_a_port_that_is_absent_is_looked_for_at_least_once_a_second(retries: Retries) -> None:
    assert [retries.after_absence() for _ in range(5)] == [0.25, 0.5, 1.0, 1.0, 1.0]


def test_a_loose_contact_is_opened_no_more_than_once_a_second(retries: Retries) -> None:
    assert [retries.after_loss(0.1) for _ in range(5)] == [0.25, 0.5, 1.0, 1.0, 1.0]


def test_a_half_born_port_is_tried_again_soon(retries: Retries) -> None:
    assert [retries.after_birth() for _ in range(5)] == [0.05, 0.1, 0.2, 0.25, 0.25]
    retries.after_absence()
    assert retries.after_birth() == 0.05


def test_what_fails_is_tried_less_and_less_often_and_never_given_up(retries: Retries) -> None:
    assert [retries.after_failure(0.0) for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_device_that_was_well_for_a_while_begins_afresh(retries: Retries) -> None:
    for _ in range(5):
        retries.after_failure(STEADY / 2)
        retries.after_loss(STEADY / 2)
    assert retries.after_failure(STEADY + 1) == LATER[0]
    assert retries.after_loss(STEADY + 1) == SOON[0]


def test_a_device_that_was_unplugged_begins_afresh(retries: Retries) -> None:
    for _ in range(5):
        retries.after_failure(0.0)
    retries.after_absence()
    assert retries.after_failure(0.0) == LATER[0]
