"""The lookout: one sleeper, woken by its link, or let go."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator

import pytest

from gateway.hosting.lookout import Lookout
from gateway.testing.fake_link import FakeLink


@pytest.fixture
def lookout() -> Iterator[Lookout]:
    lookout = Lookout()
    yield lookout
    lookout.close()


@pytest.fixture
def link() -> Iterator[FakeLink]:
    link = FakeLink()
    yield link
    link.close()


def test_who_was_let_go_sleeps_again_for_the_next_link(lookout: Lookout) -> None:
    lookout.let_go()
    lookout.let_go()
    assert len(lookout.poll(5.0, 2)) == 1
    assert lookout.is_let_go
    lookout.stay()
    lookout.stay()
    assert not lookout.is_let_go
    assert lookout.poll(0.0, 2) == []


def test_it_sleeps_as_long_as_told_and_not_less(lookout: Lookout) -> None:
    began = time.monotonic()
    assert lookout.poll(0.05, 2) == []
    assert time.monotonic() - began >= 0.05


def test_a_sleeper_is_let_go_from_another_thread_and_sleeps_no_more(lookout: Lookout) -> None:
    woken = threading.Event()

    def sleep() -> None:
        lookout.poll(5.0, 2)
        woken.set()

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    lookout.let_go()
    assert woken.wait(1.0)
    sleeper.join()
    began = time.monotonic()
    assert lookout.poll(5.0, 2) != []
    assert time.monotonic() - began < 1.0


def test_bytes_wake_until_they_are_read(lookout: Lookout, link: FakeLink) -> None:
    lookout.watch(link.fileno())
    link.hand(b"hello")
    assert lookout.poll(1.0, 2) == [(link.fileno(), select.EPOLLIN)]
    assert lookout.poll(1.0, 2) == [(link.fileno(), select.EPOLLIN)]
    assert link.read() == b"hello"
    assert lookout.poll(0, 2) == []


def test_a_link_that_hangs_up_is_told_apart(lookout: Lookout, link: FakeLink) -> None:
    lookout.watch(link.fileno())
    link.break_()
    [(_, events)] = lookout.poll(1.0, 2)
    assert events & select.EPOLLHUP


def test_a_link_that_is_no_longer_watched_wakes_nobody(lookout: Lookout, link: FakeLink) -> None:
    lookout.watch(link.fileno())
    lookout.unwatch()
    lookout.unwatch()
    link.hand(b"hello")
    began = time.monotonic()
    assert lookout.poll(0.05, 2) == []
    assert time.monotonic() - began >= 0.05


def test_two_links_at_a_time_are_refused(lookout: Lookout, link: FakeLink) -> None:
    lookout.watch(link.fileno())
    with pytest.raises(ValueError, match="one link"):
        lookout.watch(link.fileno())


def test_a_descriptor_that_died_can_be_unwatched(lookout: Lookout, link: FakeLink) -> None:
    lookout.watch(link.fileno())
    link.close()
    lookout.unwatch()
    assert lookout.poll(0, 2) == []


def test_letting_go_of_a_closed_lookout_does_nothing(lookout: Lookout) -> None:
    lookout.close()
    lookout.let_go()
    lookout.close()
