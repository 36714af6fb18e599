"""The book of receipts: what is noted and not struck out is what whoever takes stock finds."""

from __future__ import annotations

import errno
import logging
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.receipt_book import AT_FIRST, PLACES, ReceiptBook, noted
from gateway.bus.wire import INLINE, Folder
from gateway.mail.message import Message

Make = Callable[..., Message]

STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from([0, 10, 100, 190, 250, 60_000])),
    max_size=200,
)
"""Whether it is noted or struck out, which letter, and how long its subject is."""


def ids(found: list[Message]) -> list[str]:
    return sorted(message.message_id for message in found)


@given(steps=STEPS)
def test_whoever_takes_stock_finds_what_was_noted_and_not_struck_out(
    steps: list[tuple[bool, int, int]],
) -> None:
    held: dict[str, Message] = {}
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path))
        book = ReceiptBook(folder, "worker.1")
        for is_noted, number, length in steps:
            id = f"id-{number}"
            letter = held.get(id) or Message(id, id, 1, 0.0, "main", "worker", "s" * length)
            if is_noted:
                book.note(letter)
                held[id] = letter
            else:
                book.strike(letter)
                held.pop(id, None)
        found = {message.message_id: message for message in noted(folder, "worker.1")}
        folder.close()
    assert found == held
    assert set(book.places) == set(held)


def test_it_says_all_that_a_bounce_tells_and_nothing_of_the_body(
    folder: Folder, letter: Make
) -> None:
    asked = letter(
        body="secret", receipt=True, headers={"room": "hall"}, priority=2, sender_incarnation=7
    )
    ReceiptBook(folder, "worker.1").note(asked)
    content = b"".join(file.read_bytes() for file in folder.path.iterdir())
    assert b"secret" not in content
    (found,) = noted(folder, "worker.1")
    for name in ("message_id", "thread_id", "sender", "recipient", "subject", "priority"):
        assert getattr(found, name) == getattr(asked, name)
    assert (found.sender_incarnation, found.receipt) == (7, True)


def test_without_such_a_letter_there_is_no_file(folder: Folder, letter: Make) -> None:
    book = ReceiptBook(folder, "worker.1")
    book.strike(letter())
    assert list(folder.path.iterdir()) == []
    assert list(noted(folder, "worker.1")) == []


def test_its_file_is_as_long_as_the_most_that_were_held_at_a_time(
    folder: Folder, letter: Make
) -> None:
    book = ReceiptBook(folder, "worker.1")
    places = AT_FIRST // PLACES["receipts"]
    for _ in range(100):
        held = [letter() for _ in range(places)]
        for each in held:
            book.note(each)
        for each in held:
            book.strike(each)
    (file,) = folder.path.iterdir()
    assert file.stat().st_size == AT_FIRST
    for _ in range(places + 1):
        book.note(letter())
    assert file.stat().st_size == 2 * AT_FIRST
    assert len(list(noted(folder, "worker.1"))) == places + 1


def test_who_takes_stock_and_who_has_told_everybody_remove_it(folder: Folder, letter: Make) -> None:
    book = ReceiptBook(folder, "worker.1")
    book.note(letter())
    book.note(letter("s" * 1000))
    assert len(list(folder.path.iterdir())) == 2
    book.close()
    book.close()
    book.note(letter())
    assert list(folder.path.iterdir()) == []
    book = ReceiptBook(folder, "worker.2")
    book.note(letter())
    assert len(list(noted(folder, "worker.2"))) == 1
    assert list(folder.path.iterdir()) == []


def test_where_there_is_no_room_a_warning_says_so_once_until_there_is(
    folder: Folder, letter: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    book = ReceiptBook(folder, "worker.1")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr("os.posix_fallocate", full)
        for _ in range(3):
            book.note(letter())
        book.strike(letter())
    (told,) = caplog.messages
    assert told == (
        "who asked 'worker' for a receipt is not told should it be killed:"
        " [Errno 28] No space left on device"
    )
    later = letter()
    book.note(later)
    assert ids(list(noted(folder, "worker.1"))) == [later.message_id]
    book.close()


def test_what_is_no_letter_is_left_out_and_told_of(
    folder: Folder, letter: Make, caplog: pytest.LogCaptureFixture
) -> None:
    book = ReceiptBook(folder, "worker.1")
    for _ in range(3):
        book.note(letter())
    (file,) = folder.path.iterdir()
    content = bytearray(file.read_bytes())
    content[256 + 4] ^= 0xFF
    content += b"cut"
    file.write_bytes(content)
    assert ids(list(noted(folder, "worker.1"))) == ["id-1", "id-3"]
    book.close()
    assert caplog.messages == ["the book of receipts worker.1 holds what is no letter"]


def test_a_book_that_cannot_be_read_holds_nobody_up(
    folder: Folder, letter: Make, caplog: pytest.LogCaptureFixture
) -> None:
    ReceiptBook(folder, "worker.1").note(letter("s" * 1000))
    (folder.path / "worker.1.receipts").mkdir()
    assert len(list(noted(folder, "worker.1"))) == 1
    assert len(caplog.messages) == 1
    assert "is not told that it died" in caplog.text
    (folder.path / "worker.1.receipts").rmdir()


def test_threads_note_and_strike_out_at_the_same_time(folder: Folder, letter: Make) -> None:
    book = ReceiptBook(folder, "worker.1")
    kept: list[Message] = []

    def work(number: int) -> None:
        for count in range(200):
            each = letter(id=f"{number}-{count}", subject="s" * (count % 300))
            book.note(each)
            if count % 5:
                book.strike(each)
            else:
                kept.append(each)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert ids(list(noted(folder, "worker.1"))) == ids(kept)


def test_the_longest_letter_has_a_place(folder: Folder) -> None:
    letter = Message("1", "1", 1, 0.0, "main", "worker", "s" * (INLINE - 50))
    ReceiptBook(folder, "worker.1").note(letter)
    assert [found.subject for found in noted(folder, "worker.1")] == [letter.subject]
