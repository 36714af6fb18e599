"""The prometheus route, scraped over HTTP and read by prometheus_client's own parsers."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_of
from prometheus_client.parser import text_string_to_metric_families

from gateway.application import Application
from gateway.process.process import Process
from routes.prometheus import listener
from routes.prometheus.router import PrometheusRouter
from routes.prometheus.settings import Settings

DEADLINE = 20.0

REPORT = {
    "time": 1000.0,
    "node": "kitchen-pi",
    "version": "1.2",
    "verdict": "warning",
    "problems": [{"key": "x", "level": "warning", "what": "x", "advice": "y"}],
    "machine": {
        "uptime": {"value": {"seconds": 5.0}, "quality": "good", "age": 0.5},
        "temperature": {
            "value": {"celsius": 48.5, "zones": {"cpu": 48.5}},
            "quality": "good",
            "age": 0.5,
        },
        "power": {"value": None, "quality": "absent", "age": 0.5, "reason": "no Pi"},
    },
    "processes": {"serial": {"state": "living", "restarts": 2}},
    "routes": {
        "serial": {"counters": {"value": {"mail.accepted": 7, "mail.queued": 1, "frames": 3}}}
    },
    "devices": {
        "wheels": {
            "events": {"value": {"proven": 2}},
            "counters": {"value": {"frames": 40, "noise": 1, "queued": 0}},
        }
    },
    "spools": {"mqtt": {"value": {"queued": 12, "dropped": 1}}},
    "errors_seen": {"warning": 3},
}


class House(Process):
    """Publishes what the gateway would, and has a test ask."""

    def birth(self) -> None:
        self.publish("health/whole", REPORT, retain=True)
        wheels = {"state": "healthy", "connected": True, "cause": "", "since": 900.0}
        self.publish("devices/wheels/state", wheels, retain=True)
        for number in range(5):
            gone = {"state": "absent", "connected": False, "cause": "", "since": 900.0}
            self.publish(f"devices/spare{number}/state", gone, retain=True)
        self.publish("routes/serial/state", {"state": "connected", "since": 900.0}, retain=True)
        self.publish("routes/mqtt/state", {"state": "waiting", "since": 900.0}, retain=True)


def play(scene: Any, settings: Settings | None = None) -> Any:
    """Return what ``scene(port, main)`` returns, on a thread beside the main process's own."""
    results: list[Any] = []

    class Main(Process):
        def birth(self) -> None:
            self.subscribe("routes/prometheus/state", self.on_state)
            self.add_filter(callback=self.on_done, subject="^done$")

        def on_state(self, message: Any) -> None:
            if message.body["state"] == "connected":
                port = int(message.body["cause"].rpartition(":")[2].partition("/")[0])
                self.add_child_thread("scene", lambda: self.play(port))
            elif message.body["state"] == "waiting":
                self.add_child_thread("scene", lambda: self.play(message.body["cause"]))

        def play(self, port: Any) -> None:
            try:
                results.append(scene(port, self))
            finally:
                self.send("main", "done")

        def on_done(self, message: Any) -> None:
            self.die()

    class Play(Application):
        def build(self) -> None:
            self.add_process("house", House)
            self.add_process(
                "prometheus",
                PrometheusRouter,
                depends=("house",),
                route="prometheus",
                parameters={"settings": settings or Settings(port=0)},
            )

    assert Play(main=Main).run() == 0
    (result,) = results
    return result


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as used:
        yield used


def get(port: int, path: str = "/metrics", method: str = "GET", accept: str = "") -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request(method, path, headers={"Accept": accept} if accept else {})
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


def samples_of(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_tells_the_report_the_states_and_the_counters() -> None:
    status, headers, text = play(lambda port, main: get(port))
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert int(headers["Content-Length"]) == len(text.encode())
    samples = samples_of(text)
    expected = {
        ("gateway_info", "1.2", "kitchen-pi"): 1,
        ("gateway_health_level",): 1,
        ("gateway_problems", "warning"): 1,
        ("gateway_problems", "critical"): 0,
        ("gateway_log_records_total", "warning"): 3,
        ("gateway_machine_uptime_seconds",): 5,
        ("gateway_machine_temperature_celsius", "cpu"): 48.5,
        ("gateway_process_restarts_total", "serial"): 2,
        ("gateway_route_state", "connected", "serial"): 1,
        ("gateway_route_state", "serial", "waiting"): 0,
        ("gateway_route_letters_total", "accepted", "serial"): 7,
        ("gateway_route_statistic", "frames", "serial"): 3,
        ("gateway_spool_queued_letters", "mqtt"): 12,
        ("gateway_spool_dropped_letters_total", "mqtt"): 1,
        ("gateway_device_connected", "wheels"): 1,
        ("gateway_device_state", "healthy", "wheels"): 1,
        ("gateway_device_state", "absent", "spare0"): 1,
        ("gateway_device_state_since_timestamp_seconds", "wheels"): 900,
        ("gateway_device_events_total", "proven", "wheels"): 2,
        ("gateway_device_driver_total", "frames", "wheels"): 40,
    }
    assert {key: samples.get(key) for key in expected} == expected


def test_what_this_machine_cannot_know_has_no_sample() -> None:
    _, _, text = play(lambda port, main: get(port))
    assert "gateway_machine_under_voltage" not in text
    assert 'gateway_reading_good{reading="power"}' not in text


def test_every_metric_is_described_and_only_counters_end_in_total() -> None:
    _, _, text = play(lambda port, main: get(port))
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.name.startswith("gateway")
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
            assert not sample.name.startswith(("python_", "process_"))


def test_openmetrics_is_spoken_to_who_asks_for_it() -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    _, headers, text = play(lambda port, main: get(port, accept=accept))
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert len(list(openmetrics_of(text))) > 20


def test_label_values_are_bounded_and_the_rest_is_counted() -> None:
    _, _, text = play(lambda port, main: get(port), Settings(port=0, most_names=2))
    samples = samples_of(text)
    devices = {key[1] for key in samples if key[0] == "gateway_device_connected"}
    assert devices == {"spare0", "spare1"}
    assert samples["gateway_metrics_left_out", "devices"] == 4


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/", "GET", 404), ("/metrics", "POST", 405), ("/metrics?x=1", "GET", 200)],
)
def test_nothing_but_the_metrics_can_be_had(path: str, method: str, status: int) -> None:
    assert play(lambda port, main: get(port, path, method))[0] == status


def test_head_is_answered_without_a_body() -> None:
    status, headers, text = play(lambda port, main: get(port, method="HEAD"))
    assert (status, text) == (200, "")
    assert int(headers["Content-Length"]) > 1000


def test_one_who_says_nothing_does_not_hold_up_the_others() -> None:
    def scene(port: int, main: Process) -> Any:
        with connected(port):
            return get(port)[0]

    assert play(scene) == 200


def test_who_is_too_slow_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "PATIENCE", 0.1)

    def scene(port: int, main: Process) -> tuple[bytes, Any]:
        with connected(port) as used:
            used.sendall(b"GET /metrics")
            said = used.recv(100)
        statistics = main.wait_for_reply(main.send("prometheus", "$statistics")).body
        return said, (statistics["clients"], statistics["requests"])

    assert play(scene) == (b"", (0, {"slow": 1}))


def test_who_talks_too_much_is_told_so_and_let_go() -> None:
    def scene(port: int, main: Process) -> bytes:
        with connected(port) as used:
            used.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 9000)
            return used.recv(100)

    assert play(scene).startswith(b"HTTP/1.1 431 ")


def test_one_client_too_many_is_turned_away() -> None:
    def scene(port: int, main: Process) -> tuple[bytes, int]:
        with connected(port) as first:
            # Answered only once it is counted, so that the next is surely one too many.
            first.sendall(b"GET")
            letter = main.send("prometheus", "$statistics")
            while main.wait_for_reply(letter).body["clients"] < 1:
                letter = main.send("prometheus", "$statistics")
            with connected(port) as second:
                turned_away = second.recv(100)
        return turned_away, main.wait_for_reply(main.send("prometheus", "$statistics")).body[
            "requests"
        ]["too_many"]

    assert play(scene, Settings(port=0, max_clients=1)) == (b"", 1)


def test_a_name_that_is_looked_up_for_long_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, answered = threading.Event(), threading.Event()
    look_up = socket.getaddrinfo

    def slow(host: str, *rest: Any, **more: Any) -> Any:
        if host == "gateway.lan":
            asked.set()
            assert answered.wait(30.0)
            host = "127.0.0.1"
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    class Main(Process):
        def birth(self) -> None:
            self.subscribe("routes/prometheus/state", self.on_state)
            self.call_later(30.0, self.die)

        def on_state(self, message: Any) -> None:
            said.append(message.body["state"])
            if message.body["state"] == "starting" and not answered.is_set():
                assert asked.wait(30.0)
                counts = self.wait_for_reply(self.send("prometheus", "$statistics")).body
                said.append("answers" if "mail" in counts else "")
                answered.set()
            elif message.body["state"] == "connected":
                self.die()

    said: list[str] = []

    class Play(Application):
        def build(self) -> None:
            parameters = {"settings": Settings(host="gateway.lan", port=0)}
            self.add_process(
                "prometheus", PrometheusRouter, route="prometheus", parameters=parameters
            )

    assert Play(main=Main).run() == 0
    assert said[:3] == ["starting", "answers", "connected"]


def test_a_name_that_nobody_knows_is_said_and_tried_again() -> None:
    cause = play(lambda cause, main: cause, Settings(host="127.0.0..1", port=0))
    assert cause.startswith("it cannot listen at 127.0.0..1:0: ")


def test_a_port_that_is_taken_is_said_and_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        cause = play(lambda cause, main: cause, Settings(port=port))
    assert "in use" in cause
    assert "ss -ltnp" in cause
