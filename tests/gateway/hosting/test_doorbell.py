"""The doorbell: one sleeper, woken by bytes, by others, or by nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from gateway.hosting.doorbell import Doorbell
from gateway.testing.fake_link import FakeLink


@pytest.fixture
def doorbell() -> Iterator[Doorbell]:
    doorbell = Doorbell()
    yield doorbell
    doorbell.close()


@pytest.fixture
def link() -> Iterator[FakeLink]:
    link = FakeLink()
    yield link
    link.close()


def test_it_sleeps_as_long_as_told_and_not_less(doorbell: Doorbell) -> None:
    began = time.monotonic()
    assert doorbell.wait(0.05) == (False, False)
    assert time.monotonic() - began >= 0.05


def test_a_ring_wakes_once(doorbell: Doorbell) -> None:
    doorbell.ring()
    began = time.monotonic()
    assert doorbell.wait(5.0) == (False, False)
    assert time.monotonic() - began < 1.0
    doorbell.wait(0.02)
    assert time.monotonic() - began >= 0.02


def test_a_sleeper_is_woken_from_another_thread(doorbell: Doorbell) -> None:
    slept = threading.Event()
    doorbell.asleep = True

    def sleep() -> None:
        doorbell.wait(5.0)
        slept.set()

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    doorbell.ring_if_asleep()
    assert slept.wait(1.0)
    sleeper.join()


def test_whoever_is_awake_is_not_rung(doorbell: Doorbell) -> None:
    doorbell.ring_if_asleep()
    began = time.monotonic()
    doorbell.wait(0.05)
    assert time.monotonic() - began >= 0.05


def test_bytes_wake_until_they_are_read(doorbell: Doorbell, link: FakeLink) -> None:
    doorbell.watch(link)
    link.hand(b"hello")
    assert doorbell.wait(1.0) == (True, False)
    assert doorbell.wait(1.0) == (True, False)
    assert link.read() == b"hello"
    assert doorbell.wait(0) == (False, False)


def test_a_link_that_hangs_up_is_told_apart(doorbell: Doorbell, link: FakeLink) -> None:
    doorbell.watch(link)
    link.break_()
    assert doorbell.wait(1.0) == (True, True)


def test_a_link_that_is_no_longer_watched_wakes_nobody(doorbell: Doorbell, link: FakeLink) -> None:
    doorbell.watch(link)
    doorbell.unwatch()
    doorbell.unwatch()
    link.hand(b"hello")
    began = time.monotonic()
    assert doorbell.wait(0.05) == (False, False)
    assert time.monotonic() - began >= 0.05


def test_two_links_at_a_time_are_refused(doorbell: Doorbell, link: FakeLink) -> None:
    doorbell.watch(link)
    with pytest.raises(ValueError, match="one link"):
        doorbell.watch(link)


def test_a_descriptor_that_died_can_be_unwatched(doorbell: Doorbell, link: FakeLink) -> None:
    doorbell.watch(link)
    link.close()
    doorbell.unwatch()
    assert doorbell.wait(0) == (False, False)
