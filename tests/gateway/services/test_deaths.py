"""Whoever reads or sets a property of a service that is killed is told."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from benchmarks.deaths import USES, DoomedObject, killed_in, left_open
from gateway.services import Services


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_killed_service_is_a_typed_error_at_once(
    house: Services, use: Callable[[Any], Any]
) -> None:
    chance = random.Random(1)
    for _ in range(5):
        doomed = house.start("doomed", DoomedObject)
        # The deadline of its calls is 5 s.
        assert killed_in(partial(use, doomed), doomed.pid, chance) < 2.5
    assert left_open(house.process) == 0
