"""A mailbox read on an event loop, which sleeps while nobody wants its mail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.errors import CallTimeoutError, RecipientGoneError, RefusedError
from gateway.mail.message import Message, bounce_of, reply_to
from gateway.process.aio_mailbox import LoopMailbox

Scene = Callable[[Mailbox, LoopMailbox], Coroutine[Any, Any, None]]


def letter(number: int, incarnation: int = 0) -> Message:
    return Message(str(number), "t", 1, 0.0, "b", "a", "s", number, incarnation=incarnation)


def play(scene: Scene) -> None:
    async def run() -> None:
        box = Mailbox("b", clock=RealClock())
        letters = LoopMailbox(box)
        try:
            async with asyncio.timeout(10):
                await scene(box, letters)
        finally:
            letters.close()
            box.close()

    asyncio.run(run())


def test_letters_come_in_order_and_a_wait_ends_at_its_time() -> None:
    async def scene(box: Mailbox, letters: LoopMailbox) -> None:
        assert await letters.get(0.01) is None
        getter = asyncio.create_task(letters.get(None))
        await asyncio.sleep(0)
        await asyncio.to_thread(box.deliver, letter(1))
        box.deliver(letter(2))
        found = [await getter, await letters.get(None)]
        assert [each and each.body for each in found] == [1, 2]

    play(scene)


def test_mail_that_nobody_wants_yet_lets_the_loop_sleep() -> None:
    async def scene(box: Mailbox, letters: LoopMailbox) -> None:
        getter = asyncio.create_task(letters.get(None))
        await asyncio.sleep(0)
        box.deliver(letter(1))
        await getter
        box.arm()
        box.deliver(letter(2))
        await asyncio.sleep(0.01)
        watched = asyncio.get_running_loop().remove_reader(box.descriptors()[0])
        assert not watched, "else the loop would spin"
        found = await letters.get(None)
        assert found is not None

    play(scene)


def test_a_reply_a_bounce_a_death_and_a_deadline_end_the_wait() -> None:
    async def scene(box: Mailbox, letters: LoopMailbox) -> None:
        loop = asyncio.get_running_loop()
        asked = letter(1)
        loop.call_soon(box.deliver, reply_to(asked, "9", 0.0, "answer"))
        assert (await letters.wait_for(asked, 5)).body == "answer"
        asked = letter(2)
        loop.call_soon(box.deliver, bounce_of(asked, "10", 0.0, RefusedError("no")))
        with pytest.raises(RefusedError, match="no"):
            await letters.wait_for(asked, 5)
        loop.call_soon(box.fail_calls, "a", 3)
        with pytest.raises(RecipientGoneError, match="'a' died"):
            await letters.wait_for(letter(3, 3), 5)
        with pytest.raises(CallTimeoutError, match=r"within 0\.01 s"):
            await letters.wait_for(letter(4), 0.01)
        box.deliver(reply_to(letter(4), "11", 0.0, "late"))
        assert await letters.get(0.01) is None, "a late reply confuses nobody"
        assert box.statistics().is_balanced

    play(scene)


def test_waits_nest_and_end_in_any_order() -> None:
    async def scene(box: Mailbox, letters: LoopMailbox) -> None:
        waits = [asyncio.create_task(letters.wait_for(letter(n), 5)) for n in range(20)]
        getter = asyncio.create_task(letters.get(None))
        await asyncio.sleep(0)
        for n in reversed(range(20)):
            await asyncio.to_thread(box.deliver, reply_to(letter(n), f"r{n}", 0.0, n))
        box.deliver(letter(99))
        assert [each.body for each in await asyncio.gather(*waits)] == list(range(20))
        found = await getter
        while found is None:
            found = await letters.get(None)
        assert found.body == 99

    play(scene)
