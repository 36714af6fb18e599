"""Services for one test, and a robot among them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.services import Services, services
from tests.lab.little_robot import Robot


@pytest.fixture
def house() -> Iterator[Services]:
    with services() as found:
        yield found


@pytest.fixture
def robot(house: Services) -> Robot:
    return house.start("robot", Robot, speed=3)
