"""The book of receipts: what is noted and not struck out is what whoever takes stock finds."""

from __future__ import annotations

import errno
import gc
import logging
import signal
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.mailbox import Mailbox
from gateway.bus.receipt_book import AT_FIRST, PLACES, QUIET, ReceiptBook, noted
from gateway.bus.wire import INLINE, Folder, Outlet
from gateway.mail.message import Message

Make = Callable[..., Message]

STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from([0, 10, 190, 250, 2000, 60_000])),
    max_size=200,
)
"""Whether it is noted or struck out, which letter, and how long its subject is."""


def ids(found: list[Message]) -> list[str]:
    return sorted(message.message_id for message in found)


class InterruptedNowError(Exception):
    """What the handler raises."""


# A file that was just opened says that nobody closed it.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_handler_that_raises_anywhere_leaves_nothing_behind(folder: Folder, letter: Make) -> None:
    book = ReceiptBook(folder, "worker.1")
    interrupted = 0

    def interrupt(number: int, frame: object) -> None:
        raise InterruptedNowError

    def surely(act: Callable[[], None]) -> None:
        """As a reader does, which reads what it holds once more."""
        nonlocal interrupted
        while True:
            try:
                return act()
            except InterruptedNowError:
                interrupted += 1

    # What comes of a file that is just being opened is not looked at.
    book.note(first := letter())
    book.strike(first.message_id)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(20_000):
            each = letter()
            try:
                signal.setitimer(signal.ITIMER_REAL, (1 + number % 23) * 1e-6)
                surely(lambda each=each: book.note(each))  # type: ignore[misc]
                surely(lambda each=each: book.strike(each.message_id))  # type: ignore[misc]
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            except InterruptedNowError:
                interrupted += 1
                book.strike(each.message_id)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 1000, "not much was interrupted"
    assert book.places == {}
    (file,) = folder.path.iterdir()
    assert file.stat().st_size <= 4 * AT_FIRST, "places were forgotten"
    assert list(noted(folder, "worker.1")) == []
    # What was raised held on to where it was raised.
    gc.collect()


def test_a_file_that_grew_long_is_given_back_when_nothing_is_noted(
    folder: Folder, letter: Make
) -> None:
    book = ReceiptBook(folder, "worker.1")
    for _ in range(3):
        held = [letter("s" * length) for length in (20, 1000, 30_000) for _ in range(300)]
        for each in held:
            book.note(each)
        assert len({path.name for path in folder.path.iterdir()}) == 3
        for each in held:
            book.strike(each.message_id)
        assert list(folder.path.iterdir()) == []
    book.note(letter())
    assert len(list(noted(folder, "worker.1"))) == 1


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
                book.strike(letter.message_id)
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
    book.strike("nobody")
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
            book.strike(each.message_id)
    (file,) = folder.path.iterdir()
    assert file.stat().st_size == AT_FIRST
    for _ in range(places + 1):
        book.note(letter())
    assert file.stat().st_size == 2 * AT_FIRST
    assert len(list(noted(folder, "worker.1"))) == places + 1


def test_who_takes_stock_removes_it(folder: Folder, letter: Make) -> None:
    book = ReceiptBook(folder, "worker.1")
    book.note(letter())
    book.note(letter("s" * 1000))
    assert len(list(folder.path.iterdir())) == 2
    assert len(list(noted(folder, "worker.1"))) == 2
    assert list(folder.path.iterdir()) == []


def test_where_there_is_no_room_a_warning_says_so_once_a_minute_until_there_is(
    folder: Folder, letter: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    book = ReceiptBook(folder, "worker.1")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    now = [100.0]
    monkeypatch.setattr("gateway.bus.receipt_book.monotonic", lambda: now[0])
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr("os.posix_fallocate", full)
        for _ in range(3):
            book.note(letter())
            book.strike("nobody")
            now[0] += QUIET / 4
    (told,) = caplog.messages
    assert list(folder.path.iterdir()) == []
    assert told == (
        "who asked 'worker' for a receipt is not told should it be killed:"
        " no room is left for the book of receipts:"
        " free some (df -h and df -i show where there is none)"
    )
    later = letter()
    book.note(later)
    assert ids(list(noted(folder, "worker.1"))) == [later.message_id]


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
                book.strike(each.message_id)
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


class Held:
    """Receipts that note whether the mailbox is locked meanwhile."""

    def __init__(self) -> None:
        self.places: dict[str, Any] = {}
        self.box: Mailbox | None = None
        self.was_locked: list[bool] = []

    def note(self, message: Message, *, quietly: bool = False) -> None:
        assert self.box is not None
        self.was_locked.append(self.box._lock.locked())
        self.places[message.message_id] = None

    def strike(self, id: str) -> None:
        self.places.pop(id, None)


@pytest.mark.parametrize("order", ["fifo", "priority"])
@pytest.mark.parametrize("size", [4, 256])
def test_whatever_a_mailbox_holds_is_noted_without_its_lock_until_it_is_handed_out(
    box: Callable[..., Mailbox], outlet: Callable[..., Outlet], letter: Make, order: Any, size: int
) -> None:
    receipts = Held()
    reader = receipts.box = box(size=size, order=order, receipts=receipts)
    writer = outlet()
    sent = 0
    for burst in (1, 1, 10, 1, 5, 1, 1, 10):
        for _ in range(burst):
            writer.deliver(letter(receipt=True, priority=sent % 3))
            sent += 1
        for _ in range(burst):
            found = reader.get(5.0)
            assert found is not None
            assert found.message_id not in receipts.places
    assert len(receipts.was_locked) == sent
    assert not any(receipts.was_locked)
    assert not receipts.places
