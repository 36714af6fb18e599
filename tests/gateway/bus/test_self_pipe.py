"""A signal that comes as the last thing before its thread sleeps is heard at once."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest

from gateway.bus.mailbox import Mailbox
from gateway.bus.self_pipe import MANY, SelfPipe
from gateway.mail.message import Message, reply_to
from gateway.process import wakeup
from gateway.process.wakeup import Wakeup
from tests.gateway.struck import Struck

PATIENCE = 10.0

Boxes = Callable[..., Mailbox]
Make = Callable[..., Message]


class StruckError(Exception):
    """What the handler raises."""


@pytest.fixture
def unheard() -> Iterator[None]:
    """Nobody hears of signals at first; what stood before is put back."""
    before, handler = signal.set_wakeup_fd(-1), signal.getsignal(signal.SIGUSR1)
    yield
    signal.set_wakeup_fd(before)
    signal.signal(signal.SIGUSR1, handler)


@pytest.fixture
def self_pipe(unheard: None) -> Iterator[SelfPipe]:
    signal.signal(signal.SIGUSR1, raises)
    with SelfPipe() as made:
        yield made


def raises(*_: object) -> None:
    raise StruckError


def is_readable(self_pipe: SelfPipe) -> bool:
    return bool(select.select([self_pipe], [], [], 0)[0])


@pytest.fixture
def hearing(box: Boxes, self_pipe: SelfPipe) -> Mailbox:
    """A mailbox whose readers hear of signals."""
    made = box()
    made.hear_signals(self_pipe)
    return made


@pytest.fixture
def soon() -> Iterator[None]:
    """Fail where it takes longer than a sleep that nothing has disturbed."""
    begun = monotonic()
    yield
    assert monotonic() - begun < PATIENCE / 2


@pytest.mark.usefixtures("soon")
def test_a_reader_hears_of_it(hearing: Mailbox) -> None:
    lead: Any = hearing._lead
    lead.everything = Struck(lead.everything, signal.SIGUSR1)
    with pytest.raises(StruckError):
        hearing.get(PATIENCE)


@pytest.mark.usefixtures("soon")
def test_who_waits_for_a_reply_hears_of_it(hearing: Mailbox, letter: Make) -> None:
    lead: Any = hearing._lead
    lead.replies = Struck(lead.replies, signal.SIGUSR1)
    with pytest.raises(StruckError):
        hearing.wait_for(letter(), PATIENCE)


@pytest.mark.usefixtures("soon")
def test_who_waits_behind_another_thread_hears_of_it(
    hearing: Mailbox, letter: Make, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, lead = letter(), hearing._lead
    new_turn = lead.new_turn
    leader = threading.Thread(target=hearing.wait_for, args=(asked, PATIENCE))
    leader.start()
    until(lambda: lead.asleep)
    # The first time it is acquired as it lines up.
    monkeypatch.setattr(lead, "new_turn", lambda: Struck(new_turn(), signal.SIGUSR1, skip=1))
    with pytest.raises(StruckError):
        hearing.get(PATIENCE)
    hearing.deliver(reply_to(asked, "a", 0.0, "answer"))
    leader.join()


@pytest.mark.usefixtures("soon")
def test_a_wake_up_that_is_waited_for_hears_of_it(
    self_pipe: SelfPipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Select:
        POLLIN = select.POLLIN

        @staticmethod
        def poll() -> Struck:
            return Struck(select.poll(), signal.SIGUSR1)

    monkeypatch.setattr(wakeup, "select", Select)
    with pytest.raises(StruckError):
        Wakeup(self_pipe).wait(PATIENCE)


def test_a_sleep_goes_on_for_its_time_after_a_signal(self_pipe: SelfPipe, hearing: Mailbox) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    for sleep in (Wakeup(self_pipe).wait, hearing.get):
        signal.raise_signal(signal.SIGUSR1)
        begun = monotonic()
        assert not sleep(0.03)
        assert monotonic() - begun >= 0.029
    assert len(heard) == 2


def test_other_threads_do_not_empty_it_and_have_their_sleep(self_pipe: SelfPipe) -> None:
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    signal.raise_signal(signal.SIGUSR1)
    elsewhere, slept = Wakeup(self_pipe), list[float]()

    def sleep() -> None:
        begun = monotonic()
        elsewhere.wait(0.03)
        slept.append(monotonic() - begun)

    other = threading.Thread(target=sleep)
    other.start()
    other.join(PATIENCE)
    assert slept[0] >= 0.029
    assert is_readable(self_pipe)
    self_pipe.empty()
    self_pipe.empty()
    assert not is_readable(self_pipe)


@pytest.mark.usefixtures("unheard")
def test_a_full_one_wakes_and_what_was_there_is_put_back(capfd: Any, box: Boxes) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    with SelfPipe() as self_pipe:
        for _ in range(5000):
            signal.raise_signal(signal.SIGUSR1)
        hearing = box()
        hearing.hear_signals(self_pipe)
        lead: Any = hearing._lead
        lead.everything = Struck(lead.everything, signal.SIGUSR1)
        assert hearing.get(0.01) is None
        assert len(heard) == 5001
        assert not is_readable(self_pipe)
    assert signal.set_wakeup_fd(-1) == -1
    assert self_pipe.fileno() == -1
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("soon")
def test_signals_that_come_while_another_thread_leads_do_not_fill_it(
    self_pipe: SelfPipe, hearing: Mailbox, until: Callable[..., None]
) -> None:
    lead: Any = hearing._lead
    leader = threading.Thread(target=hearing.get, args=(PATIENCE,))
    leader.start()
    until(lambda: lead.asleep)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    for _ in range(2000):
        signal.raise_signal(signal.SIGUSR1)
    assert self_pipe._ends is not None
    heard = self_pipe._ends[0]
    until(lambda: len(heard.recv(4096, socket.MSG_PEEK)) < MANY)
    assert is_readable(self_pipe), "the main thread may be about to look"
    hearing.wake()
    leader.join(PATIENCE)
    hearing.get(0.0)
    signal.signal(signal.SIGUSR1, raises)
    lead.everything = Struck(lead.everything, signal.SIGUSR1)
    with pytest.raises(StruckError):
        hearing.get(PATIENCE)


def test_whoever_looks_for_replies_alone_notes_it(self_pipe: SelfPipe, hearing: Mailbox) -> None:
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    signal.raise_signal(signal.SIGUSR1)
    assert hearing.read_replies()
    assert not is_readable(self_pipe)


def test_whoever_took_the_signals_has_them_taken_back(self_pipe: SelfPipe) -> None:
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    signal.set_wakeup_fd(-1)
    signal.raise_signal(signal.SIGUSR1)
    assert not is_readable(self_pipe)
    assert self_pipe.take() == -1
    signal.raise_signal(signal.SIGUSR1)
    assert is_readable(self_pipe)


def test_a_child_of_fork_neither_rings_nor_empties_its_parents(self_pipe: SelfPipe) -> None:
    signal.signal(signal.SIGUSR1, lambda number, frame: None)

    def forked(act: Callable[[], object]) -> int:
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                act()
                os._exit(0)
            os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert forked(lambda: signal.raise_signal(signal.SIGUSR1)) == 0
    assert not is_readable(self_pipe)
    signal.raise_signal(signal.SIGUSR1)
    assert forked(self_pipe.empty) == forked(lambda: Wakeup(self_pipe).wait(0.001)) == 0
    assert is_readable(self_pipe)


@pytest.mark.usefixtures("unheard")
def test_off_the_main_thread_none_is_heard() -> None:
    found: list[object] = []

    def elsewhere() -> None:
        with SelfPipe() as self_pipe:
            found.extend((self_pipe.fileno(), self_pipe.is_mine, self_pipe.take()))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(PATIENCE)
    assert signal.set_wakeup_fd(-1) == -1
    assert found == [-1, False, -1]
