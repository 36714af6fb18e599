"""Watching the mail of a whole application: it costs nobody a letter, and it ends by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gateway.client import Client
from gateway.errors import CallTimeoutError, GatewayError, RecipientGoneError, RefusedError
from tests.gateway.supervision.conftest import PATIENCE, Program, Start

FLOOD = 10_000

HOUSE = f"""
    import gateway.supervision.notices as notices
    import routes.unix_socket.mail_watch as mail_watch
    from gateway.process.mail_tap import MailTap
    from routes.unix_socket.router import UnixSocketRouter

    # A boss that gets no time for a second is waited for.
    MailTap.__init__.__kwdefaults__["timeout"] = 20.0

    class Nosy(Process):
        def birth(self):
            self.add_filter(callback=self.on_office, subject="^office$")
        def on_office(self, message):
            self.reply(message, type(self._office).__name__)

    class Reader(Nosy):
        def birth(self):
            super().birth()
            self.count = 0
            self.add_filter(callback=self.on_flood, subject="^flood$")
        def on_flood(self, message):
            self.count += 1
            if message.body["number"] == {FLOOD} - 1:
                say("read", self.count)

    class Writer(Nosy):
        def birth(self):
            super().birth()
            self.add_filter(callback=self.on_go, subject="^go$")
        def on_go(self, message):
            self.reply(message)
            for number in range({FLOOD}):
                self.send("reader", "flood", {{"number": number}})

    class Door(UnixSocketRouter):
        def birth(self):
            super().birth()
            say("door", os.getpid())

    class Main(Process):
        def birth(self):
            self.subscribe("routes/door/state", self.on_state)
        def on_state(self, message):
            if message.body["state"] == "connected":
                say("open")

    class House(Application):
        def build(self):
            self.add_process("reader", Reader, mode="fork")
            self.add_process("writer", Writer, mode="fork")
            self.add_process("door", Door, mode="fork", depends=("reader", "writer"), restart=SOON,
                             parameters={{"node": "lab", "sockets": SOCKETS,
                                          "settings": UnixSocketRouter.Settings(ps_timeout=20.0)}})
"""

RUN = """
    raise SystemExit(House(main=Main, sockets=SOCKETS).run())
"""


Open = Callable[..., Program]


@pytest.fixture
def open_house(start: Start) -> Iterator[Open]:
    """Return a starter of the application, with more lines of source; it ends in order."""
    opened: list[Program] = []

    def open_house(source: str = "") -> Program:
        opened.append(start(HOUSE + source + RUN))
        opened[-1].wait_for("open")
        return opened[-1]

    yield open_house
    for program in opened:
        program.signal(signal.SIGTERM)
        assert program.end() == 0


@pytest.fixture
def house(open_house: Open) -> Program:
    return open_house()


@pytest.fixture
def client(sockets: Path) -> Iterator[Client]:
    with Client(sockets / "gateway.sock") as client:
        yield client


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], None]:
    """Return a way to look again and again, each look being a question to the gateway."""

    def wait(condition: Callable[[], Any]) -> None:
        deadline = monotonic() + PATIENCE
        while not condition():
            assert monotonic() < deadline, "it never came about"

    return wait


def offices(client: Client) -> set[str]:
    return {client.ask(name, "office") for name in ("reader", "writer")}


def taps(client: Client) -> int:
    counts = {each["name"]: each["statistics"] for each in client.ps()["processes"]}
    found: int = (counts["door"] or {"taps": -1})["taps"]
    return found


def test_letters_between_two_other_processes_are_seen(house: Program, client: Client) -> None:
    with client.tap(subject="flood", patience=PATIENCE) as tap:
        client.ask("writer", "go")
        first = next(tap)
    assert (first.kind, first.sender, first.recipient) == ("letter", "writer", "reader")
    assert first.body == {"number": 0}
    assert (first.thread_id, first.thread_index) == (first.message_id, 1)


def test_a_flood_that_nobody_reads_loses_no_letter_and_every_copy_is_counted(
    house: Program, client: Client
) -> None:
    with client.tap(subject="flood", patience=PATIENCE) as tap:
        client.ask("writer", "go")
        # Not a line is read until the bus has done its work.
        assert house.wait_for("read") == str(FLOOD)
        shown = dropped = 0
        for copy in tap:
            shown += 1
            dropped += copy.dropped
            if copy.body["number"] == FLOOD - 1:
                break
    assert shown + dropped == FLOOD
    assert dropped > 0


def test_a_tail_that_is_killed_leaves_every_office_a_plain_one(
    house: Program, client: Client, sockets: Path, until: Callable[[Callable[[], Any]], None]
) -> None:
    assert offices(client) == {"Office"}
    tail = subprocess.Popen(
        [sys.executable, "-m", "gateway", "tail", "--socket", str(sockets / "gateway.sock")],
        stdout=subprocess.PIPE,
    )
    try:
        assert tail.stdout is not None
        until(lambda: offices(client) == {"TappedOffice"})
        assert b"office" in tail.stdout.readline() + tail.stdout.readline()
    finally:
        tail.kill()
        tail.communicate(timeout=PATIENCE)
    until(lambda: offices(client) == {"Office"})
    until(lambda: taps(client) == 0)
    # And a second time, from the beginning.
    with client.tap(subject="office", patience=PATIENCE) as tap:
        client.ask("reader", "office")
        assert next(tap).dropped == 0


def test_a_tail_that_has_stopped_reading_is_let_go(
    open_house: Open, client: Client, until: Callable[[Callable[[], Any]], None]
) -> None:
    open_house("    mail_watch.PATIENCE = 0.3\n")
    with client.tap(subject="flood"):
        client.ask("writer", "go")
        until(lambda: taps(client) == 0)
        until(lambda: offices(client) == {"Office"})


def test_the_tap_of_a_process_that_was_killed_ends_with_it(
    house: Program, client: Client, until: Callable[[Callable[[], Any]], None]
) -> None:
    with client.tap(sender="nobody"):
        until(lambda: offices(client) == {"TappedOffice"})
        os.kill(int(house.wait_for("door")), signal.SIGKILL)
        house.said.clear()
        house.wait_for("open")
        until(lambda: offices(client) == {"Office"})
    # Its successor begins with an empty sheet.
    with client.tap(subject="office", patience=PATIENCE) as again:
        client.ask("reader", "office")
        assert next(again).dropped == 0


def test_a_tap_that_is_not_renewed_ends_with_its_lease(
    open_house: Open, client: Client, until: Callable[[Callable[[], Any]], None]
) -> None:
    open_house("    notices.LEASE = 0.3\n    mail_watch.RENEW_EVERY = 3600.0\n")
    with client.tap(sender="nobody", patience=0.1) as tap:
        until(lambda: offices(client) == {"Office"})
        with pytest.raises(CallTimeoutError):
            next(tap)


def test_a_process_that_is_born_later_is_watched_as_well(house: Program, client: Client) -> None:
    with client.tap(recipient="door", kinds=["reply"], patience=PATIENCE) as tap:
        pid = next(each["pid"] for each in client.ps()["processes"] if each["name"] == "reader")
        os.kill(pid, signal.SIGKILL)
        # It may be dead already and not yet born again.
        while True:
            try:
                client.ask("reader", "office", timeout=0.5)
                break
            except GatewayError:
                continue
        copy = next(copy for copy in tap if copy.sender == "reader" and copy.subject == "office")
    assert copy.body == "TappedOffice"


def test_a_stop_in_the_midst_of_a_watched_flood_is_an_orderly_one(
    house: Program, client: Client
) -> None:
    with client.tap(patience=PATIENCE) as tap:
        client.ask("writer", "go")
        assert next(copy for copy in tap if copy.subject == "flood")
        house.signal(signal.SIGTERM)
        with pytest.raises(RecipientGoneError):
            deque(tap, 0)
        assert house.end() == 0
    assert house.complaints() == ""


def test_one_connection_follows_one_thing(house: Program, client: Client) -> None:
    with client.tap() as tap:
        tap._line.write({"op": "tail", "id": 2}, monotonic() + PATIENCE)
        answer = next(said for said in iter(lambda: tap._line.read(None), None) if "ok" in said)
    assert (answer["id"], answer["error"]["code"]) == (2, RefusedError.code)
