"""A driver's commands are an API: called from elsewhere as any other is."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

import pytest

from gateway.clock import RealClock
from gateway.device import command
from gateway.errors import CallTimeoutError, RefusedError, RemoteError, UnknownApiError
from gateway.hosting.house import House
from gateway.mail.message import UNSOLICITED, Message
from gateway.process.process import Process
from gateway.rpc import later, remote, tell, using
from gateway.testing.fake_link import FakeLink, FakeOpener, answering
from gateway.testing.stage import play
from tests.gateway.hosting.conftest import ANSWERS, FRAMING, Board
from tests.lab.os_processes import until

DEADLINE = 10.0
T = TypeVar("T")


class Wheels(Board):
    """What a robot has."""

    @command
    def drive(self, left: int, right: int = 0) -> list[int]:
        """Set both speeds."""
        self.write(b"V%d,%d" % (left, right))
        return [left, right]


def drive_around(scene: Callable[[Process, Process, FakeLink], T]) -> T:
    """Play ``scene`` beside a route with one board; it is handed both and the board's wire."""
    routes: SimpleQueue[Process] = SimpleQueue()
    link = FakeLink(answering(FRAMING, ANSWERS))

    class Serial(Process):
        def birth(self) -> None:
            self.house = House(self, (), clock=RealClock())
            kind = type("Wheels", (Wheels,), {"heartbeat": None})
            self.house.host("wheels", lambda host: kind("wheels", host), FakeOpener(lambda: link))
            self.house.start()
            routes.put(self)

        def death(self) -> None:
            assert self.house.stop() == []

    def within(main: Process) -> T:
        states: list[bool] = []
        main.subscribe(
            "devices/wheels/state", lambda message: states.append(message.body["connected"])
        )
        serial = routes.get(timeout=DEADLINE)
        while not any(states):
            main.mailman(timeout=DEADLINE)
        return scene(main, serial, link)

    return play(within, serial=Serial)


def counts(serial: Any, *names: str) -> tuple[int, ...]:
    found = serial.house.statistics()["devices"]["wheels"]
    return tuple(found[name] for name in names)


def test_commands_are_called_by_name_and_by_position() -> None:
    def scene(main: Process, serial: Process, link: FakeLink) -> Any:
        wheels = remote(main, "wheels@serial")
        return [
            wheels.drive(left=1, right=2),
            wheels.drive(3, 4),
            wheels.drive(5, right=6),
            later(wheels.drive)(7).result(),
        ]

    assert drive_around(scene) == [[1, 2], [3, 4], [5, 6], [7, 0]]


def test_its_map_says_what_each_command_takes_and_returns() -> None:
    def scene(main: Process, serial: Process, link: FakeLink) -> Any:
        return main.wait_for_reply(main.send("wheels@serial", "$api", receipt=True)).body

    found = drive_around(scene)
    assert found["drive"] == {
        "description": "Set both speeds.",
        "parameters": {
            "left": {"type": "int", "unit": "", "required": True},
            "right": {"type": "int", "unit": "", "required": False},
        },
        "returns": "list[int]",
        "returns_unit": "",
        "stream": False,
    }
    assert {"led", "say", "drive"} <= found.keys()


def test_completion_lists_the_commands() -> None:
    def scene(main: Process, serial: Process, link: FakeLink) -> list[str]:
        return dir(remote(main, "wheels@serial"))

    assert {"drive", "led"} <= set(drive_around(scene))


def test_an_unknown_command_is_an_unknown_api_and_says_what_was_meant() -> None:
    def scene(main: Process, serial: Process, link: FakeLink) -> None:
        remote(main, "wheels@serial").driev(left=1)

    with pytest.raises(UnknownApiError, match="no command 'driev'; did you mean 'drive'"):
        drive_around(scene)


def test_arguments_that_do_not_fit_are_refused_with_what_would_be_right() -> None:
    def scene(main: Process, serial: Process, link: FakeLink) -> None:
        remote(main, "wheels@serial").drive(1, 2, 3)

    with pytest.raises(RefusedError, match=r"at most 2 arguments.*drive\(left: int"):
        drive_around(scene)


def test_a_bug_of_the_driver_has_its_remote_type() -> None:
    def scene(main: Process, serial: Process, link: FakeLink) -> Any:
        with pytest.raises(ZeroDivisionError) as caught:
            remote(main, "wheels@serial").crash()
        return caught.value

    error = drive_around(scene)
    assert isinstance(error, RemoteError)
    assert error.remote_type == "ZeroDivisionError"
    assert "in crash" in error.remote_traceback


def test_an_event_is_carried_out_and_nobody_is_answered() -> None:
    def scene(main: Process, serial: Process, link: FakeLink) -> Any:
        came: list[Message] = []
        main.add_filter(callback=came.append, fallthrough=True)
        wheels = remote(main, "wheels@serial")
        tell(wheels.drive)(left=8, right=9)
        tell(wheels.decline)()
        tell(wheels.driev)()
        # Whatever would be answered to those comes before this.
        wheels.drive(left=1)
        main.mailman()
        assert until(lambda: counts(serial, "told", "answered") == (1, 1), DEADLINE)
        return came, link.written[1:]

    came, written = drive_around(scene)
    assert came == []
    assert written == [FRAMING.encode(b"V8,9"), FRAMING.encode(b"V1,0")]


def test_a_call_that_is_taken_back_is_no_command() -> None:
    def scene(main: Process, serial: Process, link: FakeLink) -> Any:
        with pytest.raises(CallTimeoutError):
            using(remote(main, "wheels@serial"), timeout=0.02).wait(seconds=60.0)
        link.hand(FRAMING.encode(b"? at last"))
        remote(main, "wheels@serial").drive(left=1)
        # The one that was answered too late, what took it back, and the one that was in time.
        assert until(lambda: counts(serial, "bounced", "told", "answered") == (0, 1, 2), DEADLINE)

    drive_around(scene)


def test_what_a_device_can_do_is_known_while_it_is_away(make_rig) -> None:
    rig = make_rig(Wheels)
    rig.connect()
    rig.opener.absent = True
    rig.link.break_()
    rig.outside.wait_event("board", "disconnected")
    assert "drive" in rig.call("$api")
    with pytest.raises(RefusedError, match="not connected"):
        rig.call("drive", {"left": 1})


def test_what_takes_a_call_back_is_passed_over_while_the_device_is_away(make_rig) -> None:
    rig = make_rig()
    rig.opener.absent = True
    rig.thread.start()
    rig.opener.wait_attempts(1)
    letter = Message("7", "7", 1, 0.0, "t", "board@fake", "$cancel", "5", headers=UNSOLICITED)
    rig.thread.post(letter)
    with pytest.raises(RefusedError, match="not connected"):
        rig.call("led")
    assert rig.answers_to(letter) == []
    assert rig.thread.statistics().told == 1
