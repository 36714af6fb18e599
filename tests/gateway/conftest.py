"""Signals that arrive before any instruction of ours, with handlers that raise."""

from __future__ import annotations

import _thread
import itertools
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

Act = Callable[[], Any]


class StruckError(Exception):
    """What the handler raises."""


@pytest.fixture
def where() -> list[str]:
    """The way to where the last signal struck."""
    return []


@pytest.fixture
def strike(where: list[str], ours: str) -> Iterator[Callable[[int, Act], bool]]:
    """Return a way to have a signal arrive before one instruction; it tells whether one did."""

    def raises(*_: object) -> None:
        raise StruckError

    before = signal.signal(signal.SIGUSR1, raises)
    # A `for` calls no handler when it has called this.
    arrives = map(_thread.interrupt_main, itertools.repeat(signal.SIGUSR1))
    left = [0]

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if event == "call":
            if ours not in frame.f_code.co_filename:
                return None
            frame.f_trace_opcodes = True
        elif event == "opcode":
            left[0] -= 1
            if left[0] == 0:
                # From here on none of these frames leads here, where handlers are called as well.
                outer: FrameType | None = frame
                while outer is not None:
                    outer.f_trace_opcodes = False
                    outer.f_trace = None
                    outer = outer.f_back
                for _ in arrives:
                    break
                return None
        return trace

    def strike(number: int, act: Act) -> bool:
        left[0] = number
        try:
            sys.settrace(trace)
            act()
            sys.settrace(None)
        except StruckError as error:
            sys.settrace(None)
            where[:] = [
                f"{at.name}:{at.lineno}" for at in traceback.extract_tb(error.__traceback__)
            ]
            return True
        finally:
            sys.settrace(None)
        return left[0] <= 0

    yield strike
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def everywhere(
    strike: Callable[[int, Act], bool], where: list[str]
) -> Callable[[Act, Act, Act], int]:
    """Return a way to strike a scene at its every instruction; it tells how many there were."""

    def run(prepare: Act, act: Act, check: Act) -> int:
        for number in itertools.count(1):
            prepare()
            was_struck = strike(number, act)
            try:
                check()
            except BaseException as error:
                error.add_note(f"struck before instruction {number} in {where}")
                raise
            if not was_struck:
                return number
        raise AssertionError

    return run
