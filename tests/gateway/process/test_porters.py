"""A letter that waits for room beside a loop is called off with its wait."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import MailboxFullError
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.porters import MOST
from gateway.process.process import Process
from gateway.testing.stage import play_on_loop


class Slow(Process):
    """Reads nothing from ``hold`` on until somebody opens the gate, which is a named pipe."""

    gate = Path()

    def birth(self) -> None:
        self.heard: set[str] = set()
        self.add_filter(subject="^hold$", callback=self.on_hold)
        self.add_filter(subject="^say$", callback=lambda message: self.heard.add(message.body))
        self.add_filter(
            subject="^heard$", callback=lambda message: self.reply(message, sorted(self.heard))
        )

    def on_hold(self, message: Message) -> None:
        self.reply(message)
        self.gate.read_bytes()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], object]:
    """Return what opens the gate."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    monkeypatch.setattr(Slow, "gate", gate)
    return lambda: gate.write_bytes(b"")


async def fill(actor: AsyncProcess) -> None:
    await actor.ask("slow", "hold")
    is_full = False
    while not is_full:
        try:
            # Who waits a little has a ring beside a full socket.
            await actor.send_patiently("slow", "say", "before", timeout=0.05)
        except MailboxFullError:
            is_full = True


@pytest.mark.parametrize("mode", ["thread", "fork"])
@pytest.mark.parametrize("word", ["send_patiently", "ask"])
def test_a_letter_whose_wait_is_cancelled_is_called_off(mode: Any, word: str, opened: Any) -> None:
    async def scene(actor: AsyncProcess) -> tuple[int, list[str]]:
        await fill(actor)
        write = getattr(actor, word)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await write("slow", "say", "cancelled", timeout=60.0, awaited=True)
        assert await actor.join_child_threads(10.0) == []
        opened()
        heard = (await actor.ask("slow", "heard", timeout=20.0)).body
        return len(actor._box._lanes.calls), heard

    assert play_on_loop(scene, slow=(Slow, mode)) == (0, ["before"])


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_under_way_are_the_threads_that_live(mode: Any, opened: Any) -> None:
    async def scene(actor: AsyncProcess) -> tuple[bool, int]:
        await fill(actor)
        most = 0
        for _ in range(2 * MOST):
            task = asyncio.ensure_future(actor.send_patiently("slow", "say", "x", timeout=60.0))
            await asyncio.sleep(0)
            most = max(most, len(actor.child_threads_alive()))
            task.cancel()
            with pytest.raises((asyncio.CancelledError, MailboxFullError)):
                await task
        assert await actor.join_child_threads(10.0) == []
        opened()
        return most <= MOST + 1, actor.statistics()["waits_for_room"]

    assert play_on_loop(scene, slow=(Slow, mode)) == (True, 0)
