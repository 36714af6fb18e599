"""A time-out is a number of seconds that end, wherever one is named."""

from __future__ import annotations

from fractions import Fraction
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.timeout import MOST, in_seconds


@pytest.mark.parametrize("timeout", [None, "5", b"5", True, False, 1j, [5.0]])
def test_what_is_no_number_is_refused(timeout: Any) -> None:
    with pytest.raises(TypeError, match="a timeout is a number of seconds, not"):
        in_seconds(timeout)


@pytest.mark.parametrize("timeout", [inf, nan, -nan])
def test_what_has_no_end_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="a number of seconds that end, not"):
        in_seconds(timeout)


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        (5, 5.0),
        (-3, 0.0),
        (-inf, 0.0),
        (1e10, MOST),
        (10**400, MOST),
        (-(10**400), 0.0),
        (Fraction(1, 2), 0.5),
        (Fraction(-1, 2), 0.0),
    ],
)
def test_any_other_number_can_be_waited_for(timeout: Any, seconds: float) -> None:
    found = in_seconds(timeout)
    assert (found, type(found)) == (seconds, float)


@given(st.floats(0.0, MOST))
def test_what_can_be_waited_for_is_left_as_it_is(timeout: float) -> None:
    assert in_seconds(timeout) == timeout
