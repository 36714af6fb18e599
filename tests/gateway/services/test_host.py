"""The process in which an object lives, where nobody or somebody else writes to it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import RefusedError
from gateway.rpc.arguments import packed
from gateway.services import Services
from gateway.services.proxy import ABOUT
from gateway.services.start_terms import StartTerms, member_data
from tests.lab.little_robot import Robot
from tests.lab.os_processes import until

PATIENCE = 20.0


def test_one_that_nobody_makes_anything_of_ends(house: Services) -> None:
    data = member_data("robot", "tests.lab.little_robot:Robot", StartTerms(timeout=0.2))
    house.process.application.add_member(data)
    assert until(lambda: "robot" not in house.process.process_names(), PATIENCE)


def test_before_it_is_made_nothing_is_told_and_afterwards_it_is_not_made_again(
    house: Services,
) -> None:
    main = house.process
    data = member_data("robot", "tests.lab.little_robot:Robot", StartTerms(timeout=PATIENCE))
    main.application.add_member(data)
    with pytest.raises(RefusedError, match="'robot' is not made yet"):
        main.wait_for_reply(main.send("robot", ABOUT, receipt=True), PATIENCE)
    assert house.running() == []
    make = {"make": packed((8,), {})}
    told = main.wait_for_reply(main.send("robot", ABOUT, make, receipt=True), PATIENCE).body
    assert told["class"] == "tests.lab.little_robot:Robot"
    with pytest.raises(RefusedError, match="is made already"):
        main.wait_for_reply(main.send("robot", ABOUT, make, receipt=True), PATIENCE)
    assert house.get_proxy("robot").speed == 8


def test_a_service_that_is_told_to_end_while_it_is_made_ends(house: Services) -> None:
    data = member_data("robot", "tests.lab.little_robot:Robot", StartTerms(timeout=PATIENCE))
    house.process.application.add_member(data)
    assert house.close("robot", timeout=PATIENCE)


def test_the_arguments_of_a_call_are_not_those_of_the_house(house: Services) -> None:
    """A constructor's argument may be called like any of `start`'s own."""
    made = house.start("made", "tests.lab.little_robot:Robot", name="factory")
    assert made.name == "factory"
    assert isinstance(made.speed, int)
    assert repr(made).endswith(f"{Robot.__qualname__}>")


@pytest.mark.parametrize("body", [5, "x", [1], 0, {"make": 5}, {"make": [1]}])
def test_nonsense_is_refused_and_kills_nothing(house: Services, body: Any) -> None:
    """Before it is made, and afterwards."""
    main = house.process
    data = member_data("robot", "tests.lab.little_robot:Robot", StartTerms(timeout=PATIENCE))
    main.application.add_member(data)
    for make in ({"make": packed((8,), {})}, None):
        with pytest.raises(RefusedError):
            main.wait_for_reply(main.send("robot", ABOUT, body, receipt=True), PATIENCE)
        main.wait_for_reply(main.send("robot", ABOUT, make, receipt=True), PATIENCE)
    assert house.get_proxy("robot").speed == 8
