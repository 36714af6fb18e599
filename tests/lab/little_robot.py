"""Objects for services in tests: they stand at the top of a module, as a service's class has to."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gateway.services import Services, register_function, remove_function, this_service
from tests.lab.os_processes import until


class Robot:
    """Has one of everything that a proxy shows."""

    wheels = 4

    def __init__(self, speed: int = 3, helper: Any = None, *, name: str = "robbie") -> None:
        if speed > 100:
            raise ValueError(f"{speed} is too fast")
        self.speed = speed
        self.helper = helper
        self.name = name
        self._secret = 1

    @property
    def half(self) -> float:
        """Half the speed."""
        return self.speed / 2

    @half.setter
    def half(self, value: float) -> None:
        self.speed = int(value * 2)

    @property
    def reader(self) -> int:
        """The OS process that it is in; cannot be set."""
        return os.getpid()

    def grip(self, force: int, *, gently: bool = False) -> str:
        """Grip something."""
        return f"{force} N{', gently' if gently else ''}"

    def scan(self, parts: int) -> Iterator[int]:
        yield from range(parts)

    @staticmethod
    def add(*numbers: int) -> int:
        return sum(numbers)

    @classmethod
    def kind(cls) -> str:
        return cls.__name__

    def where(self) -> tuple[int, bool]:
        return os.getpid(), threading.current_thread() is threading.main_thread()

    # What cannot go well

    def fail(self, words: str) -> None:
        raise ZeroDivisionError(words)

    def hang(self) -> None:
        while True:
            time.sleep(3600)

    def lock(self) -> object:
        return threading.Lock()

    def crash(self, status: int = 3) -> None:
        os._exit(status)

    def kill(self, seconds: float) -> None:
        threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()

    # What holds references

    def knows(self, name: str) -> bool:
        """Tell whether its OS process still believes in the process ``name``."""
        return name in Services.here().process.recipients()

    def myself(self) -> Robot:
        return self

    def team(self) -> list[dict[str, Robot]]:
        return [{"first": self}]

    def both(self) -> list[Any]:
        return [self.helper, {"ports": {1}}]

    def is_me(self, other: Robot) -> bool:
        return other is self

    def let_help(self, helper: Robot, force: int) -> str:
        return helper.grip(force)

    def call(self, function: Callable[..., Any], *values: Any) -> Any:
        return function(*values)

    def keep(self, function: Callable[..., Any]) -> None:
        self.kept = function

    def call_kept(self, *values: Any) -> Any:
        return self.kept(*values)

    # What it does as a service

    def retire(self, *, by_name: bool) -> bool:
        found = Services.here()
        return found.close("robot" if by_name else this_service())

    def knows_functions(self) -> list[str]:
        return Services.here().functions()

    def call_by_name(self, name: str, *values: Any) -> Any:
        return Services.here().get_function(name)(*values)

    def learn(self, name: str) -> None:
        register_function(name, lambda number: number * self.speed)

    def unlearn(self, name: str) -> bool:
        return remove_function(name)

    def hand_to(self, other: Robot) -> bool:
        return other.grip(1) == "1 N" and other.has_speed(this_service(), self.speed)

    def has_speed(self, other: Robot, speed: int) -> bool:
        # Whoever handed itself over is busy until this has returned.
        return repr(other).startswith("<service") and speed > 0

    def raise_child(self, name: str) -> Robot:
        return Services.here().start(name, Robot, self.speed + 1)


class Hangs:
    """Is never made."""

    def __init__(self) -> None:
        while True:
            time.sleep(3600)


class Slow:
    """Is made when somebody says so."""

    def __init__(self, begun: str, go_on: str) -> None:
        Path(begun).touch()
        assert until(Path(go_on).exists, 20.0)


class Crashes:
    """Takes its OS process along."""

    def __init__(self, how: str) -> None:
        if how == "exit":
            os._exit(3)
        elif how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            raise SystemExit(how)


class Door:
    """A context manager: opened in the beginning, closed in the end."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        with open(self.path, "a") as file:
            file.write("open\n")

    def __exit__(self, *_: object) -> None:
        with open(self.path, "a") as file:
            file.write("closed\n")


class Learned:
    """Registers a function while it is made."""

    def __init__(self, name: str) -> None:
        register_function(name, self.taken)

    def taken(self) -> str:
        return "taken"


class Slotted:
    """Has no ``__dict__``."""

    __slots__ = ("_hidden", "speed")

    def __init__(self) -> None:
        self.speed = 1
        self._hidden = 2


class Clash:
    """All the names that a proxy might want for itself."""

    def close(self) -> str:
        return "close"

    def name(self) -> str:
        return "name"

    def timeout(self) -> str:
        return "timeout"

    def result(self) -> str:
        return "result"

    def start(self) -> str:
        return "start"

    def find(self) -> str:
        return "find"

    def refer(self) -> str:
        return "refer"

    address = "address"
    path = "path"
    life = "life"
    line = "line"
    terms = "terms"
    statistics = "statistics"


def make_robot(speed: int) -> Robot:
    return Robot(speed, name="made")
