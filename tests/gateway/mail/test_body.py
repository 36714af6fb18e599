"""What a letter may carry is the same whether it crosses a process or not."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import IntEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BodyError
from gateway.mail.body import DEPTH, checked, register, registered, restored
from gateway.mail.codec import decode, encode
from gateway.mail.message import Message


@register
class BodyTestPose(msgspec.Struct, frozen=True):
    """A Struct that may travel."""

    x: int
    note: str = ""
    trail: list[float] = []
    when: datetime | None = None
    extra: Any = None


class Nowhere(tzinfo):
    """A zone that does not know its offset: as good as none."""

    def utcoffset(self, when: datetime | None) -> None:
        return None

    def dst(self, when: datetime | None) -> None:
        return None

    def tzname(self, when: datetime | None) -> None:
        return None


class Level(IntEnum):
    LOW = 1


def over_the_wire(body: Any) -> Any:
    """Return what a reader in another OS process gets."""
    safe, body_type = checked(body)
    letter = Message("1", "1", 1, 0.0, "a", "b", "s", safe, body_type=body_type)
    return decode(encode(letter)).body


zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(
    min_value=datetime(2, 1, 1),  # noqa: DTZ001
    max_value=datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=zones,
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | texts
    | st.binary(max_size=20)
    | moments
)
bodies = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(bodies)
def test_a_body_is_the_same_in_a_thread_and_over_the_wire(body: Any) -> None:
    handed_over, _ = checked(body)
    assert handed_over == body
    assert over_the_wire(body) == body


@given(bodies)
def test_no_container_is_shared_with_the_writer(body: Any) -> None:
    handed_over, _ = checked(body)
    assert not containers(handed_over) & containers(body)


def containers(value: Any) -> set[int]:
    """Return the ids of every list and dict in ``value``; empty tuples and the like are shared."""
    if isinstance(value, dict):
        return {id(value)}.union(*(containers(item) for item in value.values()))
    if isinstance(value, list):
        return {id(value)}.union(*(containers(item) for item in value))
    return set()


def nested(depth: int) -> Any:
    body: Any = 1
    for _ in range(depth):
        body = [body]
    return body


REFUSED = {
    "a set": {1},
    "an object": object(),
    "a complex number": 1j,
    "an enum": Level.LOW,
    "a subclass of dict": OrderedDict(a=1),
    "one more than 64 bits": 2**63,
    "one less than 64 bits": -(2**63) - 1,
    "a naive time": datetime(2026, 1, 1),  # noqa: DTZ001
    "a time whose zone knows nothing": datetime(2026, 1, 1, tzinfo=Nowhere()),
    "a time before UTC has years": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))),
    "a time after UTC has years": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2))),
    "too deep": nested(DEPTH + 1),
    "far too deep": nested(5_000),
    "a number as a key": {1: 2},
    "bytes as a key": {b"a": 2},
    "half a surrogate pair": "a\udcff",
    "half a pair as a key": {"\udcff": 1},
    "a class": BodyTestPose,
    "a function": len,
}


MADE_PLAIN = ("a set", "an enum", "a subclass of dict")
"""What msgspec makes plain where it stands in a Struct, alike on either way."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_letter_carries_is_refused_wherever_it_stands(name: str) -> None:
    body = REFUSED[name]
    wraps = [body, [0, body], {"a": body}]
    if name not in MADE_PLAIN:
        wraps.append(BodyTestPose(1, extra=body))
    for wrapped in wraps:
        with pytest.raises(BodyError):
            checked(wrapped)


@pytest.mark.parametrize("name", MADE_PLAIN)
def test_a_struct_makes_plain_what_it_can(name: str) -> None:
    pose = BodyTestPose(1, extra=REFUSED[name])
    assert checked(pose)[0].extra == over_the_wire(pose).extra
    assert type(checked(pose)[0].extra) in (list, int, dict)


@pytest.mark.parametrize("body", [2**63 - 1, -(2**63), nested(DEPTH), [], {}, "", b"", 0.0])
def test_what_just_fits_is_carried(body: Any) -> None:
    assert checked(body)[0] == body
    assert over_the_wire(body) == body


def test_nan_and_the_infinities_travel_between_our_own_processes() -> None:
    body = [float("nan"), float("inf"), -float("inf")]
    assert repr(over_the_wire(body)) == "[nan, inf, -inf]"


def test_a_tuple_arrives_as_a_list_on_either_way() -> None:
    assert checked({"a": (1, (2,))})[0] == {"a": [1, [2]]}


def test_the_refusal_names_the_place() -> None:
    with pytest.raises(BodyError, match=r"body\['left'\]\[1\] is a set"):
        checked({"left": [0, {1}]})
    with pytest.raises(BodyError, match=r"body\['name'\] is text .*'caf\\udce9'.*os.fsencode"):
        checked({"name": "caf\udce9"})


@pytest.mark.parametrize("text", ["café", "\U0001f916", "日本"])
def test_all_that_is_unicode_is_carried(text: str) -> None:
    for body in (text, {text: text}, [text]):
        assert checked(body)[0] == body
        assert over_the_wire(body) == body


def test_a_time_is_handed_over_in_utc() -> None:
    noon = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2, seconds=30)))
    for arrived in (checked([noon])[0][0], over_the_wire([noon])[0]):
        assert arrived == noon
        assert arrived.tzinfo is UTC


# Structs


def test_a_registered_struct_arrives_as_itself() -> None:
    pose = BodyTestPose(3, "here", [0.5], datetime(2026, 1, 1, tzinfo=UTC))
    assert checked(pose) == (pose, "BodyTestPose")
    assert over_the_wire(pose) == pose


def test_a_structs_containers_are_copied() -> None:
    pose = BodyTestPose(3, trail=[0.5])
    assert checked(pose)[0].trail is not pose.trail


@pytest.mark.parametrize(
    "pose",
    [
        BodyTestPose("three"),  # type: ignore[arg-type]
        BodyTestPose(2**63),
        BodyTestPose(1, when=datetime(2026, 1, 1)),  # noqa: DTZ001
        BodyTestPose(1, trail=["far"]),  # type: ignore[list-item]
        BodyTestPose(1, extra=object()),
    ],
)
def test_a_struct_with_wrong_fields_is_refused(pose: BodyTestPose) -> None:
    with pytest.raises(BodyError):
        checked(pose)


def test_a_struct_that_nobody_registered_is_refused() -> None:
    class BodyTestStranger(msgspec.Struct, frozen=True):
        x: int

    with pytest.raises(BodyError, match="@register first"):
        checked(BodyTestStranger(1))
    with pytest.raises(BodyError, match="a Struct is a whole body"):
        checked([BodyTestPose(1)])


def test_a_namesake_of_a_registered_struct_is_refused() -> None:
    namesake = msgspec.defstruct("BodyTestPose", [("x", int)], frozen=True)
    with pytest.raises(BodyError):
        checked(namesake(1))
    with pytest.raises(ValueError, match="rename one"):
        register(namesake)


def test_a_struct_whose_fields_no_letter_carries_cannot_be_registered() -> None:
    for kind in (set[int], dict[int, str], tuple[int, str], complex, Level):
        made = msgspec.defstruct("BodyTestOdd", [("field", kind)], frozen=True)
        with pytest.raises(ValueError):
            register(made)
    assert registered("BodyTestOdd") is None


def test_a_struct_that_may_change_cannot_be_registered() -> None:
    class BodyTestLoose(msgspec.Struct):
        x: int

    with pytest.raises(ValueError, match="frozen"):
        register(BodyTestLoose)


class BodyTestTree(msgspec.Struct, frozen=True):
    """A Struct that holds itself."""

    child: BodyTestTree | None = None


def test_a_struct_may_hold_itself_as_deep_as_any_body() -> None:
    register(BodyTestTree)
    tree = BodyTestTree(BodyTestTree(None))
    assert over_the_wire(tree) == tree
    for _ in range(DEPTH + 1):
        tree = BodyTestTree(tree)
    with pytest.raises(BodyError, match="nested deeper"):
        checked(tree)


def test_a_struct_unknown_here_stays_a_dict() -> None:
    assert restored({"x": 1}, "NobodyKnowsThis") == {"x": 1}
    with pytest.raises(BodyError, match="no BodyTestPose"):
        restored({"x": "three"}, "BodyTestPose")
