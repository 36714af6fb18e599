"""The front door on a real bus, with real sockets."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import Any

import pytest

from gateway import __version__
from gateway.errors import MailboxFullError
from gateway.process.process import Process
from gateway.testing.stage import Echo
from routes.unix_socket.router import UnixSocketRouter
from routes.unix_socket.settings import Guest
from tests.lab.little_bus import statistics

DEADLINE = 10.0


class Strict(UnixSocketRouter):
    """Trusts nobody, not even the user who runs the test."""

    trusted = frozenset()


@pytest.fixture
def router(board, make_router):
    return make_router()


@pytest.fixture
def client(router, connect):
    return connect()


def send(subject, to="board@serial", id=1, **more):
    return {"op": "send", "id": id, "to": to, "subject": subject, **more}


def code(answer):
    assert answer["ok"] is False
    assert answer["error"]["reason"]
    return answer["error"]["code"]


# Letters.


def test_a_letter_is_answered_under_its_id(client, board):
    answer = client.ask(**send("led", id="a", body={"on": True, "raw": {"$bytes": "AAE="}}))
    assert answer == {
        "id": "a",
        "ok": True,
        "body": {"was": {"on": True, "raw": {"$bytes": "AAE="}}},
    }
    assert board.heard.get(timeout=DEADLINE) == ("led", {"on": True, "raw": b"\0\1"})


def test_many_letters_at_once_are_answered_in_order(client):
    client.write(*(send("led", id=number, body=number) for number in range(30)))
    answers = [client.read() for _ in range(30)]
    assert [answer["id"] for answer in answers] == list(range(30))
    assert all(answer["body"] == {"was": answer["id"]} for answer in answers)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (send("fail"), "link_lost"),
        (send("led", to="board@serail"), "unknown_address"),
        (send("led", to="no\naddress"), "unknown_address"),
        (send("nan"), "bad_body"),
        (send("$odd", to="unix_socket"), "unknown_api"),
        ({"op": "sing", "id": 1}, "protocol"),
    ],
)
def test_what_cannot_be_done_is_told_and_the_door_stays_open(client, request_, expected):
    answer = client.ask(**request_)
    assert (answer["id"], code(answer)) == (1, expected)
    assert client.ask(**send("led"))["ok"]


def test_one_that_never_answers_costs_its_caller_a_timeout(client, board):
    client.write(send("hang", timeout=1.0))
    assert board.heard.get(timeout=DEADLINE)[0] == "hang"
    answer = client.read()
    assert code(answer) == "timeout"
    assert "within 1 s" in answer["error"]["reason"]
    board.reply(board.hung.pop(), "late")
    assert client.ask(**send("led", id=2))["id"] == 2


def test_slow_answers_hold_up_nobody(client, connect, board):
    client.write(send("hang", timeout=600))
    assert board.heard.get(timeout=DEADLINE)[0] == "hang"
    assert connect().ask(**send("led"))["ok"]
    assert client.ask(**send("led", id=2))["id"] == 2


def test_too_many_letters_at_once_are_refused(board, make_router, connect):
    make_router(max_calls=2)
    client = connect()
    client.write(*(send("hang", id=number) for number in range(3)))
    answer = client.read()
    assert (answer["id"], code(answer)) == (2, "mailbox_full")


@pytest.fixture
def full(bus, board, client):
    """The client whose letter keeps the board busy; the board's mailbox is full."""
    writer = bus.run(Process, "writer")
    client.write(send("block", id="block", timeout=60))
    assert board.busy.wait(DEADLINE)
    with pytest.raises(MailboxFullError):
        fill(writer)
    return client


def fill(writer):
    while True:
        writer.send("serial", "filler", timeout=0.0)


def test_a_letter_without_room_waits_for_it(full, connect, board):
    other = connect()
    other.write(send("led", id=1, body=1), send("led", id=2, body=2))
    # Nobody else is held up by it.
    assert connect().ask(op="hello")["ok"]
    board.go_on.set()
    assert full.read()["id"] == "block"
    assert [other.read() for _ in range(2)] == [
        {"id": number, "ok": True, "body": {"was": number}} for number in (1, 2)
    ]


def test_a_letter_without_room_until_its_deadline_is_told_so(full, connect):
    other = connect()
    other.write(send("led", timeout=0.2))
    assert code(other.read()) == "mailbox_full"


def test_who_leaves_while_held_is_forgotten(router, full, connect):
    other = connect()
    other.write(send("led", timeout=600))
    other.close()
    probe = connect()
    until(lambda: statistics(router)["clients"] == 2, probe)


def test_a_letter_without_room_holds_up_nothing_else_of_its_client(bus, full, connect):
    bus.run(Echo, "another")
    other = connect()
    other.write(send("led", id=1, timeout=600), send("led", id=2, timeout=600))
    other.write(send("led", id=3, to="another"), {"op": "hello", "id": 4})
    assert [other.read()["id"] for _ in range(2)] in ([3, 4], [4, 3])


def test_letters_without_room_are_bounded(bus, board, make_router, connect):
    make_router(max_calls=2)
    connect().write(send("block", id="block", timeout=60))
    assert board.busy.wait(DEADLINE)
    with pytest.raises(MailboxFullError):
        fill(bus.run(Process, "writer"))
    other = connect()
    other.write(*(send("led", id=number, timeout=600) for number in range(3)))
    answer = other.read()
    assert (answer["id"], code(answer)) == (2, "mailbox_full")


def until(holds, client):
    """Let the router turn until ``holds``; each question is a turn of its own."""
    for _ in range(100_000):
        assert client.ask(op="hello")["ok"]
        if holds():
            return
    raise AssertionError("it never came to that")


def test_an_answer_that_is_too_long_is_said_to_be(board, make_router, connect):
    make_router(max_outgoing=4096)
    answer = connect().ask(**send("long"))
    assert code(answer) == "bad_body"
    assert "max_outgoing" in answer["error"]["reason"]


def test_who_waits_when_the_gateway_stops_is_told(router, client, board):
    client.write(send("hang"))
    board.heard.get(timeout=DEADLINE)
    router.die()
    assert client.read()["error"] == {"code": "recipient_gone", "reason": "the gateway stops"}
    assert client.is_hung_up()


def test_a_recipient_that_dies_unheard_ends_the_wait(bus, client, board):
    """Its mailbox is closed with the letter in it: the bus bounces what asked for a receipt."""
    client.write(send("block", id=1), send("led", id=2))
    assert board.busy.wait(DEADLINE)
    board.die()
    board.go_on.set()
    answers = {answer["id"]: answer for answer in (client.read(), client.read())}
    assert answers[1]["ok"]
    assert code(answers[2]) == "recipient_gone"


# What comes in.


def test_hello_says_who_is_there(client):
    assert client.ask(op="hello", id=3)["body"] == {
        "version": __version__,
        "node": "lab",
        "protocol": 1,
    }


@pytest.mark.usefixtures("uncollected")
def test_garbage_gets_an_error_line_and_a_count(router, client):
    client.write(b"\0\xff", b"not json", b"[1,2]", b"[" * 700 + b"]" * 700, b"{" * 9000)
    for _ in range(5):
        answer = client.read()
        assert (answer["id"], code(answer)) == (None, "protocol")
    assert client.ask(op="hello")["ok"]
    assert statistics(router)["garbage"] == 5


def test_an_endless_line_is_refused_once_and_costs_no_memory(board, make_router, connect):
    router = make_router(max_line=1000)
    client = connect()
    client.socket.sendall(b"x" * 300_000)
    assert "1000 bytes" in client.read()["error"]["reason"]
    client.socket.sendall(b"x" * 300_000 + b"\n")
    assert client.ask(op="hello")["ok"]
    assert statistics(router)["garbage"] == 1


def test_a_line_may_come_byte_by_byte(client):
    for byte in json.dumps(send("led")).encode() + b"\n":
        client.socket.sendall(bytes([byte]))
    assert client.read()["ok"]


def test_who_has_said_its_last_is_still_answered(client, board):
    client.write({"op": "ps", "id": 1}, send("led", id=2))
    client.socket.shutdown(socket.SHUT_WR)
    assert {client.read()["id"] for _ in range(2)} == {1, 2}
    assert client.is_hung_up()


def test_letters_of_who_has_left_are_still_written(router, connect, board):
    client = connect()
    client.write(send("led", body=5))
    client.close()
    assert board.heard.get(timeout=DEADLINE) == ("led", 5)
    probe = connect()
    until(lambda: statistics(router)["clients"] == 1, probe)
    assert statistics(router)["calls_pending"] == 0


def test_clients_that_break_off_anywhere_leave_nothing(router, connect, board):
    line = json.dumps(send("led")).encode() + b"\n"
    for size in range(0, len(line) + 1, 7):
        client = connect()
        client.socket.sendall(line[:size])
        client.close()
    probe = connect()
    until(lambda: statistics(router)["clients"] == 1, probe)
    assert statistics(router)["calls_pending"] == 0


# Who comes in.


def test_a_stranger_may_do_nothing_and_is_told_why(board, make_router, connect):
    make_router(Strict)
    client = connect()
    for request in (
        send("led"),
        {"op": "ps"},
        {"op": "tail"},
        {"op": "tap"},
        {"op": "log-level", "level": "debug"},
    ):
        answer = client.ask(**request)
        assert code(answer) == "refused"
        assert f"user {os.getuid()}" in answer["error"]["reason"]
    assert board.heard.empty()
    assert client.ask(op="hello")["ok"]


def test_a_guest_may_do_what_is_written_for_it(board, make_router, connect):
    allow = (Guest(user=os.getuid(), to="*@serial", subject="led"),)
    make_router(Strict, allow=allow)
    client = connect()
    assert client.ask(**send("led"))["ok"]
    assert code(client.ask(**send("reset"))) == "refused"
    assert code(client.ask(op="tail")) == "refused"


def test_an_observer_may_look(board, make_router, connect):
    make_router(Strict, observers=(os.getuid(),))
    client = connect()
    assert client.ask(op="tail", pattern="none")["ok"]
    for request in (send("led"), {"op": "tap"}, {"op": "log-level"}):
        assert code(client.ask(**request)) == "refused"


def test_one_client_too_many_is_turned_away_with_a_reason(board, make_router, connect):
    router = make_router(max_clients=2)
    first, second = connect(), connect()
    assert first.ask(op="hello")["ok"]
    assert second.ask(op="hello")["ok"]
    third = connect()
    assert code(third.read()) == "refused"
    assert third.is_hung_up()
    first.close()
    until(lambda: statistics(router)["clients"] == 1, second)
    assert connect().ask(op="hello")["ok"]


def test_whoever_has_been_idle_for_longest_makes_room(board, make_router, connect):
    router = make_router(max_clients=3, idle_after=0.0)
    waiting, idle, fresh = connect(), connect(), connect()
    waiting.write(send("hang", timeout=600))
    board.heard.get(timeout=DEADLINE)
    assert idle.ask(op="hello")["ok"]
    assert fresh.ask(op="hello")["ok"]
    assert connect().ask(op="hello")["ok"]
    assert idle.is_hung_up()
    assert fresh.ask(op="hello")["ok"]
    assert statistics(router)["clients_let_go"] == 1


def test_who_reads_no_answers_is_let_go(board, make_router, connect):
    router = make_router(max_outgoing=4096)
    deaf, probe = connect(), connect()
    with pytest.raises(ConnectionError):
        ask_for_ever(deaf)
    until(lambda: statistics(router)["clients_let_go"] == 1, probe)


def ask_for_ever(client):
    while True:
        client.write(*[{"op": "hello"}] * 100)


# How everybody is.


def test_a_boss_that_is_stuck_is_said_to_be(board, make_router, connect):
    make_router(ps_timeout=0.2)
    answer = connect().ask(op="ps", id=1)
    assert code(answer) == "timeout"
    assert "boss" in answer["error"]["reason"]


# What is published.


def test_a_tail_begins_with_what_is_retained_and_follows(client, board):
    assert client.ask(op="tail", pattern="devices/#", id="t") == {
        "id": "t",
        "ok": True,
        "body": None,
    }
    state = client.read()
    assert (state["topic"], state["retain"], state["sender"]) == (
        "devices/board/state",
        True,
        "serial",
    )
    board.publish("elsewhere", 1)
    board.publish("devices/board/odometry", {"left": 1, "raw": b"\0"})
    odometry = client.read()
    assert odometry.pop("time") > 1e9
    assert odometry == {
        "id": "t",
        "topic": "devices/board/odometry",
        "sender": "serial",
        "retain": False,
        "body": {"left": 1, "raw": {"$bytes": "AA=="}},
    }
    assert client.ask(**send("led", id=2))["id"] == 2


def test_the_second_to_follow_is_given_what_is_retained_too(client, connect, board):
    for number, raw in enumerate((client, connect())):
        assert raw.ask(op="tail", pattern="routes/+/state")["ok"]
        assert raw.read()["topic"] == "routes/unix_socket/state"
        assert raw.ask(op="tail", id=number)["error"]["code"] == "refused"
    board.publish("routes/serial/state", {"state": "connected"}, retain=True)
    assert client.read()["topic"] == "routes/serial/state"


def test_what_was_retained_since_is_given_to_the_next_who_follows(client, connect, board):
    assert client.ask(op="tail", pattern="panel/#")["ok"]
    board.publish("panel/page", "home", retain=True)
    assert client.read()["body"] == "home"
    other = connect()
    assert other.ask(op="tail", pattern="panel/#")["ok"]
    assert other.read()["body"] == "home"


@pytest.mark.parametrize("pattern", ["", "a/#/b", "a+", "$SYS/#"])
def test_a_pattern_that_is_none_is_refused(client, pattern):
    assert code(client.ask(op="tail", pattern=pattern)) == "protocol"


def test_a_body_that_json_cannot_hold_is_told_with_why(client, board):
    client.ask(op="tail", pattern="devices/board/odometry")
    board.publish("devices/board/odometry", float("nan"))
    assert client.read()["error"]["code"] == "bad_body"


def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(board, make_router, connect):
    router = make_router(max_outgoing=20_000)
    slow, quick = connect(), connect()
    for raw in (slow, quick):
        assert raw.ask(op="tail", pattern="flood")["ok"]
    published = 0
    while statistics(router)["publications_dropped"] < 50:
        published += 1
        board.publish("flood", {"number": published, "padding": "x" * 1000})
        assert quick.read()["body"]["number"] == published
    board.publish("flood", {"number": "last"})
    assert quick.read()["body"]["number"] == "last"  # the slow one's turn was before
    seen: list[Any] = []
    lost = 0
    while not seen or seen[-1] != "last":
        line = slow.read()
        lost += line.get("dropped", 0)
        if "body" in line:
            seen.append(line["body"]["number"])
    assert lost >= 50
    assert len(seen) + lost == published + 1
    assert seen[:-1] == sorted(seen[:-1])


# The door.


def test_the_route_says_that_it_is_open_and_where(bus, router, path):
    class Watcher(Process):
        def birth(self):
            self.states: list[Any] = []
            self.subscribe("routes/unix_socket/state", lambda m: self.states.append(m.body))

    (state,) = bus.run(Watcher, "watcher").states
    assert state["state"] == "connected"
    assert str(path) in state["cause"]
    assert statistics(router)["path"] == str(path)


def test_a_door_that_is_taken_is_waited_for(bus, board, make_router, connect, path):
    first = make_router()
    heard = threading.Event()

    class Watcher(Process):
        def birth(self):
            self.states: list[Any] = []
            self.subscribe("routes/second/state", self.on_state)

        def on_state(self, message):
            self.states.append((message.body["state"], message.body["cause"]))
            if message.body["state"] == "connected":
                heard.set()

    watcher = bus.run(Watcher, "watcher")
    make_router(name="second")
    assert connect().ask(op="hello")["ok"]
    first.die()
    assert heard.wait(DEADLINE)
    assert any("another gateway listens" in cause for _, cause in watcher.states)
    assert connect().ask(op="hello")["ok"]


def test_the_file_goes_with_the_gateway(router, client, path):
    assert client.ask(op="hello")["ok"]
    router.die()
    assert client.is_hung_up()
    until_gone = threading.Event()
    while path.exists():
        assert not until_gone.wait(0.01)
