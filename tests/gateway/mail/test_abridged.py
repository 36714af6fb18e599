"""Bodies cut down for whoever watches."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.abridged import MARK, abridged
from gateway.mail.body import checked
from gateway.mail.codec import encode

BODIES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=60)
    | st.binary(max_size=60),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=6),
    max_leaves=40,
)


def size(body: Any) -> int:
    if isinstance(body, str | bytes):
        return len(body)
    if isinstance(body, dict):
        return sum(1 + size(key) + size(item) for key, item in body.items())
    return sum(1 + size(item) for item in body) if isinstance(body, list) else 1


@given(BODIES, st.integers(1, 200))
def test_it_stays_within_its_bound_and_can_be_packed(body: Any, bound: int) -> None:
    kept, _ = abridged(checked(body)[0], bound)
    # Each level of nesting may end in a mark of its own.
    assert size(kept) <= bound + 2 * 40 + 40
    encode(kept)


@given(BODIES)
def test_what_is_small_is_shown_whole(body: Any) -> None:
    kept, was_cut = abridged(body, 1 << 20)
    assert not was_cut
    assert encode(kept) == encode(body)


def test_nothing_is_shared_with_the_body() -> None:
    body: dict[str, Any] = {"inner": [1]}
    kept, _ = abridged(body)
    body["inner"].append(2)
    assert kept == {"inner": [1]}


def test_a_megabyte_is_cut_and_marked() -> None:
    assert abridged("x" * (1 << 20), 10) == ("x" * 9 + MARK, True)
    assert abridged(b"x" * (1 << 20), 10) == (b"x" * 9, True)
    kept, was_cut = abridged({str(key): key for key in range(1000)}, 10)
    assert was_cut
    assert len(kept) < 10
    assert kept[MARK] == MARK


def test_structs_and_times_become_plain() -> None:
    class Speed(msgspec.Struct, frozen=True):
        left: int
        at: datetime

    kept, _ = abridged(Speed(3, datetime(2026, 3, 1, tzinfo=UTC)))
    assert kept == {"left": 3, "at": "2026-03-01T00:00:00+00:00"}
