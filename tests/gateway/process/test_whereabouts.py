"""Where code runs, as the log says it."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest

from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.process.threads import ChildThreads
from gateway.process.whereabouts import Whereabouts, enter, handles_letters, here
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


def test_a_child_thread_works_for_its_process():
    seen: SimpleQueue[Whereabouts] = SimpleQueue()
    threads = ChildThreads("camera", lambda error: None)
    threads.start("grab", lambda: seen.put(here()))
    assert seen.get(timeout=PATIENCE) == ("camera", "", "")
    threads.join(PATIENCE)


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
