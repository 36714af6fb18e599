"""Two hundred boards at ten frames a second each, in one gateway, for a short while.

``python -m benchmarks.crowd`` is the long one.
"""

from __future__ import annotations

import resource

import pytest

from benchmarks.crowd import figures, measure

DEVICES = 200
HERTZ = 10
SECONDS = 8.0


@pytest.mark.timeout(180)
def test_two_hundred_boards_are_all_heard_in_time_by_one_core_at_most(measured) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # As a service begins; what more is needed the gateway allows itself.
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        found = figures(measure(DEVICES, HERTZ, SECONDS), DEVICES, HERTZ)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
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
