"""A fleet of five, for a moment: whatever is said of a thousand was measured by the same program.

``python -m benchmarks.fleet`` is the large one. What it comes to is not judged here, but
that every figure is there, that nothing was lost on the way, and that it cleans up.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import descendants

ROOT = Path(__file__).parents[2]
NODES = 5
RETAINED = 14

pytestmark = [pytest.mark.needs("mosquitto"), pytest.mark.timeout(420)]


def command(*more: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.fleet", "--nodes", str(NODES), *more]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fleet") / "fleet.svg"


@pytest.fixture(scope="module")
def found(drawn: Path) -> dict[str, Any]:
    options = ["--seconds", "2", "--rate", "20", "--outage", "0.5", "--json"]
    told = subprocess.run(
        command(*options, "--picture", str(drawn)),
        stdout=subprocess.PIPE,
        check=True,
        timeout=400,
        cwd=ROOT,
    )
    result: dict[str, Any] = json.loads(told.stdout)
    return result


def test_every_node_connects_and_comes_back(found: dict[str, Any]) -> None:
    (run,) = found["runs"]
    for what in ("cold", "blink", "outage", "outage_without_jitter"):
        assert run[what]["connected"] == NODES, what
        assert sum(run[what]["histogram"]) == NODES, what
    # Once from cold and once after each outage; a starved machine may lose one more.
    assert run["counts"]["connections"] >= 4 * NODES
    assert run["counts"]["faults"] == 0


def test_a_new_operator_is_told_all_that_is_retained(found: dict[str, Any]) -> None:
    (run,) = found["runs"]
    assert run["retained"] == NODES * RETAINED
    expected = {
        "everything": NODES * RETAINED,
        "devices": NODES * 8,
        "devices_qos1": NODES * 8,
        "overview": NODES * 2,
    }
    for window, messages in expected.items():
        assert run["windows"][window]["snapshot"]["messages"] == messages, window


def test_readings_arrive_and_calls_are_answered(found: dict[str, Any]) -> None:
    (run,) = found["runs"]
    for window in ("devices", "devices_qos1"):
        latency, calls = (run["windows"][window][what] for what in ("latency", "calls"))
        assert latency["count"] > 0
        assert 0 < latency["p50_ms"] <= latency["p99_ms"] <= latency["max_ms"]
        assert calls["count"] == calls["asked"] > 0
    assert run["windows"]["overview"]["latency"] == {"count": 0}
    assert run["windows"]["idle"]["published_per_s"] == 0


def test_what_it_costs_is_told_of_broker_and_clients(found: dict[str, Any]) -> None:
    (run,) = found["runs"]
    assert run["broker"]["settled_mb"] > run["broker"]["empty_mb"] > 0
    assert run["broker"]["descriptors"] >= NODES
    assert run["clients"]["threads_per_node"] == 1
    assert run["clients"]["kilobytes_per_node"] > 0


@pytest.mark.usefixtures("found")
def test_the_picture_is_one(drawn: Path) -> None:
    root = ElementTree.fromstring(drawn.read_text(encoding="utf-8"))
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 4


def test_an_interrupted_run_ends_its_nodes_and_its_broker() -> None:
    with subprocess.Popen(
        command("--seconds", "600"), stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as fleet:
        assert fleet.stderr is not None
        children: set[int] = set()
        try:
            for line in fleet.stderr:
                if "idle" in line:
                    break
            children = set(descendants(fleet.pid))
            fleet.send_signal(signal.SIGINT)
            said = fleet.stderr.read()
            assert fleet.wait(120) == 130
        finally:
            fleet.kill()
    assert said == "interrupted; the nodes and the broker are ended\n"
    assert len(children) == 3
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []


def test_more_nodes_than_descriptors_are_refused_by_a_sentence() -> None:
    # As a service that may have few: the hard limit cannot be raised again.
    words = ["bash", "-c", 'ulimit -n 150 && exec "$@"', "bash", *command()]
    told = subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        check=False,
    )
    assert told.returncode == 1
    assert "descriptors are needed and the system allows 150: raise the hard limit" in told.stderr
    assert "Traceback" not in told.stderr
