from __future__ import annotations

import datetime
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.toml_text import toml_text

# TOML has no surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | TEXT
    | st.datetimes(timezones=st.just(datetime.UTC))
    | st.dates()
    | st.times(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_what_is_written_reads_the_same(document: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(document)) == document


def test_what_is_not_finite_has_a_word_too() -> None:
    read = tomllib.loads(toml_text({"a": math.inf, "b": -math.inf, "c": math.nan}))
    assert (read["a"], read["b"], math.isnan(read["c"])) == (math.inf, -math.inf, True)


def test_what_toml_has_no_word_for_is_refused() -> None:
    with pytest.raises(TypeError, match="no word for a NoneType"):
        toml_text({"a": None})


@pytest.mark.parametrize("readme", sorted(Path(__file__).parents[3].glob("drivers/*/README.md")))
def test_the_configurations_of_the_drivers_survive(readme: Path) -> None:
    text = readme.read_text().partition("```toml\n")[2].partition("```")[0]
    document = tomllib.loads(text)
    assert document
    assert tomllib.loads(toml_text(document)) == document
