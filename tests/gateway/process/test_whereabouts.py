"""Where code runs, as the log says it."""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue
from typing import Any

import pytest

from gateway.mail.filters import Run
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.callbacks import Event
from gateway.process.process import Process
from gateway.process.tasks import ChildTasks
from gateway.process.threads import ChildThreads
from gateway.process.whereabouts import Whereabouts, enter, handles_letters, here
from gateway.testing.stage import play
from tests.lab.little_bus import LittleBus

PATIENCE = 10.0


class Nosy(Process):
    def birth(self) -> None:
        self.seen: SimpleQueue[Whereabouts] = SimpleQueue()
        self.add_filter(callback=self.on_letter)
        self.seen.put(here())

    def on_letter(self, message: Message) -> None:
        if message.subject == "nest":
            # Another letter within this one, and this one again.
            while not self.mailman(0.1):
                continue
        self.seen.put(here())

    def death(self) -> None:
        self.seen.put(here())


@pytest.fixture
def bus(tmp_path):
    with LittleBus(tmp_path / "bus") as bus:
        yield bus


def test_a_callback_is_on_its_letters_thread_and_birth_on_none(bus):
    nosy, writer = bus.run(Nosy, "nosy"), bus.run(Process, "writer")
    letter = writer.send("nosy", "hello")
    assert nosy.seen.get(timeout=PATIENCE) == ("nosy", "", "")
    assert nosy.seen.get(timeout=PATIENCE) == ("nosy", "", letter.thread_id)
    nosy.die()
    assert nosy.seen.get(timeout=PATIENCE) == ("nosy", "", "")


def test_a_letter_within_a_letter_has_its_own_thread_and_gives_the_outer_one_back(bus):
    nosy, writer = bus.run(Nosy, "nosy"), bus.run(Process, "writer")
    nosy.seen.get(timeout=PATIENCE)
    outer, inner = writer.send("nosy", "nest"), writer.send("nosy", "hello")
    threads = [nosy.seen.get(timeout=PATIENCE).mail_thread for _ in range(2)]
    assert threads == [inner.thread_id, outer.thread_id]


def tell_whereabouts(message: Message) -> list[str]:
    return list(here())


@pytest.mark.parametrize("run", ["here", "thread", "fork"])
def test_a_callback_works_for_its_process_and_letter_wherever_it_runs(run: Run) -> None:
    class Told(Process):
        def birth(self) -> None:
            callback = tell_whereabouts if run == "fork" else self.on_letter
            self.add_filter(subject="^where$", callback=callback, run=run)

        def on_letter(self, message: Message) -> None:
            self.reply(message, tell_whereabouts(message))

    def scene(main: Process) -> None:
        asked = main.send("told", "where")
        assert main.wait_for_reply(asked).body == ["told", "", asked.thread_id]

    play(scene, told=Told)


def test_a_child_thread_works_for_its_process():
    seen: SimpleQueue[Whereabouts] = SimpleQueue()
    threads = ChildThreads("camera", lambda error: None)
    threads.start("grab", lambda: seen.put(here()))
    assert seen.get(timeout=PATIENCE) == ("camera", "", "")
    threads.join(PATIENCE)


def test_a_child_task_works_for_its_process_whoever_starts_it() -> None:
    seen: list[Whereabouts] = []
    looked = asyncio.Event()

    async def look() -> None:
        seen.append(here())
        looked.set()

    async def scene() -> None:
        enter("boss", "board")
        tasks = ChildTasks("camera", lambda error: None)
        tasks.start("grab", look())
        await looked.wait()
        seen.append(here())

    asyncio.run(scene())
    assert seen == [("camera", "", ""), ("boss", "board", "")]


def test_a_thread_of_nobodys_works_for_the_os_process():
    seen: SimpleQueue[Whereabouts] = SimpleQueue()

    def look() -> None:
        seen.put(here())
        enter("serial", "wheels")
        seen.put(here())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert [seen.get_nowait(), seen.get_nowait()] == [("main", "", ""), ("serial", "wheels", "")]


def test_only_what_takes_a_letter_can_handle_one():
    def deaf(subject: str) -> None: ...

    with pytest.raises(ValueError, match="deaf takes no letter"):
        handles_letters(deaf)


PLAIN, SEVERAL, NEWS, NONE = "plain", "several", "news", ""
EVERYWHERE = {
    "birth": NONE,
    "birth, later": NONE,
    "life": NONE,
    "plain": PLAIN,
    "task of a plain one": NONE,
    "coroutine": PLAIN,
    "coroutine, later": PLAIN,
    "gathered": PLAIN,
    "task group": PLAIN,
    "waited for": PLAIN,
    "helping thread": PLAIN,
    "event, later": PLAIN,
    "first": SEVERAL,
    "second, later": SEVERAL,
    "second, gathered": SEVERAL,
    "news, later": NEWS,
    "news, gathered": NEWS,
    "child task": NONE,
    "soon": NONE,
    "at a time": NONE,
    "on the loop": NONE,
    "of a thread of nobody's": NONE,
    "on the loop, of nobody's": NONE,
}
"""Where a process on a loop may be, and the subject of the letter on whose thread it is then."""


class OnLoop(AsyncProcess):
    """Notes where each of its tasks and callbacks is, and tells it when all have been."""

    async def birth(self) -> None:
        self.subjects = {"": NONE}
        self.seen: dict[str, tuple[str, str]] = {}
        self.asked: Message | None = None
        self.add_filter(subject="^plain$", callback=self.on_plain)
        self.add_filter(subject="^plain$", callback=self.on_coroutine)
        self.add_filter(subject="^several$", callback=[self.on_first, self.on_second])
        self.add_filter(subject="^told$", callback=self.on_told)
        await self.subscribe(f"{self.name}/news", self.on_news)
        await self.register_callbacks(own=self.on_event)
        self.note("birth")
        await asyncio.sleep(0)
        self.note("birth, later")
        self.frequency = 1000.0

    async def life(self) -> None:
        self.frequency = None
        await asyncio.sleep(0)
        self.note("life")

    def on_plain(self, message: Message) -> None:
        self.subjects[message.thread_id] = PLAIN
        self.note("plain")
        self.task = asyncio.create_task(self.later("task of a plain one"))

    async def on_coroutine(self, message: Message) -> None:
        self.note("coroutine")
        await asyncio.sleep(0)
        self.note("coroutine, later")
        await asyncio.gather(self.later("gathered"))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.later("task group"))
        await asyncio.wait_for(self.later("waited for"), PATIENCE)
        await asyncio.to_thread(self.note, "helping thread")
        self.add_child_task("child", self.later("child task"))
        self.add_child_thread("thread", self.thread)
        self.nobodys = threading.Thread(target=self.nobodys_thread)
        self.nobodys.start()
        self.call_soon(lambda: self.note("soon"))
        self.call_later(0.001, lambda: self.note("at a time"))
        self.publish(f"{self.name}/news")
        self.callback_event("own")

    def on_first(self, message: Message) -> None:
        self.subjects[message.thread_id] = SEVERAL
        self.note("first")

    async def on_second(self, message: Message) -> None:
        await asyncio.sleep(0)
        self.note("second, later")
        await asyncio.gather(self.later("second, gathered"))

    async def on_news(self, message: Message) -> None:
        self.subjects[message.thread_id] = NEWS
        await asyncio.sleep(0)
        self.note("news, later")
        await asyncio.gather(self.later("news, gathered"))

    async def on_event(self, event: Event) -> None:
        await asyncio.sleep(0)
        self.note("event, later")

    async def later(self, what: str) -> None:
        await asyncio.sleep(0)
        self.note(what)

    def thread(self) -> None:
        self.call_on_loop(lambda: self.note("on the loop"))

    def nobodys_thread(self) -> None:
        async def ask() -> None:
            self.note("of a thread of nobody's")

        self.pending("ask", ask).result(PATIENCE)
        self.call_on_loop(lambda: self.note("on the loop, of nobody's"))

    def on_told(self, message: Message) -> None:
        self.asked = message
        self.tell()

    def note(self, what: str) -> None:
        process, _, mail_thread = here()
        self.seen[what] = process, self.subjects.get(mail_thread, mail_thread)
        self.tell()

    def tell(self) -> None:
        if self.asked is not None and self.seen.keys() == EVERYWHERE.keys():
            self.reply(self.asked, self.seen)

    async def death(self) -> None:
        await asyncio.to_thread(self.nobodys.join)


def test_on_a_loop_each_is_where_it_is_and_nowhere_else_whatever_it_awaits() -> None:
    def scene(main: Process) -> dict[str, Any]:
        for subject in (PLAIN, SEVERAL):
            for name in ("left", "right"):
                main.send(name, subject)
        asked = [main.send(name, "told") for name in ("left", "right")]
        return {letter.recipient: main.wait_for_reply(letter, PATIENCE).body for letter in asked}

    seen = play(scene, left=(OnLoop, "asyncio"), right=(OnLoop, "asyncio"))
    for name in ("left", "right"):
        assert seen[name] == {what: [name, letter] for what, letter in EVERYWHERE.items()}
