"""What has waited, what is new, and what lies on flash: each topic in order, and nothing lost."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.bus.database import put_aside
from gateway.bus.spool import SpoolReader
from gateway.bus.spool_source import NEW_AT_MOST, Source, Taken
from gateway.bus.spool_terms import SpoolTerms
from gateway.bus.spool_writer import SpoolWriter
from gateway.errors import SpoolError
from gateway.mail.message import Message
from tests.lab.os_processes import until
from tests.lab.sudden_death import KilledError, killed_at

IDS = map(str, count())


def letter(topic: str, number: int, *, at: float = 0.0) -> Message:
    name = next(IDS)
    return Message(name, name, 1, at, "serial", "mqtt", topic, number)


class Scene:
    """A spool in memory with flash beside it, its writer and its reader."""

    def __init__(self, folder: Path, **terms: object) -> None:
        self.memory, self.flash = folder / "memory", folder / "flash"
        self.terms = replace(SpoolTerms(limit=1 << 20, flash=str(self.flash)), **terms)
        self.writer = SpoolWriter(self.memory, self.terms)
        self.synced = SpoolWriter(self.memory, self.terms, synced=True)
        self.reader = SpoolReader(self.memory, self.terms)

    def write(self, topic: str, *numbers: int) -> None:
        for number in numbers:
            self.writer.append(letter(topic, number))

    def new(self, most: int = 1000) -> list[tuple[str, int]]:
        return told(self.reader.take_new(most))

    def waited(self, most: int = 1000) -> list[tuple[str, int]]:
        return told(self.reader.take_backlog(most))

    def confirm(self, taken: list[Taken]) -> None:
        self.reader.confirm(taken)
        self.reader.flush()

    def keep(self) -> None:
        """Let a window pass."""
        self.reader.keep()
        self.reader.keep()

    def again(self) -> None:
        """Kill the reader, as far as one can in the same OS process, and start another."""
        self.reader.close()
        self.reader = SpoolReader(self.memory, self.terms)

    def cut_power(self) -> None:
        self.close()
        shutil.rmtree(self.memory)
        self.writer = SpoolWriter(self.memory, self.terms)
        self.synced = SpoolWriter(self.memory, self.terms, synced=True)
        self.reader = SpoolReader(self.memory, self.terms)

    def flash_says(self, what: str) -> Any:
        said = self.reader.flash()
        assert said is not None
        return said[what]

    def close(self) -> None:
        for each in (self.writer, self.synced, self.reader):
            each.close()


def told(taken: list[Taken]) -> list[tuple[str, int]]:
    return [(each.message.subject, each.message.body) for each in taken]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


@contextlib.contextmanager
def replaced(scene: Scene, tmp_path: Path, **terms: object) -> Iterator[Scene]:
    scene.close()
    other = Scene(tmp_path, **terms)
    yield other
    other.close()


def test_what_is_new_goes_out_beside_what_has_waited(scene: Scene) -> None:
    scene.write("a", 1, 2, 3)
    scene.reader.begin()
    scene.write("b", 1)
    assert scene.reader.has_backlog
    assert scene.new() == [("b", 1)]
    assert scene.waited(2) == [("a", 1), ("a", 2)]
    assert scene.waited() == [("a", 3)]
    assert not scene.reader.has_backlog


def test_within_a_topic_what_is_new_waits_for_what_has_waited(scene: Scene) -> None:
    scene.write("a", 1, 2)
    scene.reader.begin()
    scene.write("a", 3)
    scene.write("b", 1)
    scene.write("a", 4)
    assert scene.new() == [("b", 1)]
    assert scene.waited(2) == [("a", 1), ("a", 2)]
    scene.write("a", 5)
    assert scene.new() == [], "3 and 4 go before it"
    waited = scene.waited() + scene.waited() + scene.waited()
    assert waited == [("a", 3), ("a", 4), ("a", 5)]
    assert not scene.reader.has_backlog
    scene.write("a", 6)
    assert scene.new() == [("a", 6)]


def test_a_second_outage_in_the_middle_of_the_first_ones_backlog(scene: Scene) -> None:
    scene.write("a", 1, 2, 3)
    scene.reader.begin()
    scene.write("a", 4)
    scene.write("b", 1)
    assert scene.new() == [("b", 1)]
    assert scene.waited(1) == [("a", 1)]
    scene.reader.begin()
    scene.write("b", 2)
    scene.write("a", 5)
    assert scene.new() == [("b", 2)]
    assert scene.waited() + scene.waited() == [("a", 2), ("a", 3), ("a", 4), ("a", 5)]


def test_what_may_go_first_does(scene: Scene, tmp_path: Path) -> None:
    with replaced(scene, tmp_path, live_first=("a/+",)) as scene:
        scene.write("a/b", 1, 2)
        scene.reader.begin()
        scene.write("a/b", 3)
        assert scene.new() == [("a/b", 3)]
        assert scene.waited() == [("a/b", 1), ("a/b", 2)]


def test_what_waits_too_long_is_moved_to_flash_and_goes_first_from_there(scene: Scene) -> None:
    scene.write("a", 1, 2)
    scene.reader.keep()
    assert scene.flash_says("queued") == 0, "it has not waited for long"
    scene.write("b", 1)
    scene.reader.keep()
    assert scene.flash_says("queued") == 3
    scene.write("a", 3)
    scene.write("c", 1)
    assert scene.new() == [("c", 1)]
    assert scene.waited() == [("a", 1), ("a", 2), ("b", 1)]
    assert scene.waited() == [("a", 3)]
    assert scene.reader.balance() == (5, 0, 0, 0, 0, 0, 5)


def test_a_clock_that_was_set_back_calls_no_more_new_than_can_be(scene: Scene) -> None:
    for number in range(NEW_AT_MOST + 100):
        scene.writer.append(letter("a", number, at=200.0))
    scene.reader.begin(150.0)
    assert scene.reader.has_backlog, "what has waited keeps to its pace"
    assert scene.new() == [], "and its order"
    bodies = [number for _, number in scene.waited() + scene.waited(9999)]
    assert bodies == list(range(NEW_AT_MOST + 100))


def test_what_is_new_does_not_go_behind_what_has_waited_while_somebody_takes_it(
    scene: Scene,
) -> None:
    scene.write("a", 1, 2)
    scene.reader.keep(connected=True)
    scene.write("b", 1)
    scene.reader.keep(connected=True)
    assert scene.flash_says("queued") == 2
    assert scene.new() == [("b", 1)]
    assert scene.waited() == [("a", 1), ("a", 2)]


def test_what_was_written_since_there_is_a_connection_has_not_waited(scene: Scene) -> None:
    """The reader may hear of the connection late, and much may have been written by then."""
    for number in range(200):
        scene.writer.append(letter("a", number, at=100.0))
    scene.writer.append(letter("a", 200, at=200.0))
    for number in range(200):
        scene.writer.append(letter("b", number, at=200.0))
    scene.reader.begin(150.0)
    first = scene.new(100)
    assert first == [("b", number) for number in range(64)]
    scene.reader.begin(150.0)
    assert scene.new(64) == [("b", number) for number in range(64, 128)], (
        "what is in hand is not new"
    )
    waited = [*scene.waited(), *scene.waited()]
    assert waited == [("a", number) for number in range(201)], "its own topic is not overtaken"
    assert [*scene.new(64), *scene.new(64)] == [("b", number) for number in range(128, 200)]


def test_what_does_not_wait_is_never_on_flash(scene: Scene) -> None:
    for number in range(10):
        scene.write("a", number)
        scene.confirm(scene.reader.take_new(10))
        scene.reader.keep()
    assert scene.reader.balance().confirmed == 10
    scene.close()
    assert not any(b"INSERT" in each.read_bytes() for each in scene.flash.iterdir())
    scene.reader = SpoolReader(scene.memory, scene.terms)
    assert scene.flash_says("written_today") == 0


def test_what_is_in_hand_is_moved_with_the_rest_and_confirmed_there(scene: Scene) -> None:
    scene.write("a", 1, 2, 3)
    in_hand = scene.reader.take_new(2)
    scene.keep()
    assert scene.waited() == [("a", 3)], "what is in hand is not taken twice"
    scene.confirm(in_hand)
    assert scene.reader.balance() == (3, 2, 0, 0, 0, 0, 1)
    scene.again()
    assert scene.waited() == [("a", 3)]


def test_a_power_cut_takes_only_what_was_in_memory(scene: Scene) -> None:
    scene.write("a", 1, 2)
    scene.keep()
    scene.write("a", 3)
    scene.cut_power()
    assert scene.waited() == [("a", 1), ("a", 2)]


def test_the_balance_holds_over_a_power_cut(scene: Scene) -> None:
    scene.write("a", 1, 2, 3)
    scene.keep()
    scene.confirm(scene.reader.take_backlog(1))
    scene.cut_power()
    assert scene.reader.balance() == (3, 0, 0, 0, 0, 0, 3), "the cut took the word of the first"
    scene.write("a", 4)
    scene.keep()
    scene.confirm(scene.reader.take(10))
    assert scene.reader.balance() == (4, 4, 0, 0, 0, 0, 0)
    scene.again()
    assert scene.reader.balance() == (4, 4, 0, 0, 0, 0, 0)


def test_a_file_that_fails_keeps_no_other_from_being_confirmed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.write("a", 1)
    scene.keep()
    scene.synced.append(letter("b", 1))
    scene.write("c", 1)
    taken = scene.reader.take(10)
    assert len(taken) == 3
    (bad,) = (each for each in scene.reader._shelf.sources.values() if each.is_synced)

    def fail(**options: object) -> None:
        raise SpoolError("the card is out")

    monkeypatch.setattr(bad, "flush", fail)
    scene.confirm(taken)
    balance = scene.reader.balance()
    assert (balance.confirmed, balance.queued) == (2, 1)


def test_a_reader_that_is_killed_before_what_is_stored_was_taken_out_repeats_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.write("a", 1, 2, 3)
    with monkeypatch.context() as patch:
        killed_at(patch, Source, "moved")
        with pytest.raises(KilledError):
            scene.keep()
    scene.again()
    scene.write("a", 4)
    taken = scene.reader.take(10) + scene.reader.take(10)
    assert told(taken) == [("a", 1), ("a", 2), ("a", 3), ("a", 4)]
    assert scene.reader.balance() == (4, 0, 0, 0, 0, 0, 4)
    scene.confirm(taken)
    assert scene.reader.balance() == (4, 4, 0, 0, 0, 0, 0)


def test_what_a_dead_writer_left_goes_to_flash_before_what_fills_its_successors_file(
    scene: Scene,
) -> None:
    scene.write("a", 1, 2, 3)
    scene.writer.close()
    scene.writer = SpoolWriter(scene.memory, scene.terms)
    for number in range(4, 200):
        scene.writer.append(replace(letter("a", number), body=[number, "x" * 2000]))
    scene.reader.begin()
    scene.reader.relieve()
    assert scene.flash_says("queued") == 199
    bodies = [each.message.body for each in scene.reader.take(1000)]
    assert [body if isinstance(body, int) else body[0] for body in bodies] == list(range(1, 200))


def test_what_is_always_on_flash_survives_a_power_cut_at_once(scene: Scene) -> None:
    scene.synced.append(letter("a", 1))
    scene.cut_power()
    assert scene.waited() == [("a", 1)]


def test_what_was_done_with_on_flash_is_remembered_over_a_kill_and_not_over_a_power_cut(
    scene: Scene,
) -> None:
    for number in range(4):
        scene.synced.append(letter("a", number))
    scene.confirm(scene.reader.take_new(2))
    scene.again()
    assert scene.waited(10) == [("a", 2), ("a", 3)]
    scene.cut_power()
    assert scene.waited() == [("a", number) for number in range(4)]


def test_what_is_done_with_on_flash_is_taken_out_in_the_end(scene: Scene) -> None:
    for number in range(4):
        scene.synced.append(letter("a", number))
    scene.confirm(scene.reader.take_new(4))
    scene.reader.tidy()
    scene.cut_power()
    assert scene.waited() == []


def test_a_file_that_fills_is_moved_ahead_of_time(scene: Scene) -> None:
    text = "x" * 4000
    for number in range(160):
        scene.writer.append(replace(letter("a", number), body=text))
    scene.reader.take_new(1)
    scene.reader.relieve()
    assert scene.flash_says("queued") == 160
    assert scene.reader.balance().dropped == 0


def test_a_writer_whose_file_was_put_aside_begins_another(scene: Scene) -> None:
    scene.synced.append(letter("a", 1))
    (file,) = scene.flash.glob("*.spool")
    scene.reader.close()
    # As the next reader does with a file that the card has spoilt.
    put_aside(file)
    scene.reader = SpoolReader(scene.memory, scene.terms)
    scene.synced.append(letter("a", 2))
    scene.synced.append(letter("a", 3))
    assert told(scene.reader.take(10)) == [("a", 2), ("a", 3)]


def test_all_that_waits_is_moved_also_where_none_of_it_can_be_taken_out(
    scene: Scene, tmp_path: Path
) -> None:
    with replaced(scene, tmp_path, limit=4 << 20) as scene:
        for number in range(600):
            scene.writer.append(replace(letter("a", number), body="x" * 4000))
        (file,) = scene.memory.glob("*.spool")
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as stands_still:
            stands_still.execute("BEGIN IMMEDIATE")
            scene.keep()
            assert scene.flash_says("queued") == 600, "more than goes at once"


def test_what_is_too_old_is_let_go_unless_no_clock_was_set(scene: Scene, tmp_path: Path) -> None:
    with replaced(scene, tmp_path, max_age=3600.0) as scene:
        now = time.time()
        scene.writer.append(letter("a", 1, at=now - 4000.0))
        scene.writer.append(letter("a", 2, at=now - 10.0))
        scene.writer.append(letter("a", 3, at=12.0))  # in 1970, before its clock was set
        assert scene.new() == [("a", 2), ("a", 3)]
        scene.reader.flush()
        assert scene.reader.balance().expired == 1


def test_what_a_dead_writer_left_goes_before_what_its_successor_writes(scene: Scene) -> None:
    def child(*numbers: int) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                writer = SpoolWriter(scene.memory, scene.terms)
                for number in numbers:
                    writer.append(letter("a", number))
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0

    child(1, 2, 3)
    assert scene.new(2) + scene.waited(2) == [("a", 1), ("a", 2)]
    child(4, 5)
    scene.write("a", 6)
    found = scene.new()
    while scene.reader.has_backlog:
        found += scene.waited(2)
    assert found == [("a", 3), ("a", 4), ("a", 5), ("a", 6)]


def test_flash_that_fails_leaves_everything_in_memory_and_is_said_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.close()
    shutil.rmtree(scene.flash)
    scene.flash.write_text("no folder")
    with caplog.at_level(logging.ERROR):
        scene.reader = SpoolReader(scene.memory, scene.terms)
        scene.writer = SpoolWriter(scene.memory, scene.terms)
        scene.write("a", 1)
        scene.keep()
        scene.keep()
    assert len({record.message for record in caplog.records}) == len(caplog.records) == 2
    assert "vault.db cannot be used" in scene.flash_says("failing")
    assert scene.new() == [("a", 1)]
    scene.flash.unlink()
    scene.keep()
    assert scene.flash_says("failing") == ""


def test_without_flash_nothing_is_kept_over_a_power_cut(scene: Scene, tmp_path: Path) -> None:
    with replaced(scene, tmp_path, flash="") as scene:
        scene.write("a", 1)
        scene.keep()
        assert scene.reader.flash() is None
        scene.cut_power()
        assert scene.waited() == []


STEPS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 3)),
    st.tuples(st.just("new"), st.integers(1, 5)),
    st.tuples(st.just("waited"), st.integers(1, 5)),
    st.tuples(st.just("confirm"), st.integers(1, 8)),
    st.tuples(st.sampled_from(["begin", "keep", "tidy", "again"]), st.just(0)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_whatever_happens_each_letter_comes_in_order_and_the_balance_holds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    scene = Scene(tmp_path_factory.mktemp("spool"))
    written: dict[str, int] = {}
    came: list[tuple[str, int]] = []
    in_hand: list[Taken] = []
    for what, number in steps:
        if what == "write":
            topic = "abcd"[number]
            for _ in range(3):
                written[topic] = written.get(topic, 0) + 1
                scene.write(topic, written[topic])
        elif what in ("new", "waited"):
            take = scene.reader.take_new if what == "new" else scene.reader.take_backlog
            taken = take(number)
            came += told(taken)
            in_hand += taken
        elif what == "confirm":
            scene.confirm(in_hand[:number])
            del in_hand[:number]
        elif what == "again":
            scene.again()
            in_hand = []
        else:
            getattr(scene if what == "keep" else scene.reader, what)()
        balance = scene.reader.balance()
        assert balance.moved == 0
        assert balance.accepted == sum(written.values()) == balance.confirmed + balance.queued
    # In the end all of it comes.
    assert until(lambda: not drain(scene, came, in_hand), 10.0)
    assert set(came) == {(topic, n) for topic in written for n in range(1, written[topic] + 1)}
    firsts = list(dict.fromkeys(came))
    for topic in written:
        numbers = [number for heard, number in firsts if heard == topic]
        assert numbers == sorted(numbers), topic
    assert scene.reader.balance().queued == 0
    scene.close()


def drain(scene: Scene, came: list[tuple[str, int]], in_hand: list[Taken]) -> int:
    scene.confirm(in_hand)
    in_hand[:] = scene.reader.take_backlog(4) + scene.reader.take_new(4)
    came += told(in_hand)
    return len(in_hand) + scene.reader.has_backlog


def test_what_a_full_file_lets_go_after_it_was_stored_on_flash_is_not_lost(scene: Scene) -> None:
    text = "x" * 4000
    for number in range(100):
        scene.writer.append(replace(letter("a", number), body=text))
    blocker = sqlite3.connect(next(scene.memory.glob("*.spool")), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    scene.keep()  # stored, and not taken out of memory: somebody is in the way
    blocker.execute("ROLLBACK")
    blocker.close()
    assert scene.reader.balance() == (100, 0, 0, 0, 0, 0, 100)
    for number in range(100, 260):
        scene.writer.append(replace(letter("a", number), body=text))
    assert scene.writer.balance().dropped > 0
    scene.reader.flush()
    balance = scene.reader.balance()
    assert (balance.accepted, balance.dropped, balance.queued) == (260, 0, 260)
