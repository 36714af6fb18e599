"""Named locks of an asyncio process: tasks and threads take turns, and no lock is ever lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from math import inf
from random import Random
from threading import get_ident
from time import monotonic
from typing import Any

import pytest

from gateway.errors import CallTimeoutError
from gateway.process.aio_locks import LoopLocks, PendingLocks, SharedLock
from gateway.process.threads import ChildThreads

Take = Callable[..., PendingLocks]


def play(scene: Callable[[Take, ChildThreads], Coroutine[Any, Any, None]]) -> None:
    """Run ``scene`` on a loop; afterwards every lock is free and every thread has ended."""
    failures: list[BaseException] = []
    threads = ChildThreads("test", failures.append)

    async def run() -> None:
        locks = LoopLocks(monotonic=monotonic)
        locks.add("arm", "camera")
        loop_thread = get_ident()

        def take(*names: str, timeout: float = 10.0) -> PendingLocks:
            return PendingLocks(locks, names, timeout, loop_thread)

        await scene(take, threads)
        assert await asyncio.to_thread(threads.join, 10.0) == []
        async with take(timeout=0.0):
            pass

    asyncio.run(run())
    assert failures == []


async def until_waiting() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_the_loop_goes_on_while_a_task_waits_for_what_a_thread_holds() -> None:
    async def scene(take: Take, threads: ChildThreads) -> None:
        held, enough = asyncio.Event(), threading.Event()
        loop, said = asyncio.get_running_loop(), []

        def hold() -> None:
            with take("arm"), take("arm", "camera"):
                loop.call_soon_threadsafe(held.set)
                assert enough.wait(10.0)

        async def want() -> None:
            async with take("camera", "arm"):
                said.append("mine")

        threads.start("holder", hold)
        await held.wait()
        task = asyncio.create_task(want())
        await until_waiting()
        said.append("the loop went on")
        enough.set()
        await task
        assert said == ["the loop went on", "mine"]

    play(scene)


def test_a_thread_waits_for_what_a_task_holds_and_gets_it_in_its_turn() -> None:
    async def scene(take: Take, threads: ChildThreads) -> None:
        said: list[str] = []

        def on_thread() -> None:
            with take("arm"):
                said.append("thread")

        async def on_loop() -> None:
            async with take("arm"):
                said.append("task")

        pending = take("arm")
        async with pending:
            first = asyncio.create_task(on_loop())
            await until_waiting()
            threads.start("waits", on_thread)
            said.append("holder")
        await first
        assert await asyncio.to_thread(threads.join, 10.0) == []
        assert said == ["holder", "task", "thread"]

    play(scene)


def test_a_task_takes_again_what_it_holds_and_another_one_gives_up_at_its_deadline() -> None:
    async def scene(take: Take, threads: ChildThreads) -> None:
        async def other() -> None:
            with pytest.raises(CallTimeoutError, match=r"'camera' stayed taken for 0\.01 s"):
                async with take(timeout=0.01):
                    pytest.fail("it was held")
            # Of what it wanted nothing stayed with it.
            async with take("arm", timeout=0.0):
                pass

        async with take("camera"):
            async with take("camera", timeout=0.0):
                pass
            await asyncio.create_task(other())
        with pytest.raises(ValueError, match="nobody added the lock 'leg'; there are arm, camera"):
            await take("leg").__aenter__()

    play(scene)


def test_a_thread_gives_up_at_its_deadline_too() -> None:
    async def scene(take: Take, threads: ChildThreads) -> None:
        def give_up() -> None:
            with pytest.raises(CallTimeoutError, match=r"'arm' stayed taken for 0\.01 s"):
                take("arm", timeout=0.01).__enter__()

        async with take("arm"):
            await asyncio.to_thread(give_up)

    play(scene)


def test_a_thread_whose_wait_is_interrupted_takes_no_lock_with_it() -> None:
    lock = SharedLock()
    said: list[str] = []

    def wait() -> None:
        try:
            # More than a lock of the interpreter can wait: it raises, as a signal's handler may.
            lock.acquire(timeout=inf)
        except OverflowError:
            said.append("interrupted")

    lock.acquire(timeout=0.0)
    thread = threading.Thread(target=wait)
    thread.start()
    thread.join(10.0)
    lock.release()
    assert lock.acquire(timeout=0.0)
    assert said == ["interrupted"]


def test_a_task_that_is_cancelled_while_it_waits_takes_no_lock_with_it() -> None:
    async def scene(take: Take, threads: ChildThreads) -> None:
        said: list[str] = []

        async def want(name: str) -> None:
            async with take("arm"):
                said.append(name)

        async with take("arm"):
            early, late, last = [asyncio.create_task(want(name)) for name in ("a", "b", "c")]
            await until_waiting()
            early.cancel()
            await until_waiting()
            assert early.cancelled()
        # Handed over to it by now, and not yet told.
        late.cancel()
        await last
        assert late.cancelled()
        assert said == ["c"]

    play(scene)


def test_a_lock_that_comes_at_the_very_deadline_is_held() -> None:
    async def run() -> None:
        lock, loop = SharedLock(), asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        lock.acquire(timeout=0.0)
        loop.call_soon(lock.release)
        assert await lock.acquire_on_loop(task, 0.0)
        with pytest.raises(RuntimeError, match="another one's to give back"):
            lock.release()
        lock.release_of(task)
        assert lock.acquire(timeout=0.0)

    asyncio.run(run())


def test_what_is_written_wrongly_is_refused_with_what_to_write() -> None:
    async def scene(take: Take, threads: ChildThreads) -> None:
        right = "write `async with self.get_locks"
        with pytest.raises(RuntimeError, match=f"must not block the loop .*{right}"), take("arm"):
            pytest.fail("it was held")

        async def elsewhere() -> None:
            with pytest.raises(
                RuntimeError, match=r"on another thread write `with self\.get_locks"
            ):
                await take("arm").__aenter__()

        await asyncio.to_thread(asyncio.run, elsewhere())

    play(scene)


def test_whoever_gives_back_does_not_mind_that_a_loop_is_closed() -> None:
    lock = SharedLock()
    lock.acquire(timeout=0.0)

    async def begin() -> None:
        task = asyncio.current_task()
        assert task is not None
        await lock.acquire_on_loop(task, 60.0)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    task = loop.create_task(begin())
    loop.call_soon(loop.stop)
    loop.run_forever()
    # As where the loop is stuck, and given up: nobody has cancelled its tasks.
    loop.close()
    lock.release()
    waits = task.get_coro()
    assert waits is not None
    with pytest.raises(GeneratorExit):
        waits.throw(GeneratorExit)
    assert lock.acquire(timeout=0.0)


@pytest.mark.parametrize("seed", range(5))
def test_tasks_and_threads_never_hold_one_lock_at_once_whoever_is_cancelled(seed: int) -> None:
    async def scene(take: Take, threads: ChildThreads) -> None:
        random, holders, turns = Random(seed), [0], [0]

        def use(by: int) -> None:
            holders[0] += by
            assert holders[0] in (0, 1)
            turns[0] += 1

        def on_thread() -> None:
            for _ in range(50):
                with take("arm"):
                    use(1)
                    use(-1)

        async def on_loop() -> None:
            for _ in range(20):
                async with take("camera", "arm"):
                    use(1)
                    try:
                        await asyncio.sleep(0)
                    finally:
                        use(-1)

        for number in range(3):
            threads.start(str(number), on_thread)
        tasks = [asyncio.create_task(on_loop()) for _ in range(20)]
        for task in random.sample(tasks, 15):
            for _ in range(random.randrange(5)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [task for task in tasks if not task.cancelled() and task.exception()] == []
        assert turns[0] >= 2 * 20

    play(scene)
