"""Processes start in waves, each of which needs only earlier ones."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.supervision.order import waves

graphs = st.integers(1, 8).flatmap(
    lambda size: st.fixed_dictionaries(
        {
            str(number): st.lists(st.integers(0, size - 1).map(str), max_size=3, unique=True)
            for number in range(size)
        }
    )
)


@given(graphs)
def test_every_wave_needs_only_earlier_ones_or_there_is_a_circle(
    depends: dict[str, list[str]],
) -> None:
    try:
        found = waves(depends)
    except ConfigError as error:
        circle = str(error).rpartition(": ")[2].split(" → ")
        assert circle[0] == circle[-1]
        for name, other in pairwise(circle):
            assert other in depends[name]
        return
    assert sorted(name for wave in found for name in wave) == sorted(depends)
    place = {name: number for number, wave in enumerate(found) for name in wave}
    for name, needed in depends.items():
        assert place[name] == max((place[other] + 1 for other in needed), default=0)


def test_a_dependency_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match="'a' depends on 'b'"):
        waves({"a": ["b"]})


def test_nobody_is_no_wave() -> None:
    assert waves({}) == []
