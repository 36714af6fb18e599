"""Whatever is published at the gateway costs an error reply and a count, never a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.bench import Bench, body_of, settled
from tests.lab.gateway_process import DEVICE, TOPIC
from tests.lab.mosquitto import Mosquitto
from tests.lab.simavr import AvrBuild, Simavr

pytestmark = pytest.mark.needs("simavr", "mosquitto")

DEEP = '{"args": ' + '{"a": ' * 200 + "1" + "}" * 200 + "}"


@pytest.fixture(scope="module")
def lasting(avr_build: AvrBuild, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One scene for all the tests here: the gateway has to bear them one after the other."""
    folder = tmp_path_factory.mktemp("bad_calls")
    with (
        Mosquitto() as broker,
        Simavr(avr_build, folder / "board", millivolts=2500) as board,
        settled(folder, broker, board) as bench,
    ):
        yield bench


@pytest.mark.parametrize(
    ("topic", "payload", "code", "kind", "reason"),
    [
        ("bench/led", "{on: yes", "bad_body", "no_json", "no JSON"),
        ("bench/led", b"\xff\xfe\x00", "bad_body", "no_json", "no JSON"),
        ("bench/led", "[true]", "bad_body", "no_object", "object"),
        (
            "bench/led",
            '{"on": true, "x": "' + "x" * 70_000 + '"}',
            "bad_body",
            "too_large",
            "65536",
        ),
        ("bench/led", DEEP, "bad_body", "too_deep", "deep"),
        ("bench/led", '{"args": {"on": true}, "x": 1}', "bad_body", "envelope", "'x'"),
        ("bench/led", '{"on": "yes"}', "refused", "arguments", "'on' is a bool"),
        ("bench/led", '{"on": 1}', "refused", "arguments", "'on' is a bool"),
        ("bench/led", "", "refused", "arguments", "'on' is missing"),
        ("bench/led", '{"no": true}', "refused", "arguments", "it takes on"),
        ("bench/stream", '{"hz": 10000}', "refused", "failed", "200"),
        ("bench/dance", "{}", "unknown_address", "unknown_command", "it has"),
        ("beach/led", '{"on": true}', "unknown_address", "unknown_device", "there is bench"),
        ("be%6Ech/led", '{"on": true}', "unknown_address", "unknown_device", "spelt"),
        ("bench/inject_fault", '{"kind": "hang"}', "refused", "not_allowed", "routes.mqtt"),
        ("bench/read_analogue", "", "refused", "not_allowed", "routes.mqtt"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else None,
)
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_bad_call_is_answered_and_counted_and_the_gateway_goes_on(
    lasting: Bench,
    version: str,
    topic: str,
    payload: str | bytes,
    code: str,
    kind: str,
    reason: str,
) -> None:
    with lasting.broker.listen(f"{TOPIC}/devices/{topic}/reply", version=version) as replies:
        before = refused(lasting, kind)
        lasting.broker.pub(f"{TOPIC}/devices/{topic}/call", payload, version=version)
        reply = body_of(replies.wait_for_next(lambda _: True))
    assert reply["ok"] is False
    assert reply["error"]["code"] == code
    assert reason in reply["error"]["reason"]
    assert refused(lasting, kind) == before + 1
    goes_on(lasting)


def test_a_bad_call_is_answered_to_its_response_topic(lasting: Bench) -> None:
    with lasting.broker.listen("somebody/answers") as replies:
        lasting.broker.pub(
            f"{DEVICE}/led/call",
            '{"args": {"on": 3}, "id": "x"}',
            response_topic="somebody/answers",
            correlation_data="17",
        )
        reply = replies.wait_for_next(lambda _: True)
    assert reply.correlation_data == "17"
    assert body_of(reply)["id"] == "x"
    assert body_of(reply)["error"]["code"] == "refused"


@pytest.mark.parametrize("forged", [f"{TOPIC}/status", f"{DEVICE}/state", f"{DEVICE}/led/call"])
def test_nobody_has_an_answer_sent_in_the_gateways_own_name(lasting: Bench, forged: str) -> None:
    before = refused(lasting, "response_topic")
    with lasting.broker.listen(f"{DEVICE}/led/reply") as replies:
        lasting.broker.pub(f"{DEVICE}/led/call", '{"on": true}', response_topic=forged)
        reply = body_of(replies.wait_for_next(lambda _: True))
    assert reply["error"]["code"] == "refused"
    assert forged in reply["error"]["reason"]
    assert refused(lasting, "response_topic") == before + 1
    goes_on(lasting)


def test_megabytes_do_not_even_cost_the_connection(lasting: Bench) -> None:
    before = lasting.gateway.statistics("mqtt")["session"]["connections"]
    lasting.broker.pub(f"{DEVICE}/led/call", b"x" * (3 << 20))
    goes_on(lasting)
    assert lasting.gateway.statistics("mqtt")["session"]["connections"] == before


def test_a_burst_of_calls_is_answered_one_by_one(lasting: Bench) -> None:
    """The firmware's queue is short: calls are handed to it one at a time."""
    count = 60
    with lasting.broker.listen("somebody/answers") as replies:
        for number in range(count):
            lasting.broker.pub(
                f"{DEVICE}/counters/call",
                "{}",
                response_topic="somebody/answers",
                correlation_data=str(number),
                qos=0,
            )
        heard = replies.wait_for_count(count)
    assert {message.correlation_data for message in heard} == {str(n) for n in range(count)}
    assert all(body_of(message)["ok"] for message in heard)


def test_nothing_of_all_that_was_a_bug(lasting: Bench) -> None:
    assert not [line for line in lasting.gateway.log if "Traceback" in line or "ERROR" in line]
    assert lasting.gateway.statistics("mqtt")["session"]["faults"] == 0
    assert [each["restarts"] for each in lasting.gateway.ask({"op": "ps"})["processes"]] == [0] * 5


def test_a_retained_call_is_refused_when_it_is_met_again(
    broker: Mosquitto, board: Simavr, tmp_path: Path
) -> None:
    board.start()
    broker.pub(f"{DEVICE}/led/call", '{"on": true}', retain=True)
    with (
        Bench(tmp_path, broker, board) as bench,
        broker.listen(f"{DEVICE}/led/reply") as replies,
    ):
        bench.gateway.start()
        reply = body_of(replies.wait_for_next(lambda _: True))
        assert reply["error"]["code"] == "expired"
        assert "retain" in reply["error"]["reason"]
        assert refused(bench, "stale") == 1
        bench.settle(state="healthy")
        with pytest.raises(AssertionError, match="did not say"):
            board.wait_for_led(True, 0.3)
        goes_on(bench)


def refused(bench: Bench, kind: str) -> int:
    """Return how many calls of ``kind`` were refused so far."""
    count: int = bench.gateway.statistics("mqtt")["calls_refused"].get(kind, 0)
    return count


def goes_on(bench: Bench) -> None:
    """A good call lights the LED and puts it out again."""
    for on in (True, False):
        reply: dict[str, Any] = bench.call("led", f'{{"on": {str(on).lower()}}}')
        assert reply == {"ok": True, "result": on}
        bench.board.wait_for_led(on)
