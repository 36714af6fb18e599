"""Many requests over one connection, at gateways that answer as a test says."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gateway.client_asked import Asked
from gateway.client_exchange import SWEEP, Exchange
from gateway.errors import CallTimeoutError, ProtocolError, RecipientGoneError, RefusedError

DEADLINE = 10.0


class Peer:
    """A gateway by hand: accepts, reads requests, writes what it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(DEADLINE)
        self.socket: Any = None
        self._lines: Any = None

    def accept(self) -> None:
        self.hang_up()
        self.socket, _ = self._listener.accept()
        self.socket.settimeout(DEADLINE)
        self._lines = self.socket.makefile("rb")

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._lines.readline())
        return found

    def answer(self, id: Any, body: Any = None) -> None:
        self.write({"id": id, "ok": True, "body": body})

    def write(self, *lines: dict[str, Any]) -> None:
        self.socket.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    def hang_up(self) -> None:
        if self.socket is not None:
            self._lines.close()
            self.socket.close()
            self.socket = None

    def close(self) -> None:
        self.hang_up()
        self._listener.close()
        self.path.unlink()


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer(tmp_path / "gateway.sock")
    yield peer
    peer.close()


@pytest.fixture
def exchange(peer: Peer) -> Iterator[Exchange]:
    exchange = Exchange(peer.path, DEADLINE)
    yield exchange
    exchange.close()


def post(exchange: Exchange, timeout: float = DEADLINE, **more: Any) -> Asked:
    return exchange.post({"op": "hello"}, monotonic() + timeout, **more)


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:  # noqa: BLE001 - looked at by the test
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def test_answers_come_in_any_order(peer: Peer, exchange: Exchange) -> None:
    first, second = post(exchange), post(exchange)
    peer.accept()
    assert [peer.read()["id"] for _ in range(2)] == [first.id, second.id]
    peer.answer(second.id, "second")
    assert exchange.wait(second, monotonic() + DEADLINE)
    assert (second.body(), first.is_done) == ("second", False)
    peer.answer(first.id, "first")
    assert exchange.wait(first, monotonic() + DEADLINE)
    assert first.body() == "first"
    assert len(exchange) == 0


def test_who_has_an_answer_hands_the_lead_to_who_has_none(peer: Peer, exchange: Exchange) -> None:
    asked = [post(exchange) for _ in range(4)]
    waits = [
        in_thread(lambda each=each: exchange.wait(each, monotonic() + DEADLINE))  # type: ignore[misc]
        for each in asked
    ]
    peer.accept()
    for each, (thread, found) in zip(asked, waits, strict=True):
        peer.answer(each.id)
        thread.join(DEADLINE)
        assert found == [True]


def test_who_gives_up_hands_the_lead_on_as_well(peer: Peer, exchange: Exchange) -> None:
    first, second = post(exchange), post(exchange)
    leader, gave_up = in_thread(lambda: exchange.wait(first, monotonic() + 0.2))
    follower, found = in_thread(lambda: exchange.wait(second, monotonic() + DEADLINE))
    leader.join(DEADLINE)
    assert gave_up == [False]
    peer.accept()
    peer.answer(second.id)
    follower.join(DEADLINE)
    assert found == [True]


def test_a_follower_that_gives_up_is_not_waited_for(peer: Peer, exchange: Exchange) -> None:
    first, second = post(exchange), post(exchange)
    leader, found = in_thread(lambda: exchange.wait(first, monotonic() + DEADLINE))
    assert not exchange.wait(second, monotonic() + 0.05)
    exchange.forget(second)
    peer.accept()
    peer.answer(second.id)
    peer.answer(first.id)
    leader.join(DEADLINE)
    assert (found, exchange.unasked) == ([True], 1)


def test_an_end_is_told_to_who_asked_to_be(peer: Peer, exchange: Exchange) -> None:
    ended: list[int] = []
    first = post(exchange, on_end=lambda: ended.append(1))
    second = post(exchange, on_end=lambda: ended.append(2))
    peer.accept()
    peer.answer(first.id)
    assert exchange.wait(first, monotonic() + DEADLINE)
    peer.hang_up()
    assert exchange.wait(second, monotonic() + DEADLINE)
    assert ended == [1, 2]


def test_a_gateway_that_hangs_up_ends_everything_under_way(peer: Peer, exchange: Exchange) -> None:
    asked = [post(exchange) for _ in range(3)]
    waits = [
        in_thread(lambda each=each: exchange.wait(each, monotonic() + DEADLINE))  # type: ignore[misc]
        for each in asked
    ]
    peer.accept()
    peer.hang_up()
    for each, (thread, _) in zip(asked, waits, strict=True):
        thread.join(DEADLINE)
        with pytest.raises(RecipientGoneError, match="hung up"):
            each.body()
    again = post(exchange)
    peer.accept()
    peer.answer(peer.read()["id"], "again")
    assert exchange.wait(again, monotonic() + DEADLINE)
    assert again.body() == "again"


def test_what_the_gateway_said_at_last_is_why_everything_ended(
    peer: Peer, exchange: Exchange
) -> None:
    asked = [post(exchange) for _ in range(2)]
    peer.accept()
    full = {"code": "refused", "reason": "full"}
    peer.write({"id": None, "ok": False, "error": full})
    peer.hang_up()
    for each in asked:
        assert exchange.wait(each, monotonic() + DEADLINE)
        with pytest.raises(RefusedError, match="full"):
            each.body()


def test_nonsense_ends_the_connection_after_what_came_before_it(
    peer: Peer, exchange: Exchange
) -> None:
    first, second = post(exchange), post(exchange)
    peer.accept()
    peer.socket.sendall(b'{"id":%d,"ok":true,"body":1}\nHTTP/1.1 400\n' % first.id)
    assert exchange.wait(second, monotonic() + DEADLINE)
    assert first.body() == 1
    with pytest.raises(ProtocolError, match="no JSON"):
        second.body()


def test_a_gateway_that_reads_nothing_costs_its_writer_a_deadline_and_the_connection(
    peer: Peer, exchange: Exchange
) -> None:
    first = post(exchange)
    peer.accept()
    with pytest.raises(CallTimeoutError, match="takes no requests"):
        exchange.post({"op": "send", "body": "x" * 4_000_000}, monotonic() + 0.2)
    with pytest.raises(CallTimeoutError):
        first.body()
    again = post(exchange)
    peer.accept()
    peer.answer(peer.read()["id"])
    assert exchange.wait(again, monotonic() + DEADLINE)


def test_who_hangs_up_wakes_who_waits(peer: Peer, exchange: Exchange) -> None:
    asked = [post(exchange) for _ in range(2)]
    waits = [
        in_thread(lambda each=each: exchange.wait(each, monotonic() + 60))  # type: ignore[misc]
        for each in asked
    ]
    exchange.close()
    for each, (thread, found) in zip(asked, waits, strict=True):
        thread.join(DEADLINE)
        assert found == [True]
        with pytest.raises(RecipientGoneError, match="hung up"):
            each.body()


def test_what_nobody_waits_for_is_swept_out_once_it_is_overdue(
    peer: Peer, exchange: Exchange
) -> None:
    overdue = [post(exchange, timeout=0.01) for _ in range(SWEEP - 1)]
    threading.Event().wait(0.02)
    post(exchange)
    assert len(exchange) == 1
    assert all(each.is_done for each in overdue)
    with pytest.raises(CallTimeoutError):
        overdue[0].body()


def test_a_token_is_waited_for_like_an_answer_and_ends_when_it_is_rung(
    peer: Peer, exchange: Exchange
) -> None:
    first = post(exchange)
    token = exchange.token()
    waits, found = in_thread(lambda: exchange.wait(token, monotonic() + DEADLINE))
    peer.accept()
    peer.answer(first.id)
    exchange.wait(first, monotonic() + DEADLINE)
    exchange.ring(token)
    waits.join(DEADLINE)
    assert found == [True]


def test_no_descriptor_is_left_by_connections_that_ended(peer: Peer, exchange: Exchange) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    for _ in range(5):
        asked = post(exchange)
        peer.accept()
        peer.hang_up()
        assert exchange.wait(asked, monotonic() + DEADLINE)
    assert descriptors() == before
