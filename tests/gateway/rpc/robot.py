"""A robot that can be called, for the tests of this folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from gateway import Message, Process
from gateway.errors import GatewayError, known
from gateway.rpc import command, current_call, serve


@known
class GripError(GatewayError):
    """The gripper is stuck."""

    code = "grip"


class NobodyKnowsError(Exception):
    """An error of no kind that a caller knows."""


class Arm:
    """What hangs on the robot."""

    @command
    def grip(self, force: int, speed: float = 1.0) -> str:
        """Close the gripper."""
        return f"{force} N at {speed:g} m/s"


class Camera:
    """What takes its time."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot

    @command
    def shoot(self, exposure: float = 0.0) -> str:
        """Return a picture after ``exposure`` seconds."""
        time.sleep(exposure)
        return "a picture"

    @command
    def watch(self) -> str:
        """Return when nobody wants it any more, having told who asked."""
        call = current_call()
        self._robot.publish("watching", call.path, retain=True)
        deadline = time.monotonic() + 20
        while not call.is_cancelled and time.monotonic() < deadline:
            time.sleep(0.002)
        self._robot.publish("watched", call.is_cancelled, retain=True)
        return "nobody wants this"


class Robot(Process):
    """Serves an arm in place, a camera with two workers, and what is marked here."""

    def birth(self) -> None:
        self.told: list[Any] = []
        serve(self, Arm(), "arm")
        serve(self, Camera(self), "camera", workers=2, waiting=3)

    @command
    def ping(self) -> str:
        """Answer."""
        return "pong"

    @command
    def note(self, word: str) -> None:
        """Remember a word."""
        self.told.append(word)

    @command
    def noted(self) -> list[str]:
        """Return the words."""
        return self.told

    @command
    def who(self) -> dict[str, Any]:
        """Return what is known of the call."""
        call = current_call()
        return {"caller": call.caller, "id": str(call.id), "path": call.path, "route": call.route}

    @command
    def fail(self, kind: str) -> None:
        """Raise an error of a kind."""
        errors: dict[str, Exception] = {
            "value": ValueError("too heavy"),
            "key": KeyError("left"),
            "zero": ZeroDivisionError("division by zero"),
            "own": GripError("it is stuck"),
            "strange": NobodyKnowsError("what is this"),
            "late": TimeoutError(),
        }
        raise errors[kind]

    @command
    def unsendable(self) -> Any:
        """Return what no letter carries."""
        return object()

    @command
    def count(self, parts: int, pause: float = 0.0) -> Generator[int, None, int]:
        """Yield numbers, a while apart, and return how many."""
        try:
            for number in range(parts):
                if number and pause:
                    time.sleep(pause)
                self.publish("counted", number, retain=True)
                yield number
        finally:
            self.publish("counting is over", True, retain=True)
        return parts

    @command
    def stumble(self) -> Iterator[int]:
        """Yield two numbers, and fail."""
        yield 1
        yield 2
        raise ValueError("a stone")


class Keeper(Process):
    """Keeps what it is asked, and answers all of it when it is told to."""

    def birth(self) -> None:
        self.kept: list[Message] = []
        self.add_filter(subject="^keep$", callback=self.kept.append)
        self.add_filter(subject="^answer$", callback=self.on_answer)
        self.add_filter(subject="^how many$", callback=self.on_how_many)

    def on_how_many(self, message: Message) -> None:
        self.reply(message, len(self.kept))

    def on_answer(self, message: Message) -> None:
        while self.kept:
            self.reply(self.kept.pop(0), "kept")


def retained(main: Process, topic: str, wanted: Callable[[Any], bool] = bool) -> Any:
    """Wait until what is retained on ``topic`` is as ``wanted``, and return it."""
    found: list[Any] = []
    main.subscribe(topic, lambda message: found.append(message.body))
    try:
        deadline = time.monotonic() + 10
        while not found or not wanted(found[-1]):
            main.mailman(timeout=0.5)
            assert time.monotonic() < deadline, f"{topic}: {found}"
    finally:
        main.unsubscribe(topic)
    return found[-1]
