"""The figures of waits and deaths under load are measured at all, and nothing times out."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = "import json; from benchmarks.waits import measure; print(json.dumps(measure(1)))"


def test_nobody_waits_in_vain_and_every_death_is_told() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["nested_wait_timeouts"] == 0
    assert told["death_notice_ms"] > 0
