"""Every topic that a gateway publishes stands in docs/mqtt.md, and the examples there run."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.lab.bench import Bench
from tests.lab.gateway_process import DEADLINE, TOPIC
from tests.lab.mosquitto import Mosquitto
from tests.lab.mqtt_page import blocks, row_of
from tests.lab.simavr import Simavr

pytestmark = pytest.mark.needs("simavr", "mosquitto")

MQTT = """
[routes.mqtt.discovery]

[[routes.mqtt.listen]]
topic = "plant/+/command"
to = "main"
subject = "plant"
"""


@pytest.fixture
def told(broker: Mosquitto, board: Simavr, tmp_path: Path) -> Iterator[Bench]:
    """The usual scene with all that the page describes."""
    board.start()
    with Bench(tmp_path, broker, board, mqtt=MQTT) as bench:
        yield bench


def examples(broker: Mosquitto) -> str:
    """Return the commands of the page that end by themselves, for this broker and this gateway."""
    lines = [line for text in blocks("sh") for line in text.splitlines()]
    ending = [
        line
        for line in lines
        if " -C " in line or line.startswith(("mosquitto_pub", "mosquitto_rr"))
    ]
    text = "\n".join(ending).replace("kitchen-pi", "lab").replace("/board/", "/bench/")
    return re.sub("-h localhost", f"-h 127.0.0.1 -p {broker.port}", text)


def test_a_life_of_a_gateway_is_documented_topic_by_topic(told: Bench) -> None:
    bench, broker = told, told.broker
    with broker.listen(f"{TOPIC}/#") as heard:
        bench.gateway.start()
        bench.settle(state="healthy")
        done = subprocess.run(
            ["bash", "-euc", examples(broker)],
            capture_output=True,
            text=True,
            timeout=3 * DEADLINE,
            check=False,
        )
        assert done.returncode == 0, done
        assert len(done.stdout.splitlines()) > examples(broker).count(" -C "), done.stdout
        bench.board.kill()
        bench.settle(connected=False)
        bench.gateway.signal(SIGTERM)
        bench.gateway.wait(DEADLINE)
        heard.wait_for(lambda m: m.topic == f"{TOPIC}/status" and b"stopped" in m.payload)
        messages = [each._replace(topic=each.topic[len(TOPIC) + 1 :]) for each in heard.messages]
    topics = {each.topic for each in messages}
    assert {"status", "devices/bench/analogue", "devices/bench/led/reply"} <= topics
    assert {"devices/bench/events/connected", "processes/serial/state"} <= topics
    assert {topic for topic in topics if row_of(topic) is None} == set()
    for message in messages:
        row = row_of(message.topic)
        assert row is not None
        assert row.qos in (str(message.qos), "–"), (message, row)

    kept = {topic for topic in topics if (row := row_of(topic)) is not None and row.retained}
    with broker.listen(f"{TOPIC}/#") as newcomer:
        found = newcomer.wait_for_count(len(kept))
    assert {each.topic[len(TOPIC) + 1 :] for each in found} == kept
