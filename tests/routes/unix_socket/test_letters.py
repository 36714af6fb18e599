"""Remote calls at the front door: streams, events, and what is taken back."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from gateway.mail.signature import command
from gateway.process.process import Process
from gateway.rpc.serving import serve
from routes.unix_socket.settings import Guest
from tests.lab.called_arm import CalledArm
from tests.lab.little_bus import statistics
from tests.lab.os_processes import until
from tests.routes.unix_socket.test_router import Strict, code, send

DEADLINE = 10.0


class Arm(CalledArm):
    """What can be called, and what became of it."""

    @command
    def note(self, text: str) -> str:
        self.told.append(text)
        return text


class Robot(Process):
    """Serves an arm with two workers."""

    def birth(self) -> None:
        self.arm = Arm()
        serve(self, self.arm, workers=2)


@pytest.fixture
def arm(bus) -> Arm:
    robot: Any = bus.run(Robot, "robot")
    return robot.arm  # type: ignore[no-any-return]


@pytest.fixture
def router(arm, make_router):
    return make_router()


@pytest.fixture
def client(router, connect):
    return connect()


def scan(client: Any, **more: Any) -> str:
    """Open a stream and return its id."""
    answer = client.ask(**send("scan", to="robot", id="open", body={}, **more))
    assert answer["subject"] == "$stream"
    assert answer["body"] == {"stream": answer["body"]["stream"], "parts": [0], "more": True}
    stream: str = answer["body"]["stream"]
    return stream


def pull(stream: str, **more: Any) -> Any:
    return send("$next", to="robot", id="pull", body={"stream": stream, "most": 2}, **more)


def test_the_answer_of_a_stream_bears_its_subject_and_others_bear_none(client):
    stream = scan(client)
    assert client.ask(**pull(stream))["body"]["parts"] == [1, 2]
    answer = client.ask(**send("note", to="robot", body={"text": "x"}))
    assert answer == {"id": 1, "ok": True, "body": "x"}


def test_a_stream_that_was_read_to_its_end_is_forgotten(client, router):
    answer = client.ask(**send("scan", to="robot", body={"most": 2}))
    answer = client.ask(**pull(answer["body"]["stream"]))
    assert (answer["body"]["parts"], answer["body"]["more"]) == ([1], False)
    assert statistics(router)["streams"] == 0


def test_a_stream_is_closed_by_its_id(client, router, arm):
    stream = scan(client)
    assert client.ask(op="cancel", id=5, stream=stream) == {"id": 5, "ok": True, "body": True}
    assert arm.closed.acquire(timeout=DEADLINE)
    assert client.ask(op="cancel", id=6, stream=stream)["body"] is False
    assert code(client.ask(**pull(stream))) == "refused"


def test_a_stream_of_another_client_can_be_neither_read_nor_closed(client, connect, arm):
    stream = scan(client)
    other = connect()
    assert code(other.ask(**pull(stream))) == "refused"
    assert other.ask(op="cancel", id=1, stream=stream)["body"] is False
    assert code(other.ask(**send("$cancel", to="robot", body=stream))) == "refused"
    assert client.ask(**pull(stream))["body"]["parts"] == [1, 2]
    assert not arm.closed.acquire(blocking=False)


def test_a_client_has_no_more_streams_than_calls(arm, make_router, connect):
    make_router(max_calls=2)
    client = connect()
    for _ in range(2):
        scan(client)
    assert code(client.ask(**send("scan", to="robot"))) == "mailbox_full"
    assert arm.closed.acquire(timeout=DEADLINE)


def test_who_hangs_up_leaves_no_stream_open(client, router, arm):
    scan(client)
    client.close()
    assert arm.closed.acquire(timeout=DEADLINE)
    assert until(lambda: statistics(router)["streams"] == 0, DEADLINE)


def test_who_hangs_up_takes_back_what_was_asked(client, router, arm):
    client.write(send("sweep", to="robot", timeout=600))
    assert arm.begun.acquire(timeout=DEADLINE)
    client.close()
    assert arm.cancelled.acquire(timeout=DEADLINE)


def test_a_request_that_is_taken_back_is_answered_so_and_its_handler_told(client, arm):
    client.write(send("sweep", to="robot", id=1, timeout=600))
    assert arm.begun.acquire(timeout=DEADLINE)
    client.write({"op": "cancel", "id": 2, "request": 1})
    assert code(client.read()) == "cancelled"
    assert client.read() == {"id": 2, "ok": True, "body": True}
    assert arm.cancelled.acquire(timeout=DEADLINE)
    assert client.ask(op="cancel", id=3, request=1)["body"] is False


def test_a_request_of_another_client_is_not_taken_back(client, connect, arm):
    client.write(send("sweep", to="robot", id=1, timeout=600))
    assert arm.begun.acquire(timeout=DEADLINE)
    assert connect().ask(op="cancel", id=1, request=1)["body"] is False
    assert not arm.cancelled.acquire(blocking=False)


def test_a_deadline_takes_back_what_was_asked(client, arm):
    # Long enough to be begun: a call that is too old is not.
    client.write(send("sweep", to="robot", timeout=2.0))
    assert arm.begun.acquire(timeout=DEADLINE)
    assert code(client.read()) == "timeout"
    assert arm.cancelled.acquire(timeout=DEADLINE)


def test_a_letter_without_room_can_be_taken_back(bus, client, connect):
    class Busy(Process):
        def birth(self) -> None:
            self.go_on = threading.Event()
            self.add_filter(callback=lambda letter: self.go_on.wait(DEADLINE), kind="^letter$")

    busy: Any = bus.run(Busy, "busy")
    others = [connect() for _ in range(3)]
    for other in others:
        other.write(*(send("x", to="busy", id=n, timeout=60) for n in range(100)))
    client.write(send("x", to="busy", id=1, timeout=60), {"op": "cancel", "id": 2, "request": 1})
    assert code(client.read()) == "cancelled"
    assert client.read()["body"] is True
    busy.go_on.set()


def test_an_event_is_answered_when_it_is_delivered(client, arm):
    quiet = {"solicited": "no"}
    told = client.ask(**send("sweep", to="robot", headers=quiet, timeout=600))
    assert told == {"id": 1, "ok": True, "body": None}
    assert arm.begun.acquire(timeout=DEADLINE)
    assert code(client.ask(**send("x", to="nobody", headers=quiet))) == "unknown_address"


def test_a_guest_calls_what_was_allowed_and_reads_what_comes_of_it(arm, make_router, connect):
    make_router(Strict, allow=(Guest(user=os.geteuid(), to="robot", subject="scan"),))
    client = connect()
    assert code(client.ask(**send("note", to="robot", body={"text": "x"}))) == "refused"
    stream = scan(client)
    assert client.ask(**pull(stream))["body"]["parts"] == [1, 2]
    assert client.ask(op="cancel", id=1, stream=stream)["body"] is True
    assert arm.closed.acquire(timeout=DEADLINE)
