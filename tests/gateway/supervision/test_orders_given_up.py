"""An order that nobody waits for any longer is carried out, and counted no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from gateway.errors import CallTimeoutError
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.process import Process
from gateway.testing.stage import play


class Unborn(Process):
    """Its birth takes until it is let go."""

    release = Event()

    def birth(self) -> None:
        self.release.wait(20.0)


ASKED: dict[str, Callable[[Process], Any]] = {
    "a start": lambda main: main.start_process("unborn", timeout=0.01),
    "a restart": lambda main: main.restart_process("unborn", timeout=0.01),
    "a stop": lambda main: main.stop_process("unborn", timeout=0.01),
    "a pill": lambda main: main.poison_pill("unborn", timeout=0.01),
    "the application": lambda main: main.application.start_process("unborn", timeout=0.01),
}


@pytest.mark.parametrize("what", ASKED)
def test_one_that_timed_out_is_open_no_more(what: str) -> None:
    Unborn.release.clear()

    def scene(main: Process) -> None:
        try:
            with pytest.raises(CallTimeoutError, match=r"of 'unborn' within 0\.01 s; the order"):
                ASKED[what](main)
            assert main.application.statistics()["orders_open"] == 0
        finally:
            Unborn.release.set()

    play(scene, unborn=Unborn)


class Impatient(AsyncProcess):
    """Waits for a start until it is told that this takes too long, or is cancelled."""

    async def birth(self) -> None:
        self.add_filter(subject="^(times out|is cancelled)$", callback=self.on_try)

    async def on_try(self, message: Message) -> None:
        timeout = 0.01 if message.subject == "times out" else 20.0
        starting = asyncio.ensure_future(self._start(timeout))
        await asyncio.sleep(0)
        if message.subject == "is cancelled":
            starting.cancel()
        await asyncio.wait([starting])
        assert starting.cancelled() == (message.subject == "is cancelled")
        self.reply(message)

    async def _start(self, timeout: float) -> None:
        with pytest.raises(CallTimeoutError):
            await self.start_process("unborn", timeout=timeout)


@pytest.mark.parametrize("how", ["times out", "is cancelled"])
def test_one_that_was_awaited_is_open_no_more(how: str) -> None:
    Unborn.release.clear()

    def scene(main: Process) -> None:
        try:
            main.wait_for_reply(main.send("impatient", how), 10.0)
            assert main.application.statistics()["orders_open"] == 0
        finally:
            Unborn.release.set()

    play(scene, unborn=Unborn, impatient=(Impatient, "asyncio"))
