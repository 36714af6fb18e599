"""What is remembered of mail outlives its route, within bounds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import SpoolError
from gateway.mail.message import Message
from routes.mqtt import mail_memory
from routes.mqtt.mail_memory import KNOWN, REPEATED, MailMemory


def letter(id: str) -> Message:
    return Message(id, id, 1, 0.0, "main", "cook@kitchen-pi", "boil", {"eggs": 2})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "letters"


@pytest.fixture
def memory(path: Path) -> Iterator[MailMemory]:
    memory = MailMemory(path, 100.0, run="1")
    yield memory
    memory.close()


def test_letters_on_their_way_are_there_for_the_next_life(memory: MailMemory, path: Path) -> None:
    for id in ("a", "b", "c", "d"):
        memory.add(letter(id), 200.0)
    memory.published(letter("b"), 101.0)
    memory.published(letter("c"), 102.0)
    memory.taken(letter("c"), 300.0)
    memory.forget("d")
    memory.close()
    later = MailMemory(path, 110.0, run="1")
    found = [
        (each.letter, each.deadline, each.published, each.taken, each.answerable)
        for each in later.outgoing()
    ]
    later.close()
    assert found == [
        (letter("a"), 200.0, None, False, True),
        (letter("b"), 200.0, 101.0, False, True),
        (letter("c"), 300.0, 102.0, True, True),
    ]


def test_what_an_earlier_run_of_the_gateway_wrote_is_told_apart(
    memory: MailMemory, path: Path
) -> None:
    memory.add(letter("a"), 200.0)
    memory.close()
    later = MailMemory(path, 110.0, run="2")
    assert [each.answerable for each in later.outgoing()] == [False]
    later.close()


def test_a_letter_that_came_in_is_known_until_its_time_is_over(
    memory: MailMemory, path: Path
) -> None:
    assert memory.begin("a", 100.0) is None
    assert memory.begin("a", 101.0) == b""
    memory.end("a", b"taken")
    memory.close()
    later = MailMemory(path, 110.0, run="1")
    assert later.begin("a", 100.0 + KNOWN) == b"taken"
    assert later.begin("b", 101.0 + KNOWN) is None
    assert later.begin("a", 101.0 + KNOWN) is None
    later.close()


def test_who_repeats_is_known_for_longer_than_it_repeats() -> None:
    assert KNOWN > 2 * REPEATED


def test_nothing_is_taken_in_that_could_not_be_known_again(
    memory: MailMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_memory, "MOST", 3)
    for id in "abc":
        assert memory.begin(id, 100.0) is None
    with pytest.raises(SpoolError, match="no more can be known"):
        memory.begin("d", 101.0)
    assert memory.begin("a", 101.0) == b""
    assert memory.begin("d", 101.0 + KNOWN) is None


def test_a_memory_of_before_the_machine_was_started_is_emptied(
    memory: MailMemory, path: Path
) -> None:
    memory.add(letter("a"), 200.0)
    memory.published(letter("a"), 100.0)
    memory.begin("x", 100.0)
    memory.close()
    later = MailMemory(path, 5.0, run="1")
    assert later.outgoing() == []
    assert later.begin("x", 6.0) is None
    later.close()


def test_a_broken_file_is_put_aside_and_said(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database" * 1000)
    memory = MailMemory(path, 1.0, run="1")
    assert memory.begin("a", 1.0) is None
    memory.close()
    assert path.with_name("letters.broken-1").exists()
    assert "is broken" in caplog.text


def test_a_file_that_is_broken_further_in_is_put_aside_as_well(
    memory: MailMemory, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(200):
        memory.begin(f"kitchen-pi/{number}", 100.0)
        memory.end(f"kitchen-pi/{number}", b"taken" * 20)
    memory.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    later = MailMemory(path, 110.0, run="1")
    assert later.begin("kitchen-pi/1", 110.0) is None
    later.close()
    assert "is broken" in caplog.text


def test_a_letter_that_cannot_be_read_again_is_lost_alone(memory: MailMemory, path: Path) -> None:
    memory.add(letter("a"), 200.0)
    memory.add(letter("b"), 200.0)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE outgoing SET letter = x'00' WHERE id = 'a'")
    other.close()
    assert [each.letter.message_id for each in memory.outgoing()] == ["b"]


def test_a_folder_that_cannot_be_written_is_a_spool_error(tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("a file")
    with pytest.raises(SpoolError, match="letters cannot be used"):
        MailMemory(tmp_path / "deep" / "letters", 1.0, run="1")
