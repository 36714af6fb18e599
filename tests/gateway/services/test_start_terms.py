"""The terms of a start, and the names of what is started."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.services.start_terms import StartTerms, member_data, name_of
from gateway.supervision.recruit import spec_of
from tests.lab.little_robot import Robot, make_robot


def test_they_change_one_by_one() -> None:
    terms = StartTerms().changed(timeout=2.0).changed(workers=3)
    assert (terms.timeout, terms.workers, terms.grace) == (2.0, 3, 1.0)


@pytest.mark.parametrize(
    "wrong",
    [{"timeout": 0}, {"timeout": 1e9}, {"grace": -1}, {"workers": -1}, {"waiting": -1}, {"x": 1}],
)
def test_what_cannot_stand_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        StartTerms().changed(**wrong)


def test_a_service_is_a_member_that_is_forgotten_when_it_is_over() -> None:
    spec = spec_of(member_data("robot", "a:B", StartTerms()))
    assert spec.ephemeral
    assert (spec.mode, spec.frequency, spec.restart.kind) == ("fork", 0.0, "temporary")
    assert spec.find_class().__name__ == "ServiceHost"


def test_a_name_is_found_or_refused() -> None:
    assert name_of(Robot) == "tests.lab.little_robot:Robot"
    assert name_of(make_robot) == "tests.lab.little_robot:make_robot"
    assert name_of("tests.lab.little_robot:Robot") == "tests.lab.little_robot:Robot"
    for wrong in (3, Robot().grip, "nowhere:Robot"):
        with pytest.raises(ConfigError):
            name_of(wrong)
