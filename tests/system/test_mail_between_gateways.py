"""Two whole gateways and one broker: mail arrives once, whatever is killed meanwhile."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.gateway_process import GatewayProcess
from tests.lab.mosquitto import Mosquitto
from tests.lab.os_processes import until

pytestmark = pytest.mark.needs("mosquitto")

ROOT = Path(__file__).parents[2]
LONG = 60.0


def text(folder: Path, broker: Mosquitto, node: str, name: str, kind: str) -> str:
    return f"""
[gateway]
node = "{node}"
sockets = "{folder / "run"}"

[routes.unix_socket]
[routes.mqtt]
broker = "{broker.url}"
retry_first = 0.05

[routes.mqtt.mail]
allow = [{{ from = "*@living-pi", to = "echo" }}]

[crew.{name}]
process = "tests.lab.mail_people:{kind}"
parameters = {{ file = "{folder / "notes"}" }}
"""


@pytest.fixture
def gateways(broker: Mosquitto, tmp_path: Path) -> Iterator[dict[str, GatewayProcess]]:
    """A gateway that answers, and one that writes to it without a pause."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = {}
    people = {"kitchen-pi": ("echo", "Echo"), "living-pi": ("writer", "Writer")}
    try:
        for node, (name, kind) in people.items():
            folder = tmp_path / node
            folder.mkdir()
            written = text(folder, broker, node, name, kind)
            found[node] = GatewayProcess(folder, written, environment=environment)
            found[node].start()
        yield found
    finally:
        for gateway in found.values():
            gateway.close()


def notes(gateway: GatewayProcess) -> list[str]:
    file = gateway.file.parent / "notes"
    return file.read_text().splitlines() if file.exists() else []


def answered(gateway: GatewayProcess) -> int:
    return sum(line.endswith(" answered") for line in notes(gateway))


def wait_for_answers(gateway: GatewayProcess, more: int) -> None:
    wanted = answered(gateway) + more
    assert until(lambda: answered(gateway) >= wanted, LONG), notes(gateway)[-20:]


@pytest.mark.timeout(300)
def test_each_letter_is_delivered_once_or_fails_with_a_reason_whatever_route_is_killed(
    gateways: dict[str, GatewayProcess], measured
) -> None:
    kitchen, living = gateways["kitchen-pi"], gateways["living-pi"]
    wait_for_answers(living, 20)
    for gateway in (kitchen, living) * 3:
        os.kill(gateway.processes()["mqtt"], signal.SIGKILL)
        wait_for_answers(living, 30)
    for gateway in (living, kitchen):
        gateway.close()
    outcomes = dict(line.split(" ", 1) for line in notes(living))
    heard = Counter(notes(kitchen))
    said = Counter(outcome for outcome in outcomes.values())
    assert set(heard.values()) == {1}, "delivered twice"
    assert all(outcome.split()[0] in ("answered", "unsent", "failed") for outcome in said), said
    done = {number for number, outcome in outcomes.items() if outcome == "answered"}
    assert done <= set(heard)
    unsent = {number for number, outcome in outcomes.items() if outcome.startswith("unsent")}
    assert not unsent & set(heard)
    measured("letters answered across 6 kills", len(done), unit="")
    measured("letters that failed meanwhile", len(outcomes) - len(done), unit="")


def test_a_program_at_the_front_door_writes_to_the_other_gateway(
    gateways: dict[str, GatewayProcess],
) -> None:
    living = gateways["living-pi"]
    wait_for_answers(living, 1)
    request = {"op": "send", "to": "echo@kitchen-pi", "subject": "count", "body": -1}
    assert living.ask(request) == -1
