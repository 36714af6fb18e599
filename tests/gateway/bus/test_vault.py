"""Letters on flash: stored many at a time, given back in order, gone when they are done with."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.bus.batch import BATCH, BATCH_BYTES
from gateway.bus.flash_budget import DAY, FlashBudget
from gateway.bus.progress import Progress
from gateway.bus.spool_file import SpoolBalance, Spooled
from gateway.bus.vault import Vault
from gateway.errors import SpoolError
from gateway.mail.codec import encode
from gateway.mail.message import Message

LIMIT = 1 << 20
SOURCE = 4711


def letters(*numbers: int, size: int = 50) -> list[Spooled]:
    """Return letters that no compression makes smaller."""
    return [
        Spooled(number, f"topic/{number % 3}", random.Random(number).randbytes(size))
        for number in numbers
    ]


class Keep:
    """A vault and the progress beside it, which can be opened again and again."""

    def __init__(self, folder: Path) -> None:
        self.flash, self.memory = folder / "flash" / "vault.db", folder / "memory" / "progress"
        self.open()

    def open(self, *, limit: int = LIMIT, daily: int = 1 << 30) -> Vault:
        self.progress = Progress(self.memory)
        self.vault = Vault(self.flash, limit=limit, daily=daily, progress=self.progress)
        return self.vault

    def close(self) -> None:
        self.vault.close()
        self.progress.close()

    def again(self, **options: int) -> Vault:
        self.close()
        return self.open(**options)

    def after_a_power_cut(self) -> Vault:
        self.close()
        for path in self.memory.parent.iterdir():
            path.unlink()
        return self.open()


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keep]:
    keep = Keep(tmp_path)
    yield keep
    keep.close()


def read(vault: Vault, most: int = 10_000) -> list[Spooled]:
    return vault.read(most)


def test_letters_come_back_as_they_were_in_their_order(keep: Keep) -> None:
    stored = letters(1, 2, 3)
    numbers = keep.vault.store(SOURCE, stored)
    found = read(keep.vault)
    assert [each.number for each in found] == numbers == sorted(numbers)
    assert [each[1:] for each in found] == [each[1:] for each in stored]
    assert read(keep.vault) == []
    assert [each[1:] for each in read(keep.again())] == [each[1:] for each in stored]


def test_many_letters_are_several_batches_and_read_in_pieces(keep: Keep) -> None:
    stored = letters(*range(1, 2 * BATCH + 10)) + letters(9000, size=2 * BATCH_BYTES)
    keep.vault = keep.again(limit=8 << 20)
    keep.vault.store(SOURCE, stored)
    found: list[Spooled] = []
    while more := keep.vault.read(300):
        found += more
    assert [each.letter for each in found] == [each.letter for each in stored]
    assert len({each.number >> 16 for each in found}) == 4


def test_what_is_unread_is_known_by_its_topics(keep: Keep) -> None:
    keep.vault.store(SOURCE, letters(3, 6))
    keep.vault.store(SOURCE, letters(7))
    assert set(keep.vault.unread) == {"topic/0", "topic/1"}
    keep.vault.read(2)
    keep.vault.read(1)
    assert set(keep.vault.unread) <= {"topic/1"}
    keep.vault.read(1)
    assert not keep.vault.unread
    assert set(keep.again().unread) == {"topic/0", "topic/1"}


def test_what_somebody_has_in_hand_is_stored_and_not_read(keep: Keep) -> None:
    first, second, third = keep.vault.store(SOURCE, letters(1, 2, 3), taken={2})
    assert [each.number for each in read(keep.vault)] == [first, third]
    keep.vault.confirm([first, third])
    assert [each.number for each in read(keep.again())] == [second], "its reader was killed"


def test_what_was_stored_is_not_stored_again(keep: Keep) -> None:
    keep.vault.store(SOURCE, letters(1, 2))
    numbers = keep.again().store(SOURCE, letters(1, 2, 3))
    assert numbers[:2] == [0, 0]
    assert numbers[2] > 0
    assert keep.vault.store(SOURCE + 1, letters(1))[0] > 0, "another file's"
    assert len(read(keep.vault)) == 4
    keep.vault.forget(SOURCE)
    keep.vault.store(SOURCE + 1, letters(2))
    assert keep.again().store(SOURCE, letters(1))[0] > 0, "its number was forgotten"


def test_what_is_done_with_is_known_to_the_next_reader(keep: Keep) -> None:
    numbers = keep.vault.store(SOURCE, letters(*range(1, 11)))
    read(keep.vault)
    keep.vault.confirm(numbers[:4])
    assert [each.number for each in read(keep.again())] == numbers[4:]
    assert len(keep.vault) == 6
    assert [each.number for each in read(keep.after_a_power_cut())] == numbers


def test_a_batch_goes_when_all_of_it_is_done_with(keep: Keep) -> None:
    numbers = keep.vault.store(SOURCE, letters(1, 2))
    read(keep.vault)
    keep.vault.confirm(numbers[:1])
    assert keep.progress.known(keep.vault.identity) == numbers[:1]
    keep.vault.confirm(numbers[1:])
    assert keep.progress.known(keep.vault.identity) == []
    assert keep.vault.balance() == SpoolBalance(2, 2, 0, 0, 0, 0, 0)
    assert read(keep.after_a_power_cut()) == []
    assert keep.vault.balance() == SpoolBalance(2, 2, 0, 0, 0, 0, 0)


def test_a_full_vault_lets_the_oldest_batches_go_and_counts_them(keep: Keep) -> None:
    for number in range(1, 60):
        keep.vault.store(SOURCE, letters(number, size=40_000))
    left = read(keep.vault)
    assert [each.letter for each in left] == [
        each.letter for each in letters(*range(60 - len(left), 60), size=40_000)
    ]
    assert 10 < len(left) < 30
    balance = keep.vault.balance()
    assert balance == SpoolBalance(59, 0, 59 - len(left), 0, 0, 0, len(left))
    assert keep.again().balance() == balance


def test_what_never_fits_is_refused_and_said(keep: Keep) -> None:
    with pytest.raises(SpoolError, match=r"vault\.db cannot be used"):
        keep.vault.store(SOURCE, letters(1, size=2 * LIMIT))
    assert keep.vault.store(SOURCE, letters(1)) != [0]


def test_what_is_too_old_goes(keep: Keep) -> None:
    keep.vault.store(SOURCE, letters(1, 2))
    keep.vault.expire(time.time() - 60.0)
    assert len(keep.vault) == 2
    keep.vault.expire(time.time() + 1.0)
    assert keep.vault.balance() == SpoolBalance(2, 0, 0, 0, 2, 0, 0)
    assert not keep.vault.unread


def test_a_spoilt_batch_is_counted_and_the_others_are_read(keep: Keep) -> None:
    keep.vault.store(SOURCE, letters(1, 2))
    keep.vault.store(SOURCE, letters(3))
    keep.close()
    with sqlite3.connect(keep.flash) as spoiler:
        spoiler.execute("UPDATE batches SET letters = x'00' WHERE number = 1")
    spoiler.close()
    assert [each.letter for each in read(keep.open())] == [letters(3)[0].letter]
    assert keep.vault.balance() == SpoolBalance(3, 0, 0, 2, 0, 0, 1)
    assert len(read(keep.again())) == 1
    assert keep.vault.balance().garbage == 2, "it is still there, and found again"


def test_a_folder_that_is_none_says_what_to_do(tmp_path: Path) -> None:
    progress = Progress(tmp_path / "progress")
    (tmp_path / "flash").touch()
    with pytest.raises(SpoolError, match="name a folder, not a file"):
        Vault(tmp_path / "flash/vault.db", limit=LIMIT, daily=LIMIT, progress=progress)
    progress.close()


def test_what_could_not_be_noted_as_done_is_noted_with_the_next(
    keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep.vault.store(SOURCE, letters(1, 2, 3))
    first, second, third = keep.vault.read(10)

    def fail(file: int, numbers: object) -> None:
        raise SpoolError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(keep.progress, "note", fail)
        with pytest.raises(SpoolError):
            keep.vault.confirm([first.number])
    keep.vault.confirm([second.number])
    assert keep.again().read(10) == [third]


def test_a_broken_file_is_put_aside_and_begun_anew(
    keep: Keep, caplog: pytest.LogCaptureFixture
) -> None:
    keep.vault.store(SOURCE, letters(1))
    keep.close()
    keep.flash.write_bytes(os.urandom(20_000))
    assert read(keep.open()) == []
    assert (keep.flash.parent / "vault.db.broken-1").exists()
    assert "vault.db.broken-1" in caplog.text, "and whoever reads the log knows"


def test_no_index_of_its_log_lies_on_flash(keep: Keep) -> None:
    keep.vault.store(SOURCE, letters(1))
    assert sorted(path.name for path in keep.flash.parent.iterdir()) == [
        "vault.db",
        "vault.db-wal",
    ]


def test_a_days_budget_that_is_spent_ends_it_until_tomorrow() -> None:
    budget = FlashBudget(1000, day=10, written=900)
    budget.check(10.5 * DAY)
    budget.written += 200
    with pytest.raises(SpoolError, match=r"^flash has had its 1000 bytes of today: until tomorrow"):
        budget.check(10.9 * DAY)
    budget.check(11.0 * DAY)
    assert (budget.day, budget.written) == (11, 0)
    budget.check(0.0)  # a clock that was set back is no reason to refuse


def test_what_is_measured_twice_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    account = 7000
    monkeypatch.setattr("gateway.bus.flash_budget._written", lambda: account)
    budget = FlashBudget(1000, written=1)
    # As where a full vault lets a batch go while it stores another.
    with budget.measured():
        account += 10
        with budget.measured():
            account += 100
        assert budget.written >= 101
        account += 20
    assert budget.written == 131


def test_what_was_written_in_a_day_outlives_its_writer(keep: Keep) -> None:
    keep.vault.budget.check(time.time())
    keep.vault.budget.written += 12345
    keep.vault.store(SOURCE, letters(1))
    assert keep.after_a_power_cut().budget.written >= 12345
    vault = keep.again(daily=12345)
    with pytest.raises(SpoolError, match="until tomorrow"):
        vault.store(SOURCE, letters(2))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("store"), st.integers(0, 40)),
            st.tuples(st.just("read"), st.integers(0, 30)),
            st.tuples(st.just("confirm"), st.integers(0, 30)),
            st.tuples(st.just("again"), st.just(0)),
        ),
        max_size=25,
    )
)
def test_whatever_is_done_to_it_the_balance_holds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    keep = Keep(tmp_path_factory.mktemp("vault"))
    written, in_hand, waiting = 0, list[int](), list[int]()
    for what, count in steps:
        if what == "store":
            new = range(written + 1, written + 1 + count)
            waiting += keep.vault.store(SOURCE, letters(*new))
            written += count
        elif what == "read":
            found = [each.number for each in keep.vault.read(count)]
            unread = [number for number in waiting if number not in in_hand]
            assert found == unread[:count]
            in_hand += found
        elif what == "confirm":
            done, in_hand = in_hand[:count], in_hand[count:]
            keep.vault.confirm(done)
            waiting = [number for number in waiting if number not in done]
        else:
            keep.again()
            in_hand = []
        assert len(keep.vault) == len(waiting)
        assert keep.vault.balance() == SpoolBalance(
            written, written - len(waiting), 0, 0, 0, 0, len(waiting)
        )
    keep.close()


def test_whoever_is_killed_at_any_moment_stores_each_letter_once(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    draw, noted = random.Random(seed), tmp_path / "noted"
    noted.touch()
    for _ in range(15):
        child = os.fork()
        if child == 0:
            try:
                # However long it goes on before it is killed, nothing gives way.
                vault = Keep(tmp_path).again(limit=64 << 20)
                log = os.open(noted, os.O_WRONLY | os.O_APPEND)
                # As from a file whose letters were not taken out when it was killed.
                number = max(0, len(noted.read_bytes()) // 8 - 5)
                while True:
                    vault.store(SOURCE, letters(number + 1, number + 2))
                    number += 2
                    os.write(log, b"%8d%8d" % (number - 1, number))
            finally:
                os._exit(1)
        deadline, before = time.monotonic() + 10.0, noted.stat().st_size
        while noted.stat().st_size == before and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(draw.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    last = max(map(int, noted.read_bytes().split()))
    keep = Keep(tmp_path)
    found = [each.letter for each in read(keep.vault, 1_000_000)]
    assert found[:last] == [each.letter for each in letters(*range(1, last + 1))]
    assert len(found) - last in (0, 2)
    keep.close()


def test_a_letter_survives_the_way(keep: Keep) -> None:
    message = Message("1", "1", 1, 0.0, "serial", "mqtt", "devices/board/analogue", {"volts": 3.3})
    keep.vault.store(SOURCE, [Spooled(1, message.subject, encode(message))])
    assert read(keep.vault)[0].letter == encode(message)
