from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from gateway.device import Unit
from gateway.errors import BodyError, GatewayError, RefusedError
from gateway.mail.body import register
from gateway.mail.message import Message
from gateway.testing.publications import CheckedOutside, misfit


@register
class ContractReading(msgspec.Struct, frozen=True):
    volts: Annotated[float, msgspec.Meta(ge=0)]


class Unregistered(msgspec.Struct, frozen=True):
    volts: float


DECLARED: dict[str, Any] = {
    "reading": ContractReading,
    "lost": Unregistered,
    "level": Annotated[int, Unit("%"), msgspec.Meta(le=100)],
    "pins/+": bool,
    "list": list[int],
}


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("reading", ContractReading(2.5)),
        ("level", 100),
        ("pins/3", True),
        ("list", [1, 2]),
    ],
)
def test_what_fits_is_not_spoken_of(topic: str, body: Any) -> None:
    assert misfit(DECLARED, topic, body) == ""


@pytest.mark.parametrize(
    ("topic", "body", "problem"),
    [
        ("readings", 1, "'readings', which is not among its publications: reading"),
        ("reading", {"volts": 1.0}, "not a ContractReading"),
        ("reading", ContractReading(-1.0), "cannot travel"),
        ("lost", Unregistered(1.0), "decorate the class with @register"),
        ("level", 101, "<= 100"),
        ("level", 1.5, "got `float`"),
        ("pins/3/4", True, "not among"),
        ("pins/3", 1, "got `int`"),
        ("list", ["a"], "got `str`"),
    ],
)
def test_what_does_not_fit_is_told_in_words(topic: str, body: Any, problem: str) -> None:
    assert problem in misfit(DECLARED, topic, body)


LETTER = Message("1", "1", 1, 0.0, "test", "device@x", "dim")


def test_the_house_keeps_what_is_wrong_and_writes_all_down() -> None:
    house = CheckedOutside("device")
    house.publish("devices/device/level", 1000)  # not known yet what is right
    house.declared = DECLARED
    house.publish("devices/device/level", 1000)
    house.publish("devices/device/state", {"state": "open"}, retain=True)
    house.bounce(LETTER, GatewayError())
    house.bounce(LETTER, RefusedError("too much"))
    house.reply(LETTER, {1, 2})
    assert len(house.published) == 3
    assert [problem.split(":")[0] for problem in house.problems] == [
        "on 'level' it published 1000",
        "dim was refused without a word of why",
        "what dim returned cannot travel",
    ]


def test_the_house_refuses_what_no_letter_carries() -> None:
    house = CheckedOutside("device")
    with pytest.raises(BodyError):
        house.publish("devices/device/level", object())
    assert house.refused[0].startswith("devices/device/level: body is a object")
    assert house.published == []
