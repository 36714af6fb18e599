"""Whether somebody can be called at an address, told as it changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway import AsyncProcess, Process
from gateway.errors import AddressError
from gateway.rpc import Connection, watch_connection
from gateway.testing.stage import Echo, play


def until(main: Process, seen: list[Any], wanted: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not wanted():
        main.mailman(timeout=0.5)
        assert time.monotonic() < deadline, seen


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_a_process_that_ends_and_comes_back_is_told_of_with_its_life(mode: Any) -> None:
    def scene(main: Process) -> list[tuple[bool, int]]:
        seen: list[Connection] = []
        watch = watch_connection(main, "echo", seen.append)
        main.stop_process("echo")
        until(main, seen, lambda: len(seen) > 1)
        assert "echo" in seen[-1].cause
        main.start_process("echo")
        until(main, seen, lambda: len(seen) > 2)
        watch.close()
        main.stop_process("echo")
        main.mailman(timeout=0.1)
        return [(found.is_up, found.incarnation) for found in seen]

    assert play(scene, echo=(Echo, mode)) == [(True, 1), (False, 0), (True, 2)]


class Route(Process):
    """Stands for a router: says how its medium stands."""

    def birth(self) -> None:
        self.add_filter(subject="^stand$", callback=self.stand)

    def stand(self, message: Any) -> None:
        state = {
            "state": "connected" if message.body else "waiting",
            "cause": f"told {message.body}",
        }
        self.publish(f"routes/{self.name}/state", state, retain=True)
        self.reply(message)


def test_what_is_behind_a_router_is_there_while_its_medium_is_connected() -> None:
    def scene(main: Process) -> list[bool]:
        seen: list[Connection] = []
        watch = watch_connection(main, "far@route", seen.append)
        for stand in (True, False, True):
            count = len(seen)
            main.wait_for_reply(main.send("route", "stand", stand))
            until(main, seen, lambda count=count: len(seen) > count)  # type: ignore[misc]
        watch.close()
        return [found.is_up for found in seen]

    assert play(scene, route=Route) == [True, False, True]


def test_an_asyncio_process_watches_as_well() -> None:
    class Watcher(AsyncProcess):
        async def birth(self) -> None:
            self.seen: list[bool] = []
            for address in ("echo", "far@route"):
                watch_connection(self, address, self.note)

        def note(self, found: Connection) -> None:
            self.publish(f"seen/{found.address}", found.is_up, retain=True)

    def scene(main: Process) -> Any:
        seen: dict[str, Any] = {}
        main.wait_for_reply(main.send("route", "stand", True))
        main.subscribe("seen/#", lambda message: seen.update({message.subject: message.body}))
        until(main, [seen], lambda: len(seen) == 2)
        return seen

    assert play(scene, echo=Echo, route=Route, watcher=(Watcher, "asyncio")) == {
        "seen/echo": True,
        "seen/far@route": True,
    }


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(AddressError):
        play(lambda main: watch_connection(main, "", print))


def test_nobody_is_told_of_anything_once_it_was_closed() -> None:
    def scene(main: Process) -> list[bool]:
        seen: list[bool] = []
        watching = watch_connection(main, "echo", lambda found: seen.append(found.is_up))
        heard: list[Any] = []
        main.office.on_change(lambda: heard.append(main.office.book.version))
        main._tell_boss("stop", "echo")
        deadline = time.monotonic() + 5
        while not any("echo" not in main.office.book.incarnations for _ in heard):
            # Replies and control alone: what is to be done soon is not done yet.
            main._box.read_replies()
            assert time.monotonic() < deadline
        watching.close()
        main.mailman(timeout=0.1)
        return seen

    assert play(scene, echo=Echo) == [True]


def test_those_who_died_without_closing_are_forgotten() -> None:
    class Watcher(Process):
        def birth(self) -> None:
            watch_connection(self, "main", lambda found: None)

    def scene(main: Process) -> int:
        for _ in range(5):
            main.restart_process("watcher")
        return len(main.office._listeners)

    # The present one, and the one before until the book changes once more.
    assert play(scene, watcher=Watcher) <= 2
