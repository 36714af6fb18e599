"""Child threads are named, started, watched and joined by their process."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.process.aio_process import AsyncProcess
from gateway.process.process import Process
from gateway.process.threads import ChildThreads
from gateway.testing.stage import play, play_on_loop


def test_they_run_are_listed_and_are_joined() -> None:
    errors: list[BaseException] = []
    threads = ChildThreads("owner", errors.append)
    go = threading.Event()
    started = threads.start("one", lambda: go.wait(10.0))
    assert started.name == "owner/one"
    assert started.daemon
    assert threads.alive() == ["one"]
    with pytest.raises(ValueError, match="already"):
        threads.start("one", go.wait)
    go.set()
    assert threads.join(10.0) == []
    assert threads.alive() == []
    assert threads.clear_ended() == 1
    assert threads.clear_ended() == 0
    assert errors == []


def test_a_name_may_be_used_again_once_it_has_ended() -> None:
    threads = ChildThreads("owner", lambda error: None)
    for _ in range(2):
        threads.start("one", lambda: None)
        assert threads.join(10.0) == []


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(3), KeyboardInterrupt()])
def test_what_one_raises_is_handed_on(error: BaseException) -> None:
    errors: list[BaseException] = []
    threads = ChildThreads("owner", errors.append)

    def fail() -> None:
        raise error

    threads.start("bug", fail)
    assert threads.join(10.0) == []
    assert errors == [error]


def test_joining_has_one_deadline_for_all_and_names_who_still_runs() -> None:
    now, waited = [0.0], list[float]()

    class Slept(threading.Thread):
        """Is waited for on a clock of its own."""

        def join(self, timeout: float | None = None) -> None:
            assert timeout is not None
            waited.append(timeout)
            now[0] += timeout

    threads = ChildThreads("owner", lambda error: None, monotonic=lambda: now[0], make_thread=Slept)
    go = threading.Event()
    for name in ("a", "b", "c"):
        threads.start(name, lambda: go.wait(10.0))
    assert threads.join(0.1) == ["a", "b", "c"]
    assert waited == [0.1, 0.0, 0.0]
    go.set()
    for child in threads.children():
        assert child.thread is not None
        threading.Thread.join(child.thread, 10.0)
    assert threads.alive() == []


def test_a_child_may_join_the_others() -> None:
    threads = ChildThreads("owner", lambda error: None)
    left: list[list[str]] = []
    threads.start("joiner", lambda: left.append(threads.join(0.5)))
    assert threads.join(10.0) == []
    assert left == [["joiner"]]


def test_only_those_that_have_ended_can_be_forgotten() -> None:
    threads = ChildThreads("owner", lambda error: None)
    go = threading.Event()
    threads.start("runs", lambda: go.wait(10.0))
    threads.start("ended", lambda: None).join(10.0)
    assert threads.remove("runs", "ended", "nobody") == ["ended"]
    assert threads.alive() == ["runs"]
    go.set()
    assert threads.join(10.0) == []
    assert threads.remove("runs", "ended") == ["runs"]


class Lamp(Process):
    """Has two threads of its own, which end at once."""

    def birth(self) -> None:
        names = self.launch_threads()
        assert names == ["blink", "glow"]
        assert self.join_child_threads(10.0) == []
        assert self.remove_child_threads(*names) == names, "they go by one name everywhere"

    def _thread_blink(self) -> None:
        assert threading.current_thread().name == f"{self.name}/blink"

    def _thread_glow(self) -> None:
        """Ends at once."""


def test_what_is_launched_is_known_by_the_names_that_are_returned() -> None:
    play(lambda main: main.start_process("lamp"), lamp=Lamp)


def test_a_join_on_a_loop_takes_no_thread_and_can_be_cancelled() -> None:
    go = threading.Event()

    async def scene(actor: AsyncProcess) -> list[list[str]]:
        actor.add_child_thread("long", lambda: go.wait(60.0))
        running = threading.active_count()
        joins = [asyncio.ensure_future(actor.join_child_threads(60.0)) for _ in range(50)]
        found = [await actor.join_child_threads(0.01)]
        assert threading.active_count() == running
        joins[0].cancel()
        await asyncio.wait(joins[:1], timeout=10.0)
        assert joins[0].cancelled()
        actor._loop.call_soon(go.set)
        found += await asyncio.gather(*joins[1:])
        return [*found, actor.remove_child_threads("long")]

    assert play_on_loop(scene) == [["long"], *[[]] * 49, ["long"]]


def test_a_child_thread_that_joins_the_others_is_not_waited_for() -> None:
    async def scene(actor: AsyncProcess) -> list[str]:
        found: list[str] = []
        actor.add_child_thread(
            "asking", lambda: found.extend(actor.join_child_threads(60.0).result(10.0))
        )
        await actor.join_child_threads(20.0)
        return found

    assert play_on_loop(scene) == ["asking"]
