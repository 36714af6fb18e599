"""What a unit's notification socket hears, over a real one."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import pytest

from gateway.process.process import Process
from gateway.supervision.member import Member, State
from gateway.supervision.restart import RestartPolicy, Restarts
from gateway.supervision.spec import ProcessSpec
from gateway.supervision.systemd import Systemd, settled, status

PATIENCE = 20.0


class Manager:
    """systemd's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def wait_for(self, key: str) -> str:
        """Wait until ``key`` is told; return its value."""
        deadline = monotonic() + PATIENCE
        while True:
            ready, _, _ = select.select([self._socket], [], [], max(0.0, deadline - monotonic()))
            assert ready, f"never told {key}, but {self.heard}"
            lines = self._socket.recv(65536).decode().splitlines()
            self.heard.append(dict(line.split("=", 1) for line in lines))
            if key in self.heard[-1]:
                return self.heard[-1][key]

    def waiting(self) -> bool:
        """Tell whether there is something unread."""
        return bool(select.select([self._socket], [], [], 0.0)[0])

    def close(self) -> None:
        self._socket.close()
        if self.address.startswith("/"):
            Path(self.address).unlink(missing_ok=True)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    at_path = request.param == "path"
    made = Manager(str(tmp_path / "notify") if at_path else f"@gateway-test-{os.getpid()}")
    yield made
    made.close()


def member(name: str, state: State, **options: Any) -> Member:
    spec = ProcessSpec(name, Process, **options)
    return Member(spec, Restarts(RestartPolicy(), Random(1)), state=state)


def crew(*members: Member) -> dict[str, Member]:
    return {each.spec.name: each for each in members}


def test_it_is_told_what_has_changed_and_no_more(manager: Manager) -> None:
    systemd = Systemd(manager.address)
    members = crew(member("a", "living"), member("b", "starting"))
    systemd.step(0.0, members, progresses=True)
    assert manager.wait_for("STATUS") == "1 of 2 processes live; b is starting"
    systemd.step(1.0, members, progresses=True)
    assert not manager.waiting()
    members["b"].state = "living"
    systemd.step(2.0, members, progresses=True)
    assert manager.wait_for("READY") == "1"
    assert manager.wait_for("STATUS") == "2 of 2 processes live"
    systemd.reloading(3.5)
    assert manager.wait_for("RELOADING") == "1"
    assert manager.heard[-1]["MONOTONIC_USEC"] == "3500000", "in one datagram, as it has to be"
    systemd.reloaded()
    assert manager.wait_for("READY") == "1"
    systemd.stopping()
    systemd.stopping()
    assert manager.wait_for("STOPPING") == "1"
    assert not manager.waiting()
    systemd.close()
    assert systemd.statistics() == {"sent": 6, "lost": 0}


def test_the_watchdog_is_fed_at_half_its_time_and_only_while_all_progress(
    manager: Manager,
) -> None:
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "4000000"}
    systemd = Systemd.from_environment({**environment, "WATCHDOG_PID": "7"}, 7)
    systemd.step(10.0, {}, progresses=True)
    assert manager.wait_for("WATCHDOG") == "1"
    assert systemd.due() == 12.0
    systemd.step(11.9, {}, progresses=True)
    systemd.step(12.0, {}, progresses=False)
    assert not manager.waiting()
    assert systemd.due() == 12.25, "the boss asks again soon, and does not spin"
    systemd.step(12.25, {}, progresses=True)
    assert manager.wait_for("WATCHDOG") == "1"
    systemd.close()
    others = Systemd.from_environment({**environment, "WATCHDOG_PID": "8"}, 7)
    assert others.due() is None
    others.close()


def fill(address: str) -> None:
    """Leave no room in the manager's socket."""
    filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    filler.connect(f"\0{address[1:]}" if address.startswith("@") else address)
    with contextlib.suppress(BlockingIOError):
        while True:
            filler.send(b"FILLER=1")
    filler.close()


def test_what_found_the_socket_full_is_told_as_soon_as_there_is_room(manager: Manager) -> None:
    systemd = Systemd(manager.address)
    members = crew(member("a", "living"))

    def make_room() -> None:
        while manager.waiting():
            assert manager.wait_for("FILLER")

    fill(manager.address)
    systemd.step(0.0, members, progresses=True)
    assert systemd.due() == 1.0, "nobody else would wake the boss to say it again"
    make_room()
    systemd.step(1.0, members, progresses=True)
    assert manager.wait_for("READY") == "1"
    assert manager.wait_for("STATUS") == "1 of 1 processes live"
    assert systemd.due() is None
    systemd.reloading(2.0)
    assert manager.wait_for("RELOADING") == "1"
    fill(manager.address)
    systemd.reloaded()
    make_room()
    systemd.step(3.0, members, progresses=True)
    assert manager.wait_for("READY") == "1", "else systemd holds the reload for endless"
    fill(manager.address)
    systemd.stopping()
    make_room()
    systemd.stopping()
    assert manager.wait_for("STOPPING") == "1"
    systemd.stopping()
    assert not manager.waiting()
    assert systemd.statistics() == {"sent": 5, "lost": 4}
    systemd.close()


@pytest.mark.parametrize("usec", ["0", "-5", "soon"])
def test_a_watchdog_that_makes_no_sense_is_none(manager: Manager, usec: str) -> None:
    systemd = Systemd.from_environment({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": usec}, 1)
    assert systemd.due() is None
    systemd.close()


def test_without_systemd_nothing_is_said_and_nothing_is_open() -> None:
    for environment in ({}, {"NOTIFY_SOCKET": "vsock:2:1"}):
        systemd = Systemd.from_environment(environment, 1)
        systemd.step(0.0, {}, progresses=True)
        assert not systemd.notify(READY=1)
        assert systemd.due() is None


def test_a_manager_that_is_gone_or_reads_nothing_holds_nobody_up(manager: Manager) -> None:
    systemd = Systemd(manager.address)
    while systemd.notify(STATUS="a\nREADY=1"):
        pass
    assert systemd.lost == 1
    assert manager.wait_for("STATUS") == "a READY=1", "no field is smuggled in by a line end"
    manager.close()
    assert not systemd.notify(READY=1)
    assert systemd.lost == 2
    systemd.close()


def test_it_is_ready_once_nobody_is_about_to_be_born() -> None:
    assert not settled(crew(member("a", "starting")))
    assert not settled(crew(member("a", "waiting")))
    assert not settled(crew(member("a", "living"), member("b", "waiting", depends=("a",))))
    broken = member("a", "degraded")
    assert settled(crew(broken, member("b", "waiting", depends=("a",))))
    assert settled(crew(member("a", "stopped", autostart=False)))
    assert settled(crew(member("a", "stopped", start_after=60.0)))


def test_the_status_names_who_is_odd() -> None:
    stuck = member("e", "living")
    stuck.stuck = True
    lines = status(
        [
            stuck,
            *(member(name, "failed") for name in "abc"),
            member("z", "stopped", autostart=False),
        ]
    )
    assert lines == "1 of 4 processes live; e is stuck; a is failed; b is failed; …"


def test_a_whole_application_tells_its_unit(
    manager: Manager, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    program = start("""
        class Broken(Process):
            def birth(self):
                raise ZeroDivisionError
        class App(Application):
            def build(self):
                slow = RestartPolicy(first=60, ceiling=60)
                self.add_process("good", Loud, mode="fork")
                self.add_process("broken", Broken, mode="fork", restart=slow)
                self.add_process("late", Loud, depends=["broken"])
        app = App(main=Loud, sockets=SOCKETS)
        def release(number, frame):
            with app.reloading():
                say("reloaded")
        signal.signal(signal.SIGUSR1, release)
        sys.exit(app.run())
        """)
    manager.wait_for("READY")
    program.signal(signal.SIGUSR1)
    manager.wait_for("RELOADING")
    assert abs(int(manager.heard[-1]["MONOTONIC_USEC"]) - monotonic() * 1e6) < 60e6
    manager.wait_for("READY")
    for _ in range(3):
        manager.wait_for("WATCHDOG")
    assert any("broken is failed" in told.get("STATUS", "") for told in manager.heard)
    program.signal(signal.SIGTERM)
    manager.wait_for("STOPPING")
    assert program.end() == 0
