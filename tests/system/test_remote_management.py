"""A gateway is managed from afar, by one who is allowed to, and takes back what does no good."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.bench_board.board import Board
from drivers.bench_board.simulator import SimulatedBoard
from gateway.clock import RealClock
from routes.mqtt.manage_config import NAME
from tests.lab.gateway_process import DEVICE, TOPIC, GatewayProcess
from tests.lab.mosquitto import Listener, Mosquitto

pytestmark = pytest.mark.needs("mosquitto")

LONG = 60.0


class Manager:
    """Calls by MQTT, as an operator does."""

    def __init__(self, broker: Mosquitto, heard: Listener) -> None:
        self.broker, self.heard, self.calls = broker, heard, 0

    def __call__(self, command: str, **arguments: Any) -> dict[str, Any]:
        self.calls += 1
        number = str(self.calls)
        self.broker.pub(
            f"{TOPIC}/manage/{command}/call",
            json.dumps(arguments),
            response_topic="manager/answers",
            correlation_data=number,
            user_property=("user", "ada"),
        )
        found = self.heard.wait_for(lambda each: each.correlation_data == number, LONG)
        answer: dict[str, Any] = json.loads(found.payload)
        return answer


def text(folder: Path, broker: Mosquitto, allow: list[str]) -> str:
    return f"""
[gateway]
node = "lab"
sockets = "{folder / "run"}"

[routes.serial]
[routes.unix_socket]
[routes.mqtt]
broker = "{broker.url}"
retry_first = 0.05

[routes.mqtt.manage]
allow = {json.dumps(allow)}
settle = 6
audit_file = "{folder / "audit"}"

[devices.bench]
driver = "bench_board"
port = "{folder / "board"}"
"""


@pytest.fixture
def gateway(broker: Mosquitto, tmp_path: Path) -> Iterator[GatewayProcess]:
    allow = ["processes", "restart", "config", "configure", "updates", "log", "tail"]
    clock = RealClock()
    with (
        SimulatedBoard(tmp_path / "board", Board(clock=clock), clock=clock),
        GatewayProcess(tmp_path, text(tmp_path, broker, allow)) as gateway,
        broker.listen(f"{DEVICE}/state") as states,
    ):
        gateway.start()
        states.wait_for(lambda each: b'"healthy"' in each.payload, LONG)
        yield gateway


@pytest.fixture
def manage(gateway: GatewayProcess, broker: Mosquitto) -> Iterator[Manager]:
    with broker.listen("manager/answers") as heard:
        yield Manager(broker, heard)


def error(answer: dict[str, Any]) -> str:
    assert answer["ok"] is False, answer
    return f"{answer['error']['code']}: {answer['error']['reason']}"


def test_processes_are_listed_and_restarted(gateway: GatewayProcess, manage: Manager) -> None:
    before = gateway.processes()["serial"]
    listed = {each["name"]: each["state"] for each in manage("processes")["result"]}
    routes = ("main", "mqtt", "serial", "unix_socket")
    assert {name: listed.get(name) for name in routes} == dict.fromkeys(routes, "living")
    assert manage("restart", process="serial")["result"] == {
        "process": "serial",
        "state": "living",
    }
    assert gateway.processes()["serial"] != before
    assert "there is no process 'cereal'" in error(manage("restart", process="cereal"))
    assert "cannot restart itself" in error(manage("restart", process="mqtt"))
    assert 'write {"process": "serial"}' in error(manage("restart", name="serial"))


def test_what_has_no_updater_says_so(manage: Manager) -> None:
    assert manage("updates")["result"] == {
        "updater": None,
        "reason": "no updater is configured",
    }


def test_the_log_and_the_mail_are_shown_for_a_while(manage: Manager, broker: Mosquitto) -> None:
    with broker.listen(f"{TOPIC}/log/#", f"{TOPIC}/tail/#") as shown:
        assert manage("log", level="debug", seconds=30)["ok"]
        assert manage("tail", seconds=30, recipient="boss")["ok"]
        manage("processes")
        shown.wait_for(lambda each: each.topic.startswith(f"{TOPIC}/tail/"), LONG)
        shown.wait_for(lambda each: each.topic == f"{TOPIC}/log/mqtt", LONG)
    assert "error" in manage("tail", seconds="soon")


def test_a_change_of_the_configuration_is_applied_and_lasts(
    gateway: GatewayProcess, manage: Manager, broker: Mosquitto
) -> None:
    remote = gateway.file.parent / "conf.d" / NAME
    change = "[devices.bench.settings]\nstream_hz = 20\n"
    answer = manage("configure", text=change)
    assert answer["result"] == {"file": str(remote), "restarted": ["serial"]}
    assert remote.read_text() == change
    with broker.listen(f"{DEVICE}/analogue") as telemetry:
        telemetry.wait_for_count(3, LONG)
    document = manage("config")["result"]["document"]
    assert document["devices"]["bench"]["settings"] == {"stream_hz": 20}
    notes = [json.loads(line) for line in (gateway.file.parent / "audit").read_text().splitlines()]
    assert [(each["command"], each["who"], each["result"]) for each in notes] == [
        ("configure", {"user": "ada"}, "begun"),
        ("configure", {"user": "ada"}, "ok"),
        ("config", {"user": "ada"}, "begun"),
        ("config", {"user": "ada"}, "ok"),
    ]
    gateway.wait_for_log(r"configure .* by user=ada on gateway/lab/manage/configure/call: ok")


def test_a_change_that_costs_a_device_is_taken_back(
    gateway: GatewayProcess, manage: Manager, broker: Mosquitto
) -> None:
    remote = gateway.file.parent / "conf.d" / NAME
    answer = manage("configure", text='[devices.bench]\nport = "/dev/ttyNowhere"\n')
    assert "taken back: bench is absent" in error(answer)
    assert not remote.exists()
    with broker.listen(f"{DEVICE}/state") as states:
        states.wait_for_last(lambda each: b'"healthy"' in each.payload, LONG)
    answer = manage("configure", text="[devices.bench]\nbaudd = 1\n")
    assert "unknown key; did you mean" in error(answer)
    assert "refused" in error(manage("configure", text='[crew.x]\nprocess = "os:x"\n'))
    assert not remote.exists()


def test_a_change_on_trial_is_taken_back_where_its_watcher_is_killed(
    gateway: GatewayProcess, broker: Mosquitto
) -> None:
    remote = gateway.file.parent / "conf.d" / NAME
    change = {"text": '[devices.bench]\nport = "/dev/ttyNowhere"\n'}
    broker.pub(f"{TOPIC}/manage/configure/call", json.dumps(change))
    gateway.wait_for_log("ttyNowhere is not there", LONG)
    assert remote.exists()
    os.kill(gateway.processes()["mqtt"], signal.SIGKILL)
    gateway.wait_for_log("on trial when this route was killed: taken back", LONG)
    assert list(remote.parent.iterdir()) == []
    with broker.listen(f"{DEVICE}/state") as states:
        states.wait_for_last(lambda each: b'"healthy"' in each.payload, LONG)


def test_what_is_not_allowed_is_refused_and_on_record(broker: Mosquitto, tmp_path: Path) -> None:
    with (
        GatewayProcess(tmp_path, text(tmp_path, broker, ["processes"])) as gateway,
        broker.listen("manager/answers") as heard,
    ):
        gateway.start()
        broker.wait_for_log(r"gateway-lab 1 gateway/lab/manage/\+/call", LONG)
        manage = Manager(broker, heard)
        assert "'restart' is not allowed" in error(manage("restart", process="serial"))
        assert "there is no command 'format'" in error(manage("format"))
        assert manage("processes")["ok"]
        gateway.wait_for_log(r"restart .* by user=ada .*: refused: 'restart' is not allowed")
