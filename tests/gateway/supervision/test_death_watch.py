"""The lock of an OS process tells of its end before the kernel has taken it apart."""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import os
import resource
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import monotonic
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from gateway.supervision import death_watch
from gateway.supervision.death_watch import MOST, DeathWatch, ends_of
from gateway.supervision.robust_locks import OWNER_DIED, RobustLocks, held_by

PATIENCE = 20.0
FOREVER = [sys.executable, "-c", "import signal; signal.pause()"]

Act = Callable[[], object]


class Owner:
    """A child of `os.fork()` that holds the lock of a row, and does something when it is told."""

    def __init__(self, locks: RobustLocks, row: int, act: Act = signal.pause) -> None:
        self._said, said = os.pipe()
        told, self._tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                # Those that crash do so in silence.
                faulthandler.disable()
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                os.write(said, b"yes" if locks.hold(row) else b"no")
                os.read(told, 1)
                act()
            finally:
                os._exit(0)
        for end in (said, told):
            os.close(end)
        self.pidfd = os.pidfd_open(self.pid)
        self._is_reaped = False
        self.holds = os.read(self._said, 3) == b"yes"

    def go(self) -> None:
        os.write(self._tell, b"!")

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> None:
        if not self._is_reaped:
            self._is_reaped = True
            os.waitpid(self.pid, 0)

    def close(self) -> None:
        if not self._is_reaped:
            self.kill()
            self.reap()
        for descriptor in (self._said, self._tell, self.pidfd):
            os.close(descriptor)


Make = Callable[..., Owner]


@pytest.fixture
def locks() -> RobustLocks:
    return RobustLocks(256)


@pytest.fixture
def owner(locks: RobustLocks) -> Iterator[Make]:
    with ExitStack() as stack:

        def make(row: int = 0, act: Act = signal.pause) -> Owner:
            made = Owner(locks, row, act)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def watch(locks: RobustLocks) -> Iterator[DeathWatch]:
    made = DeathWatch(locks)
    yield made
    made.close()


def told_by(watch: DeathWatch, timeout: float = PATIENCE) -> list[int]:
    """Return who is told of next; nobody where nothing is told in time."""
    ready, _, _ = select.select([watch], [], [], timeout)
    return watch.take() if ready else []


def has_exited(pidfd: int, timeout: float = PATIENCE) -> bool:
    return bool(select.select([pidfd], [], [], timeout)[0])


def become_another() -> None:
    os.execv(FOREVER[0], FOREVER)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def exit_on_a_thread() -> None:
    threading.Thread(target=os._exit, args=(3,)).start()
    signal.pause()


# The locks


@pytest.mark.parametrize("act", [os.abort, crash, exit_on_a_thread, lambda: os._exit(0)])
def test_the_kernel_lets_go_of_a_lock_however_its_owner_ends(
    locks: RobustLocks, owner: Make, act: Act
) -> None:
    dying = owner(3, act)
    assert dying.holds
    assert locks.word(3) == held_by(dying.pid)
    dying.go()
    assert has_exited(dying.pidfd)
    assert locks.word(3) & OWNER_DIED


def test_a_lock_is_its_owners_and_no_childs_of_it(
    locks: RobustLocks, owner: Make, watch: DeathWatch
) -> None:
    def fork() -> None:
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        os.write(done, b"!")
        signal.pause()

    ended, done = os.pipe()
    parent = owner(0, fork)
    watch.watch(parent.pid, 0)
    parent.go()
    assert os.read(ended, 1) == b"!"
    os.close(ended)
    os.close(done)
    assert locks.word(0) == held_by(parent.pid)
    parent.kill()
    assert told_by(watch) == [parent.pid]


def test_a_row_that_is_not_there_is_refused(locks: RobustLocks) -> None:
    for row in (-1, 256):
        with pytest.raises(ValueError, match=f"there is no row {row}: the last one is 255"):
            locks.hold(row)


@pytest.mark.parametrize("how", ["missing", "failing", "another word", "another layout"])
def test_a_c_library_without_such_a_lock_leaves_everybody_without(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    class Libc:
        def __init__(self, name: None) -> None:
            pass

        def __getattr__(self, name: str) -> Any:
            if how == "missing":
                raise AttributeError(name)
            status = errno.ENOTSUP if how == "failing" else 0
            if name == "pthread_mutex_init" and how == "another layout":
                return lambda mutex, _: ctypes.memset(mutex, 4, 1) and 0
            return Mock(return_value=status)

    monkeypatch.setattr(ctypes, "CDLL", Libc)
    locks = RobustLocks(1)
    assert not locks.hold(0)
    assert locks.word(0) == 0


# The watch


def test_whoever_begins_to_end_is_told_of_once(owner: Make, watch: DeathWatch) -> None:
    first, second, third = (owner(row) for row in range(3))
    for row, each in enumerate((first, second, third)):
        watch.watch(each.pid, row)
    second.kill()
    assert told_by(watch) == [second.pid]
    second.reap()
    third.kill()
    assert told_by(watch) == [third.pid]
    third.reap()
    assert watch.take() == []
    first.kill()
    assert told_by(watch) == [first.pid]


def test_it_is_the_lock_that_tells_and_no_end(
    locks: RobustLocks, owner: Make, watch: DeathWatch
) -> None:
    changing = owner(0, become_another)
    watch.watch(changing.pid, 0)
    changing.go()
    assert told_by(watch) == [changing.pid]
    assert not has_exited(changing.pidfd, 0.0)
    assert locks.word(0) & OWNER_DIED


def test_one_that_died_before_it_was_watched_is_told_of(owner: Make, watch: DeathWatch) -> None:
    dead = owner(0)
    dead.kill()
    dead.reap()
    watch.watch(dead.pid, 0)
    assert told_by(watch) == [dead.pid]


def test_who_holds_no_lock_is_not_watched(owner: Make, watch: DeathWatch) -> None:
    free, other = owner(0), owner(1)
    watch.watch(free.pid, 7)
    assert watch._thread.ident is None, "nobody is watched yet"
    watch.watch(other.pid, 1)
    free.kill()
    free.reap()
    other.kill()
    assert told_by(watch) == [other.pid]


def test_the_next_life_in_a_row_is_not_told_of_for_the_one_before(
    owner: Make, watch: DeathWatch
) -> None:
    for _ in range(20):
        before = owner(0)
        watch.watch(before.pid, 0)
        watch.forget(before.pid)
        before.kill()
        before.reap()
        after = owner(0)
        watch.watch(after.pid, 0)
        after.kill()
        assert told_by(watch) == [after.pid]
        after.reap()


def test_who_was_forgotten_is_not_told_of(owner: Make, watch: DeathWatch) -> None:
    forgotten, other = owner(0), owner(1)
    for row, each in enumerate((forgotten, other)):
        watch.watch(each.pid, row)
    forgotten.kill()
    # It is told of by now, and nobody has asked yet.
    assert select.select([watch], [], [], PATIENCE)[0]
    watch.forget(forgotten.pid)
    watch.forget(forgotten.pid)
    assert watch.take() == []
    other.kill()
    assert told_by(watch) == [other.pid]


def test_of_more_than_the_kernel_takes_the_first_are_watched_and_then_the_next(
    locks: RobustLocks, owner: Make, watch: DeathWatch
) -> None:
    owners = [owner(row) for row in range(MOST + 2)]
    for row, each in enumerate(owners):
        watch.watch(each.pid, row)
    owners[-1].kill()
    owners[-1].reap()
    owners[5].kill()
    # Room for one more: the last but one is watched, and the last in its turn.
    assert told_by(watch) == [owners[5].pid]
    owners[-2].kill()
    told = told_by(watch)
    while len(told) < 2:
        told += told_by(watch)
    assert sorted(told) == sorted([owners[-2].pid, owners[-1].pid])


def test_a_kernel_without_the_call_is_left_in_peace(
    owner: Make, monkeypatch: pytest.MonkeyPatch, locks: RobustLocks, caplog: Any
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(death_watch, "_FUTEX_WAITV", 9999)
    watch = DeathWatch(locks)
    watched = owner(0)
    watch.watch(watched.pid, 0)
    watch._thread.join(PATIENCE)
    assert not watch._thread.is_alive(), "it gave up"
    watch.watch(watched.pid, 0)
    watch.close()
    assert "deaths are told of a little later: Function not implemented" in caplog.text


def test_a_machine_that_is_not_known_is_left_in_peace(
    owner: Make, monkeypatch: pytest.MonkeyPatch, locks: RobustLocks
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="pdp11"))
    watch = DeathWatch(locks)
    watch.watch(owner(0).pid, 0)
    assert watch._thread.ident is None
    watch.close()


@pytest.mark.parametrize(
    ("machine", "largest", "number"),
    [
        ("x86_64", 2**63 - 1, 202),
        ("aarch64", 2**63 - 1, 98),
        # Raspberry Pi OS of 32 bits, on a kernel of 64 and on one of 32.
        ("aarch64", 2**31 - 1, 240),
        ("armv7l", 2**31 - 1, 240),
    ],
)
def test_the_call_has_its_number_on_every_pi(machine: str, largest: int, number: int) -> None:
    assert death_watch._number_of_futex(machine, largest) == number


def test_a_machine_that_has_no_thread_left_goes_on_without(
    owner: Make, locks: RobustLocks, caplog: Any
) -> None:
    class Refused(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    watch = DeathWatch(locks, make_thread=Refused)
    watched = owner(0)
    watch.watch(watched.pid, 0)
    watch.watch(watched.pid, 0)
    watch.close()
    assert caplog.text.count("deaths are told of a little later: can't start new thread") == 1


def test_nothing_is_left_of_a_watch_that_is_closed(owner: Make, locks: RobustLocks) -> None:
    watch = DeathWatch(locks)
    watch.watch(owner(0).pid, 0)
    descriptor = watch.fileno()
    watch.close()
    watch.close()
    assert "death-watch" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_thread_that_hangs_keeps_its_descriptor_until_it_has_ended(
    owner: Make, watch: DeathWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(*_: object) -> int:
        hangs.set()
        assert goes_on.wait(PATIENCE)
        return 0

    monkeypatch.setattr(watch, "_sleep", hang)
    monkeypatch.setattr(death_watch, "PATIENCE", 0.01)
    watch.watch(owner().pid, 0)
    assert hangs.wait(PATIENCE)
    descriptor = watch.fileno()
    watch.close()
    os.eventfd_write(descriptor, 1)
    goes_on.set()
    watch._thread.join(PATIENCE)
    watch.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_word_that_makes_no_sense_is_nobodys_death(
    locks: RobustLocks, owner: Make, watch: DeathWatch
) -> None:
    strange, other = owner(0), owner(1)
    for row, each in enumerate((strange, other)):
        watch.watch(each.pid, row)
    locks._words[0] = 132
    watch.watch(strange.pid, 0)
    other.kill()
    told = told_by(watch)
    assert (told or told_by(watch)) == [other.pid]
    assert strange.pid not in watch._rows


def test_who_closes_it_as_its_thread_is_about_to_sleep_waits_for_nothing(
    owner: Make, locks: RobustLocks
) -> None:
    class ClosedThen(DeathWatch):
        over = False

        @property
        def _is_over(self) -> bool:
            was, self.over = self.over, self.over or threading.current_thread() is self._thread
            if self.over and not was:
                self._ring()
            return was

        @_is_over.setter
        def _is_over(self, value: bool) -> None:
            self.over = value

    watch = ClosedThen(locks)
    watch.watch(owner(0).pid, 0)
    watch._thread.join(PATIENCE)
    assert not watch._thread.is_alive()
    watch.close()
    assert watch.take() == []


# What ends


def have_ended(*owners: Owner) -> list[int]:
    return sorted(ends_of({each.pidfd: each.pid for each in owners}))


def test_a_killed_one_has_ended(owner: Make) -> None:
    killed = owner(0)
    killed.kill()
    assert has_exited(killed.pidfd)
    assert have_ended(killed) == [killed.pidfd]


def test_a_reaped_one_has_ended(owner: Make) -> None:
    killed = owner(0)
    killed.kill()
    killed.reap()
    assert have_ended(killed) == [killed.pidfd]


def test_one_that_became_another_program_is_not_waited_for(
    owner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(death_watch, "PATIENCE", 3600.0)
    assert have_ended(owner(0)) == []


def test_those_that_take_their_time_are_waited_for_together(
    owner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasting = [owner(row) for row in range(3)]
    monkeypatch.setattr(death_watch, "SOON", 0.0)
    monkeypatch.setattr(death_watch, "PATIENCE", PATIENCE)
    # To the kernel they live.
    monkeypatch.setattr(death_watch, "_PF_EXITING", -1)
    ends = ends_of({each.pidfd: each.pid for each in lasting})
    for each in reversed(lasting):
        threading.Timer(0.05, each.kill).start()
        assert next(ends) == each.pidfd
    assert list(ends) == []


def test_those_that_cannot_end_are_waited_for_so_long_in_all(
    owner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasting = [owner(row) for row in range(20)]
    monkeypatch.setattr(death_watch, "PATIENCE", 1.0)
    monkeypatch.setattr(death_watch, "_PF_EXITING", -1)
    began = monotonic()
    assert have_ended(*lasting) == []
    assert monotonic() - began < 15.0, "20 of them one after the other would take 20 s"
