"""Telemetry goes out, a call comes in: the way of one message each, with real ends."""

from __future__ import annotations

import itertools
import time
from statistics import median

import pytest

from tests.lab.bench import Bench, body_of
from tests.lab.gateway_process import DEVICE

pytestmark = [pytest.mark.paced, pytest.mark.needs("simavr", "mosquitto")]


def test_telemetry_reaches_a_foreign_subscriber(bench: Bench, measured) -> None:
    with bench.broker.listen(f"{DEVICE}/analogue") as telemetry:
        began = time.monotonic()
        readings = [body_of(message) for message in telemetry.wait_for_count(40)]
        took = time.monotonic() - began
    # Half of 5 V, as near as 10 bits and the emulator's millivolts come.
    assert all(abs(reading["volts"] - 2.5) < 0.02 for reading in readings), readings
    steps = [
        after["milliseconds"] - before["milliseconds"]
        for before, after in itertools.pairwise(readings)
    ]
    # None is missing: at 20 Hz the board measures every 50 ms.
    assert max(steps) <= 51, steps
    measured("telemetry that mosquitto_sub saw, set to 20 Hz", len(readings) / took, unit="Hz")


def test_the_house_is_announced_and_retained(bench: Bench) -> None:
    status = bench.retained("status")
    assert status["online"] is True
    state = bench.retained("devices/bench/state")
    assert (state["state"], state["connected"]) == ("healthy", True)
    info = bench.retained("devices/bench/info")
    assert info["identity"]["model"] == "bench-board"
    assert info["commands"]["led"]["parameters"]["on"]["type"] == "bool"


@pytest.mark.parametrize(
    ("version", "response_topic", "correlation_data"),
    [("5", "somebody/answers", "number 7"), ("5", None, None), ("3.1.1", None, None)],
    ids=["mqtt5-response-topic", "mqtt5-plain", "mqtt3.1.1"],
)
def test_a_call_lights_the_led_and_is_answered(
    bench: Bench, measured, version, response_topic, correlation_data
) -> None:
    answers = response_topic or f"{DEVICE}/led/reply"
    with bench.broker.listen(answers, version=version) as replies:
        took = []
        for number, on in enumerate([True, False] * 5):
            began = time.monotonic()
            bench.broker.pub(
                f"{DEVICE}/led/call",
                f'{{"args": {{"on": {str(on).lower()}}}, "id": {number}}}',
                version=version,
                response_topic=response_topic,
                correlation_data=correlation_data,
            )
            bench.board.wait_for_led(on)
            reply = replies.wait_for_next(lambda _: True)
            took.append(time.monotonic() - began)
            assert body_of(reply) == {"ok": True, "result": on, "id": number}
            assert reply.correlation_data == (correlation_data or "")
            assert not reply.retained
    measured(
        f"mosquitto_pub to LED and reply, MQTT {version}"
        f"{' with response topic' if response_topic else ''}, median of 10",
        median(took) * 1000,
        unit="ms",
    )


def test_a_call_that_the_board_refuses_is_answered_with_its_reason(bench: Bench) -> None:
    reply = bench.call("stream", '{"hz": 201}')
    assert reply["ok"] is False
    assert reply["error"]["code"] == "refused"
    assert "200" in reply["error"]["reason"]
