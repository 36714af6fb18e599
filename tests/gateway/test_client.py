"""The client, at a running gateway and at ones that misbehave."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import client as module
from gateway.client import Client, Publication
from gateway.client_line import not_reached
from gateway.errors import (
    AddressError,
    BodyError,
    CallTimeoutError,
    GatewayError,
    LinkLostError,
    ProtocolError,
    RecipientGoneError,
    RefusedError,
)
from tests.gateway.cli.house import DEADLINE, House

ROOT = Path(module.__file__).parents[1]


# At a real gateway.


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, private_temporary_folder: object
) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    with Client(house.socket) as client:
        yield client


def test_an_answer_is_the_body_of_the_reply(client: Client) -> None:
    assert client.ask("board@serial", "led", {"on": True, "raw": b"\0\xff"}) == {
        "was": {"on": True, "raw": b"\0\xff"}
    }
    assert client.ask("board@serial", "led") is None


@pytest.mark.parametrize(
    ("to", "subject", "kind", "why"),
    [
        ("board@serial", "broken", LinkLostError, "the cable is out"),
        ("board@serail", "led", AddressError, "did you mean 'serial'"),
        ("board@serial", "nonsense", RefusedError, "no filter"),
        ("board@serial", "hang", CallTimeoutError, "did not answer"),
    ],
)
def test_what_went_wrong_there_is_raised_here(
    client: Client, to: str, subject: str, kind: type[GatewayError], why: str
) -> None:
    with pytest.raises(kind, match=why):
        client.ask(to, subject, timeout=0.2 if subject == "hang" else 20.0)
    assert client.ask("board@serial", "led") is None


@pytest.mark.parametrize("body", [{1, 2}, {1: 2}, 2**70, [object()]])
def test_a_body_that_no_letter_carries_is_refused_here(client: Client, body: object) -> None:
    with pytest.raises(BodyError):
        client.ask("board@serial", "led", body)


def test_a_number_that_json_has_not_is_refused_here(client: Client) -> None:
    with pytest.raises(BodyError, match="nan"):
        client.ask("board@serial", "led", float("nan"))


def test_a_request_that_is_too_long_is_refused_there(client: Client) -> None:
    with pytest.raises(ProtocolError, match="longer than 65536 bytes"):
        client.ask("board@serial", "led", "x" * 100_000)
    assert client.ask("board@serial", "led") is None


def test_how_everybody_is(client: Client) -> None:
    report = client.ps()
    assert {"serial", "busy", "unix_socket"} <= {process["name"] for process in report["processes"]}
    assert [device["name"] for device in report["devices"]] == ["board", "scanner"]
    assert client.hello()["node"] == "lab"


def test_threads_take_turns(client: Client) -> None:
    answers: list[Any] = []

    def ask(number: int) -> None:
        answers.append(client.ask("board@serial", "led", number)["was"] == number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert answers == [True] * 8


def test_a_tail_begins_with_what_is_retained_and_goes_on(client: Client) -> None:
    with client.tail("devices/board/#", patience=DEADLINE) as tail:
        first, second = next(tail), next(tail)
    assert isinstance(first, Publication)
    assert (first.topic, first.retained, first.sender) == ("devices/board/state", True, "serial")
    assert (second.topic, second.body) == ("devices/board/analogue", {"millivolts": 1234})


def test_a_tail_that_hears_nothing_ends_at_its_patience(client: Client) -> None:
    with client.tail("nothing", patience=0.1) as tail, pytest.raises(CallTimeoutError):
        next(tail)


def test_a_pattern_that_is_none_is_refused_at_once(client: Client) -> None:
    with pytest.raises(ProtocolError, match="no pattern"):
        client.tail("a/#/b")


def test_after_a_restart_it_connects_again(tmp_path: Path) -> None:
    with Client(tmp_path / "gateway.sock") as client:
        for _ in range(2):
            with House(tmp_path):
                assert client.ask("board@serial", "led") is None
        with pytest.raises(RecipientGoneError, match="is the gateway running"):
            client.ask("board@serial", "led")


def test_the_environment_names_the_socket(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SOCKET", str(house.socket))
    with Client() as client:
        assert client.hello()["node"] == "lab"
    monkeypatch.delenv("GATEWAY_SOCKET")
    assert Client().path == Path("/run/gateway/gateway.sock")


def test_it_needs_no_more_than_mail_errors_and_timeouts() -> None:
    code = (
        "import sys, gateway.client\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('gateway.')}\n"
        "own = {room for room in rooms if room.partition('_')[0] == 'client'}\n"
        "sys.exit(str(rooms) if rooms - own != {'errors', 'mail', 'timeout'} else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


# At something else.


Serve = Callable[[Callable[[socket.socket], None]], Path]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Listen at a socket, and treat each client as the test says."""
    path = tmp_path / "fake.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    threads: list[threading.Thread] = []

    def serve(treat: Callable[[socket.socket], None]) -> Path:
        def live() -> None:
            while True:
                try:
                    accepted, _ = listener.accept()
                except OSError:
                    return
                with accepted:
                    accepted.settimeout(DEADLINE)
                    treat(accepted)

        threads.append(threading.Thread(target=live))
        threads[0].start()
        return path

    yield serve
    listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(DEADLINE)
    listener.close()
    path.unlink()


def say(*lines: bytes) -> Callable[[socket.socket], None]:
    def treat(accepted: socket.socket) -> None:
        accepted.recv(1 << 16)
        for line in lines:
            accepted.sendall(line)

    return treat


@pytest.mark.parametrize(
    ("treat", "kind", "why"),
    [
        (say(b"HTTP/1.1 400 Bad Request\r\n"), ProtocolError, "no JSON"),
        (say(b"[1]\n"), ProtocolError, "no object"),
        (say(b'{"id":1,"ok":false}\n'), GatewayError, "no reason given"),
        (say(b'{"id":1,"ok":true,"body":7}\n'), ProtocolError, "no object"),
        (say(b'{"id":null,"ok":false,"error":{"code":"refused","reason":"full"}}\n'),
         RefusedError, "full"),
        (say(), RecipientGoneError, "hung up"),
        (say(b'{"id":1,"ok":'), RecipientGoneError, "hung up"),
    ],
)  # fmt: skip
def test_nonsense_is_a_typed_error(
    serve: Serve, treat: Callable[[socket.socket], None], kind: type[GatewayError], why: str
) -> None:
    with Client(serve(treat)) as client, pytest.raises(kind, match=why):
        client.hello()


def test_a_farewell_is_read_though_the_request_could_not_be_written(serve: Serve) -> None:
    def treat(accepted: socket.socket) -> None:
        accepted.sendall(b'{"id":null,"ok":false,"error":{"code":"refused","reason":"full"}}\n')

    with Client(serve(treat)) as client, pytest.raises(RefusedError, match="full"):
        client.ask("x", "y", "z" * 1_000_000)


def test_answers_to_other_questions_are_passed_over(serve: Serve) -> None:
    lines = (b'{"id":77,"ok":true,"body":"old"}\n{"id":1,"ok', b'":true,"body":{"node":"x"}}\n')
    with Client(serve(say(*lines))) as client:
        assert client.hello() == {"node": "x"}


def test_a_gap_is_told_with_the_publication_after_it(serve: Serve) -> None:
    lines = [
        {"id": 1, "ok": True, "body": None},
        {"id": 1, "dropped": 5},
        {"id": 1, "dropped": 2},
        {"id": 1, "topic": "t", "time": 1.0, "sender": "s", "retain": False, "body": 3},
        {"id": 1, "topic": "t", "time": 1.0, "error": {"code": "bad_body", "reason": "nan"}},
    ]
    treat = say(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    with Client(serve(treat)).tail("t", patience=DEADLINE) as tail:
        assert next(tail) == Publication("t", 3, 1.0, "s", False, 7)
        assert next(tail).body == {"code": "bad_body", "reason": "nan"}
        with pytest.raises(RecipientGoneError):
            next(tail)


def test_a_gateway_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "deaf.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(0)
        with Client(path, timeout=0.1) as client:
            with pytest.raises(CallTimeoutError, match="nothing came"):
                client.hello()
            # It has not even let the first one in: now its backlog is full.
            with (
                Client(path, timeout=0.1) as other,
                pytest.raises(CallTimeoutError, match="lets nobody in"),
            ):
                other.hello()
    path.unlink()


@pytest.mark.parametrize(
    ("timeout", "kind"),
    [(float("nan"), ValueError), (float("inf"), ValueError), ("5", TypeError)],
)
@pytest.mark.parametrize(
    "use",
    [
        lambda path, timeout: Client(path, timeout=timeout),
        lambda path, timeout: Client(path).ask("x", "y", timeout=timeout),
        lambda path, timeout: Client(path).tail(patience=timeout),
        lambda path, timeout: Client(path).tap(patience=timeout),
    ],
    ids=["client", "ask", "tail", "tap"],
)
def test_a_wait_without_an_end_is_refused_before_anybody_is_asked(
    tmp_path: Path, use: Callable[[Path, Any], Any], timeout: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="a number of seconds"):
        use(tmp_path / "none.sock", timeout)


def test_nobody_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.bind(str(stale))
    for path in (stale, tmp_path / "none.sock", tmp_path / "no" / "folder.sock"):
        with pytest.raises(RecipientGoneError, match=r"is the gateway running\? Start it"):
            Client(path).hello()
    stale.unlink()


def test_a_door_that_may_not_be_opened_is_said_with_what_to_do(tmp_path: Path) -> None:
    error = not_reached(tmp_path, PermissionError(13, "Permission denied"))
    assert isinstance(error, RefusedError)
    assert "run this as root, as the gateway's own user, or as a member of its group" in str(error)


def test_no_descriptor_is_left_by_what_failed(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(RecipientGoneError):
            Client(tmp_path / "none.sock").hello()
    assert len(os.listdir("/proc/self/fd")) == before
