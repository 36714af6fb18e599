"""Every feature of the tables in the documentation has a test, which sees it missing.

A row names the feature, the test that shows it, and the switch that turns it off
(`tests.features.switches`). The test has to exist, and to go red with the switch.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.features.table import switches

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs/rpc.md", ROOT / "docs/services.md")

ROW = re.compile(
    r"^\| (?P<feature>[^|]+?) +\| `(?P<test>tests/[^`|]+)` +\| `(?P<switch>[a-z-]+)` +\|$",
    re.MULTILINE,
)


class Feature(NamedTuple):
    """One row."""

    name: str
    test: str
    switch: str


def rows() -> list[Feature]:
    """Return every row of every table."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES if page.exists()]
    return [Feature(*found.groups()) for text in texts for found in ROW.finditer(text)]


FEATURES = rows()


def test_the_tables_are_read() -> None:
    for page in PAGES:
        if page.exists():
            lines = page.read_text(encoding="utf-8").splitlines()
            tests = [line for line in lines if line.startswith("| ") and "`tests/" in line]
            assert len(tests) == len(ROW.findall("\n".join(lines)))
    assert len(FEATURES) > 40


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name.replace(" ", "_"))
def test_the_test_of_a_feature_exists(feature: Feature) -> None:
    path, _, name = feature.test.partition("::")
    assert re.search(rf"^(async )?def {re.escape(name)}\(", (ROOT / path).read_text(), re.MULTILINE)
    assert feature.switch in switches()


def test_every_switch_is_thrown_by_some_row() -> None:
    assert set(switches()) == {feature.switch for feature in FEATURES}


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "feature",
    sorted({(feature.switch, feature.test): feature for feature in FEATURES}.values()),
    ids=lambda feature: feature.name.replace(" ", "_"),
)
def test_a_feature_that_is_switched_off_is_missed(feature: Feature, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, "-p", "no:xdist", "--without", feature.switch, feature.test],
        cwd=ROOT,
        env={
            **{name: each for name, each in os.environ.items() if not name.startswith("PYTEST_")},
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    # 1 is a failed test; anything else is a mistake in the row or in the switch.
    assert result.returncode == 1, result.stdout[-2000:] + result.stderr[-2000:]
    assert re.search(r"\d+ (failed|error)", result.stdout)
