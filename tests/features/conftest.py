"""The program that the runs without a feature are forked from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.features.warm import WarmPytest


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmPytest]:
    """Start it once, for all of them."""
    with WarmPytest() as program:
        yield program
