"""The tables of features in the documentation, and what is wanted of each of their rows.

A row names the feature, the test that shows it, and the switch that turns it off
(`tests.features.switches`). The test has to exist, and to go red with the switch.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.features.table import switches
from tests.features.warm import ROOT, WarmPytest

ROW = re.compile(
    r"^\| (?P<feature>[^|]+?) +\| `(?P<test>tests/[^`|]+)` +\| `(?P<switch>[a-z-]+)` +\|$",
    re.MULTILINE,
)


class Feature(NamedTuple):
    """One row."""

    name: str
    test: str
    switch: str

    def __str__(self) -> str:
        return self.name.replace(" ", "_")

    def check_exists(self) -> None:
        """Fail where there is no such test or no such switch."""
        path, _, name = self.test.partition("::")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {re.escape(name)}\(", text, re.MULTILINE)
        assert self.switch in switches()

    def check_missed(self, warm: WarmPytest) -> None:
        """Fail where the test is green though the feature is switched off."""
        run = warm.run_without(self.switch, self.test)
        # 1 is a failed test; anything else is a mistake in the row or in the switch.
        assert run.status == 1, run.said[-4000:]
        assert re.search(r"\d+ (failed|error)", run.said)


def features(page: str) -> list[Feature]:
    """Return the rows of the table in one page of the documentation.

    Raises `ValueError` for a line that is meant to be a row and cannot be read.
    """
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = [Feature(*row.groups()) for row in ROW.finditer(text)]
    meant = [line for line in text.splitlines() if line.startswith("| ") and "`tests/" in line]
    if len(found) != len(meant):
        raise ValueError(f"{page}: {len(meant)} rows, of which {len(found)} can be read")
    return found


def shown(rows: list[Feature]) -> list[Feature]:
    """Return ``rows`` with each pair of a test and a switch once."""
    return sorted({(row.switch, row.test): row for row in rows}.values())
