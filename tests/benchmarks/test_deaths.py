"""Whoever calls somebody who is killed is told at once, whatever kind of call it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from benchmarks.deaths import CALLS, USES

ROUNDS = 50
"""Of each kind of call: 350 deaths in all."""


@pytest.mark.alone
def test_a_killed_peer_is_a_typed_error_at_once(
    record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """In a program of its own, since the size of this one would be measured as well."""
    program = [sys.executable, "-m", "benchmarks.deaths", "--json", "--rounds", str(ROUNDS)]
    run = subprocess.run(program, capture_output=True, text=True, timeout=240, check=True)
    told = json.loads(run.stdout)
    with capsys.disabled():
        print()
        for kind in (*CALLS, *USES):
            half, most = told[kind]["median_ms"], told[kind]["p99_ms"]
            record_property(f"{kind}_median_ms", half)
            record_property(f"{kind}_p99_ms", most)
            print(f"killed within {kind}: median {half} ms (5), p99 {most} ms (50)")
    assert told["transactions_left"] == 0
    # What it takes on a quiet machine is printed; a busy one may take ten times as long.
    assert all(told[kind]["median_ms"] <= 50 for kind in (*CALLS, *USES))
    assert all(told[kind]["p99_ms"] <= 500 for kind in (*CALLS, *USES))
