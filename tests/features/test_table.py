"""The tables of features are whole."""

from __future__ import annotations

from tests.features.rows import features
from tests.features.table import switches


def test_every_switch_is_thrown_by_some_row() -> None:
    rows = features("rpc.md") + features("services.md")
    assert len(rows) > 40
    assert set(switches()) == {row.switch for row in rows}
