"""The router between a real bus and a real broker."""

from __future__ import annotations

import json
import threading
from queue import SimpleQueue
from typing import Any

import pytest

from gateway.errors import GatewayError, LinkLostError
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.routing.access import Rule
from routes.mqtt.router import MqttRouter
from routes.mqtt.settings import Settings
from tests.lab.little_bus import LittleBus, statistics
from tests.lab.mosquitto import DEADLINE
from tests.lab.mqtt_ends import OldBroker
from tests.lab.os_processes import until

pytestmark = pytest.mark.needs("mosquitto")

BASE = "gateway/lab/devices/board"
INFO: dict[str, Any] = {
    "driver": "Board",
    "description": "",
    "identity": None,
    "commands": {
        name: {
            "description": "",
            "parameters": {
                key: {"type": kind, "unit": "", "required": True}
                for key, kind in parameters.items()
            },
            "returns": "None",
        }
        for name, parameters in {
            "led": {"on": "bool"},
            "fail": {},
            "hang": {},
            "nan": {},
            "secret": {},
        }.items()
    },
    "publications": [],
}


class Board(Process):
    """Plays the serial router with one device behind it."""

    def birth(self) -> None:
        self.hung: list[Message] = []
        self.handled: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self.publish("devices/board/info", INFO, retain=True)
        self.publish("devices/board/state", {"state": "healthy", "connected": True}, retain=True)
        self.add_filter(callback=self.on_letter, kind="^letter$")

    def on_letter(self, message: Message) -> None:
        self.handled.put((message.subject, message.body))
        if message.subject == "fail":
            raise LinkLostError("the cable is out")
        if message.subject == "hang":
            self.hung.append(message)
            return
        self.reply(message, float("nan") if message.subject == "nan" else {"was": message.body})


@pytest.fixture
def bus(tmp_path):
    with LittleBus(tmp_path / "bus") as bus:
        yield bus


@pytest.fixture
def board(bus):
    return bus.run(Board, "serial")


@pytest.fixture
def make_router(bus):
    """Run an mqtt router for the node `lab`, which may call all but `secret`."""

    def make(url, **options):
        rules = tuple(Rule(to="*@serial", subject=name) for name in ("led", "fail", "hang", "nan"))
        settings = Settings(broker=url, retry_first=0.05, retry_ceiling=0.2, allow=rules, **options)
        return bus.run(MqttRouter, "mqtt", settings=settings, node="lab")

    return make


@pytest.fixture
def router(broker, board, make_router):
    """A router that is connected, with the board known."""
    router = make_router(broker.url)
    broker.wait_for_log(r"gateway-lab 1 gateway/lab/devices/\+/\+/call")
    return router


def answer(message):
    return json.loads(message.payload)


class Caller:
    """A foreign client that calls and hears the answers on a response topic."""

    def __init__(self, broker, heard):
        self.broker, self.heard, self.count = broker, heard, 0

    def __call__(self, command, payload="", device="board", **options):
        self.count += 1
        topic = f"gateway/lab/devices/{device}/{command}/call"
        options.setdefault("response_topic", "answers/1")
        self.broker.pub(topic, payload, correlation_data=str(self.count), **options)
        found = self.heard.wait_for(lambda m: m.correlation_data == str(self.count))
        return json.loads(found.payload)


@pytest.fixture
def call(router, broker):
    with broker.listen("answers/#", f"{BASE}/+/reply") as heard:
        yield Caller(broker, heard)


# Out.


def test_what_is_published_bears_its_message_id_and_thread_id(router, board, broker):
    with broker.listen(f"{BASE}/odometry") as heard:
        board.publish("devices/board/odometry", {"left": 1})
        told = dict(pair.split(":") for pair in heard.wait_for_count(1)[0].user.split(" "))
    assert told.keys() == {"message_id", "thread_id"}
    assert all(told.values())


def test_the_quality_of_service_is_set_per_topic(board, make_router, broker):
    make_router(broker.url, qos={"devices/+/odometry": 1, "devices/board/current": 0})
    broker.wait_for_log(r"gateway-lab 1 gateway/lab/devices/\+/\+/call")
    with broker.listen(f"{BASE}/#") as heard:
        board.publish("devices/board/odometry", 1)
        board.publish("devices/board/current", 1)
        found = {m.topic.rpartition("/")[2]: m.qos for m in heard.wait_for_count(4)}
    assert (found["odometry"], found["current"]) == (1, 0)


def test_the_node_says_that_it_is_there_and_what_it_is(router, broker):
    (status,) = broker.sub("gateway/lab/status")
    body = json.loads(status.payload)
    assert status.retained
    assert (body["online"], body["node"]) == (True, "lab")
    assert body["version"]


def test_what_is_retained_on_the_bus_is_retained_at_the_broker(router, broker):
    (state,) = broker.sub(f"{BASE}/state")
    assert state.retained
    assert json.loads(state.payload) == {"state": "healthy", "connected": True}


def test_telemetry_goes_out_as_it_comes(router, board, broker):
    with broker.listen(f"{BASE}/#") as heard:
        heard.wait_for_count(2)
        board.publish("devices/board/odometry", {"left": 12, "right": 14, "raw": b"\0"})
        board.publish("devices/board/events/pong", {"device": "board"})
        odometry = heard.wait_for(lambda m: m.topic.endswith("odometry"))
        pong = heard.wait_for(lambda m: m.topic.endswith("pong"))
    assert answer(odometry) == {"left": 12, "right": 14, "raw": {"$bytes": "AA=="}}
    assert (odometry.qos, pong.qos) == (0, 0)
    assert not pong.retained


def test_what_cannot_be_written_as_json_is_counted_and_said_once(router, board, broker, caplog):
    with broker.listen(f"{BASE}/odometry") as heard:
        for value in (float("nan"), float("inf"), 1.5):
            board.publish("devices/board/odometry", value)
        board.publish("devices/board/led/call", {"on": True})
        assert answer(heard.wait_for_count(1)[0]) == 1.5
        board.publish("devices/board/odometry", 2)
        heard.wait_for_count(2)
    assert statistics(router)["publications_refused"] == 3
    assert caplog.text.count("odometry cannot be told") == 1


def test_the_farewell_is_retained(bus, router, broker):
    router.die()
    with broker.listen("gateway/lab/status") as heard:
        body = answer(heard.wait_for(lambda m: b"false" in m.payload))
    assert (body["online"], body["cause"]) == (False, "the gateway was stopped")


def test_the_state_of_the_route_is_published(bus, board, make_router, broker):
    class Watcher(Process):
        def birth(self):
            self.states: SimpleQueue[Any] = SimpleQueue()
            self.subscribe("routes/mqtt/state", lambda m: self.states.put(m.body))

    watcher = bus.run(Watcher, "watcher")
    make_router(broker.url)
    states = [watcher.states.get(timeout=DEADLINE) for _ in range(2)]
    assert [state["state"] for state in states] == ["starting", "connected"]
    broker.kill()
    waiting = watcher.states.get(timeout=DEADLINE)
    assert waiting["state"] == "waiting"
    assert waiting["cause"]


def test_a_broker_that_is_down_at_start_is_waited_for(bus, board, make_router, broker):
    broker.kill()
    make_router(broker.url)
    broker.start()
    with broker.listen("gateway/lab/#") as heard:
        heard.wait_for(lambda m: m.topic == f"{BASE}/state")
        heard.wait_for(lambda m: m.topic == "gateway/lab/status" and b"true" in m.payload)


def test_a_letter_goes_out_to_a_topic(bus, router, board, broker):
    with broker.listen("plant/#") as heard:
        letter = board.send("plant/soil@mqtt", "water", {"litres": 2})
        board.wait_for_reply(letter)
        assert answer(heard.wait_for_count(1)[0]) == {"litres": 2}


@pytest.mark.parametrize("topic", ["gateway/lab/status", f"{BASE}/state", f"{BASE}/led/call", "#"])
def test_a_letter_may_not_speak_for_the_gateway(router, board, topic):
    letter = board.send(f"{topic}@mqtt", "x", {})
    with pytest.raises(GatewayError, match="no letter can go"):
        board.wait_for_reply(letter)


def test_a_letter_without_a_broker_is_bounced_with_the_cause(router, board, broker):
    broker.kill()
    assert router._session.wait_for_state(lambda state: not state.is_connected, DEADLINE)
    letter = board.send("plant/soil@mqtt", "water", {})
    with pytest.raises(LinkLostError, match="no broker"):
        board.wait_for_reply(letter)


# In.


def test_a_call_is_carried_out_and_answered(call, board):
    assert call("led", '{"on": true}') == {"ok": True, "result": {"was": {"on": True}}}
    assert board.handled.get(timeout=DEADLINE) == ("led", {"on": True})


def test_without_a_response_topic_the_answer_comes_beside_the_call(call):
    answered = call("led", '{"args": {"on": true}, "id": 7}', response_topic=None)
    assert (answered["ok"], answered["id"]) == (True, 7)
    assert call.heard.messages[-1].topic == f"{BASE}/led/reply"


def test_a_client_of_3_1_1_is_answered_by_id(call, broker):
    broker.pub(f"{BASE}/led/call", '{"args": {"on": true}, "id": "x"}', version="3.1.1")
    found = call.heard.wait_for(lambda m: m.topic == f"{BASE}/led/reply")
    assert answer(found) == {"ok": True, "result": {"was": {"on": True}}, "id": "x"}


@pytest.mark.parametrize(
    ("command", "payload", "device", "code", "kind"),
    [
        ("led", "on!", "board", "bad_body", "no_json"),
        ("led", "x" * 100_000, "board", "bad_body", "too_large"),
        ("led", '{"on": "yes"}', "board", "refused", "arguments"),
        ("lead", "", "board", "unknown_address", "unknown_command"),
        ("led", "", "boat", "unknown_address", "unknown_device"),
        ("secret", "", "board", "refused", "not_allowed"),
        ("fail", "", "board", "link_lost", "failed"),
    ],
)
def test_what_cannot_be_done_is_answered_with_a_reason_and_counted(
    call, router, command, payload, device, code, kind
):
    answered = call(command, payload, device)
    assert (answered["ok"], answered["error"]["code"]) == (False, code)
    assert answered["error"]["reason"]
    assert statistics(router)["calls_refused"] == {kind: 1}
    assert call("led", '{"on": true}')["ok"]


def test_an_answer_that_json_cannot_hold_is_an_error(call):
    assert call("nan")["error"]["code"] == "bad_body"


def test_a_retained_call_is_refused_each_time_it_is_delivered(board, make_router, broker):
    broker.pub(f"{BASE}/led/call", '{"on": true}', retain=True)
    with broker.listen(f"{BASE}/led/reply") as heard:
        make_router(broker.url)
        assert answer(heard.wait_for_count(1)[0])["error"]["code"] == "expired"
    assert board.handled.empty()


def test_a_device_that_never_answers_costs_its_caller_an_error(board, make_router, broker):
    router = make_router(broker.url, reply_timeout=2.0)
    broker.wait_for_log(r"gateway-lab 1 gateway/lab/devices/\+/\+/call")
    with broker.listen("answers/#") as heard:
        call = Caller(broker, heard)
        answered = call("hang")
        assert answered["error"]["code"] == "timeout"
        assert "2 s" in answered["error"]["reason"]
        assert until(lambda: board.hung, DEADLINE)
        # An answer that comes later confuses nobody.
        board.reply(board.hung.pop(), "late")
        assert call("led", '{"on": true}')["ok"]
    assert len(heard.messages) == 2
    assert statistics(router)["calls_pending"] == 0


def test_too_many_calls_at_once_are_refused(board, make_router, broker):
    make_router(broker.url, max_calls=2, reply_timeout=60.0)
    broker.wait_for_log(r"gateway-lab 1 gateway/lab/devices/\+/\+/call")
    with broker.listen(f"{BASE}/hang/reply") as heard:
        for number in range(3):
            broker.pub(f"{BASE}/hang/call", f'{{"args": {{}}, "id": {number}}}')
        answered = answer(heard.wait_for_count(1)[0])
        assert (answered["id"], answered["error"]["code"]) == (2, "mailbox_full")


def test_who_waits_when_the_gateway_stops_is_told(router, board, broker):
    with broker.listen(f"{BASE}/hang/reply") as heard:
        broker.pub(f"{BASE}/hang/call", "")
        board.handled.get(timeout=DEADLINE)
        router.die()
        assert answer(heard.wait_for_count(1)[0])["error"]["reason"] == "the gateway stops"


def test_a_device_behind_a_router_that_died_is_an_error(bus, board, call):
    board.die()
    for _, thread in bus._threads[:1]:
        thread.join(DEADLINE)
    answered = call("led", '{"on": true}')
    assert answered["error"]["code"] in ("recipient_gone", "unknown_address")


def test_a_device_that_appears_later_can_be_called(bus, make_router, broker):
    make_router(broker.url)
    broker.wait_for_log(r"gateway-lab 1 gateway/lab/devices/\+/\+/call")
    with broker.listen("answers/#", f"{BASE}/info") as heard:
        call = Caller(broker, heard)
        assert call("led", '{"on": true}')["error"]["code"] == "unknown_address"
        bus.run(Board, "serial")
        heard.wait_for(lambda m: m.topic.endswith("/info"))
        assert call("led", '{"on": true}')["ok"]


def test_a_storm_of_calls_is_answered_one_by_one(router, board, broker):
    with broker.listen(f"{BASE}/led/reply") as heard:
        threads = [
            threading.Thread(
                target=broker.pub,
                args=(f"{BASE}/led/call", f'{{"args": {{"on": true}}, "id": {number}}}'),
            )
            for number in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        answers = [answer(message) for message in heard.wait_for_count(20)]
    assert sorted(each["id"] for each in answers) == list(range(20))
    assert all(each["ok"] for each in answers)


def test_calls_come_in_over_an_old_broker(board, make_router, broker):
    with OldBroker(broker.port) as old:
        router = make_router(old.url)
        broker.wait_for_log(r"gateway-lab 1 gateway/lab/devices/\+/\+/call")
        with broker.listen(f"{BASE}/led/reply") as heard:
            broker.pub(f"{BASE}/led/call", '{"on": true}')
            assert answer(heard.wait_for_count(1)[0])["ok"]
        assert router._session.state.protocol == "3.1.1"
        router.die()
        with broker.listen("gateway/lab/status") as heard:
            heard.wait_for(lambda m: b"false" in m.payload)


def test_the_counts_are_shown_with_the_process(router, call):
    call("led", '{"on": true}')
    counts = statistics(router)
    assert counts["calls_answered"] == 1
    assert counts["session"]["outbox"]["accepted"] > 2
    assert counts["connection"] == "connected"
