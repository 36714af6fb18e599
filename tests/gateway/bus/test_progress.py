"""What somebody who watches a mailbox's reader from another thread can see."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator

import pytest

from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.mail.message import Message


@pytest.fixture
def box() -> Iterator[Mailbox]:
    made = Mailbox("a", clock=RealClock())
    yield made
    made.close()


def test_letters_and_served_descriptors_are_progress(box: Mailbox) -> None:
    assert box.progress() == (False, 0)
    box.deliver(Message("1", "1", 1, 0.0, "b", "a", "hello"))
    assert box.progress() == (False, 0), "it lies there, unread"
    assert box.get() is not None
    assert box.progress() == (False, 1)
    ready = os.eventfd(1)
    box.watch(ready, lambda events: box.interrupt(), select.EPOLLIN)
    assert box.get(10.0) is None
    assert box.progress() == (False, 2)
    box.unwatch(ready)
    os.close(ready)


def test_a_reader_that_waits_is_seen_to_wait(box: Mailbox) -> None:
    reader = threading.Thread(target=box.get, args=(10.0,))
    reader.start()
    pause = threading.Event()
    while not box.progress()[0]:
        pause.wait(0.001)
    box.wake()
    reader.join(10.0)
    assert box.progress() == (False, 0)
