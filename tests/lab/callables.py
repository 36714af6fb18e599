"""What tests name in a configuration to be called."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from typing import Protocol

from gateway.mail.signature import command

NUMBER = 3


def add(left: int, right: int = 0) -> int:
    """Add two numbers."""
    return left + right


async def whisper(text: str) -> str:
    """Say it back."""
    return text.lower()


def count(most: int) -> Iterator[int]:
    """Count."""
    yield from range(most)


def where() -> int:
    """Say which OS process this is."""
    return os.getpid()


class Arm:
    """What is made without arguments."""

    def __init__(self) -> None:
        self._force = 0

    @command
    def grip(self, force: int) -> int:
        """Close the hand; say how hard it was before."""
        self._force, before = force, self._force
        return before


class Needy:
    """What marks a method that no letter can call."""

    @command
    def wave(self, hand) -> None:
        """Say hello."""


class Mounted(Arm):
    """What is made with an argument."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base


class Hoped(Protocol):
    """What cannot be made at all."""

    @command
    def grip(self, force: int) -> int:
        """Close the hand."""

    @abstractmethod
    def missing(self) -> None:
        """Nobody has written that."""


class Vague:
    """What names a type that is nowhere."""

    @command
    def wave(self, hand: Hand) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Say hello."""


ARM = Arm()
MOUNTED = Mounted("wall")
