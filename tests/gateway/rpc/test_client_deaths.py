"""A peer that is killed during a call from outside: a typed error, soon, and nothing left."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import pytest

from gateway.application import Application
from gateway.client import Client
from gateway.errors import RecipientGoneError
from gateway.mail.signature import command
from gateway.process.process import Process
from gateway.rpc import later, remote, using
from gateway.supervision.restart import RestartPolicy
from routes.unix_socket.router import UnixSocketRouter
from tests.lab.os_processes import until

DEADLINE = 20.0
ROUNDS = 8


class Doomed(Process):
    """Is killed while it is asked."""

    call_workers = 2

    @command
    def pid(self) -> int:
        """Say who is to be killed."""
        return os.getpid()

    @command
    def hang(self) -> None:
        """Answer never."""
        threading.Event().wait(DEADLINE)

    @command
    def drip(self) -> Iterator[int]:
        """Yield once."""
        yield 0
        threading.Event().wait(DEADLINE)


Begin = Callable[[Any], Callable[[], object]]
"""Begins a call, and returns what waits for its end, which is raised."""


def sync(doomed: Any) -> Callable[[], object]:
    return doomed.hang  # type: ignore[no-any-return]


def future(doomed: Any) -> Callable[[], object]:
    return later(doomed.hang)().result


def callback(doomed: Any) -> Callable[[], object]:
    ended = threading.Event()
    call = using(doomed.hang, callback=lambda call: ended.set())()

    def wait() -> object:
        assert ended.wait(DEADLINE)
        return call.result()

    return wait


def stream(doomed: Any) -> Callable[[], object]:
    parts = doomed.drip()
    assert next(parts) == 0
    return lambda: next(parts)


def kill(pid: int, at: list[float]) -> None:
    at.append(monotonic())
    os.kill(pid, signal.SIGKILL)


@pytest.mark.alone
@pytest.mark.parametrize("begin", [sync, future, callback, stream])
def test_a_peer_that_is_killed_is_a_typed_error_soon(
    begin: Begin, tmp_path: Path, record_property: Any
) -> None:
    seconds: list[float] = []
    left: list[int] = []
    failures: list[BaseException] = []

    def play() -> None:
        assert until((tmp_path / "gateway.sock").exists, DEADLINE)
        with Client(tmp_path / "gateway.sock") as client:
            for number in range(ROUNDS):
                doomed = remote(client, f"doomed{number}", timeout=DEADLINE)
                pid = doomed.pid()
                waits = begin(doomed)
                killed: list[float] = []
                killer = threading.Timer(0.05, kill, (pid, killed))
                killer.start()
                with pytest.raises(RecipientGoneError):
                    waits()
                seconds.append(monotonic() - killed[0])
                killer.join()
            assert until(lambda: len(client.exchange) == 0, DEADLINE)
            left.append(client.calls.statistics()["under_way"])

    class Main(Process):
        def birth(self) -> None:
            self.add_child_thread("program", self.program)

        def program(self) -> None:
            try:
                play()
            except BaseException as failure:  # noqa: BLE001 - raised where the test is
                failures.append(failure)
            self.die()

    class House(Application):
        def build(self) -> None:
            once = RestartPolicy("temporary")
            for number in range(ROUNDS):
                self.add_process(f"doomed{number}", Doomed, mode="fork", restart=once)
            self.add_process(
                "unix_socket",
                UnixSocketRouter,
                mode="fork",
                route="unix_socket",
                parameters={"node": "lab", "sockets": str(tmp_path)},
            )

    House(main=Main, sockets=tmp_path).run()
    if failures:
        raise failures[0]
    assert left == [0]
    assert len(seconds) == ROUNDS
    record_property("a killed peer, told at the front door, in ms", 1000 * median(seconds))
    # Told by the bus at once, and not found by the route's next look, 50 ms after the last.
    assert median(seconds) < 0.04
