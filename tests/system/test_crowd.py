"""Two hundred boards at ten frames a second each, in one gateway, for a short while.

``python -m benchmarks.crowd`` is the long one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEVICES = 200
HERTZ = 10
SECONDS = 8.0


@pytest.mark.alone
@pytest.mark.timeout(180)
def test_two_hundred_boards_are_all_heard_in_time_by_one_core_at_most(measured) -> None:
    # A program of its own, which has loaded nothing but the gateway, and may have as
    # many descriptors as a service begins with: what more is needed it allows itself.
    command = [sys.executable, "-m", "benchmarks.crowd", "--json"]
    command += ["--devices", str(DEVICES), "--hz", str(HERTZ), "--seconds", str(SECONDS)]
    told = subprocess.run(
        ["bash", "-c", 'ulimit -S -n 1024 && exec "$@"', "bash", *command],
        stdout=subprocess.PIPE,
        check=True,
        timeout=150,
        cwd=ROOT,
    ).stdout
    found = json.loads(told)
    assert found["states"] == {"healthy": DEVICES}
    assert found["failed"] == 0
    measured("200 boards: called stale", found["stale"], limit=0.0, unit="times")
    measured("an idle program on this machine: lateness p99", found["machine_p99_ms"], unit="ms")
    measured("200 boards: lateness p99", found["lateness_p99_ms"], limit=100, unit="ms")
    measured("200 boards: cores of the gateway", found["cores"], limit=1.0, unit="cores")
    measured("200 boards: memory of the gateway", found["pss_mb"], limit=200, unit="MB")
    measured("200 boards: descriptors of the router", found["serial_descriptors"], unit="")
    assert found["stale"] == 0
    assert found["heard"] >= 0.98 * found["expected"]
