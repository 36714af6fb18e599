"""A watched descriptor that ends its reader's wait, and calls to what lives behind a router."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.errors import RecipientGoneError
from gateway.mail.message import Message


@pytest.fixture
def box() -> Iterator[Mailbox]:
    box = Mailbox("board@serial", clock=RealClock())
    yield box
    box.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def letter(**more: object) -> Message:
    return Message("1", "1", 1, 0.0, "main", "board@serial", "led", **more)  # type: ignore[arg-type]


def test_a_callback_that_interrupts_ends_the_wait_once(box: Mailbox, pipe: tuple[int, int]) -> None:
    read, write = pipe
    served: list[bytes] = []

    def serve(events: int) -> None:
        served.append(os.read(read, 10))
        box.interrupt()

    box.watch(read, serve)
    os.write(write, b"x")
    assert box.get(5.0) is None
    assert served == [b"x"]
    box.deliver(letter())
    assert box.get(5.0) is not None


def test_what_waits_to_be_served_is_forgotten_with_its_descriptor(
    box: Mailbox, pipe: tuple[int, int]
) -> None:
    """The next one may get the same number, and must not be told what was not for it."""
    read, write = pipe
    box.watch(read, lambda events: None)
    os.write(write, b"x")
    box._ready.append((read, 1))
    box.unwatch(read)
    strange: list[int] = []
    box.watch(read, strange.append)
    os.read(read, 1)
    assert box.get(0.0) is None
    assert strange == []


def test_a_call_to_a_mailbox_behind_a_router_that_died_before_it_fails_at_once(
    box: Mailbox,
) -> None:
    box.fail_calls("wheels@serial", 3)
    asked = Message("1", "1", 1, 0.0, "main", "wheels@serial", "led", incarnation=3)
    with pytest.raises(RecipientGoneError, match="'wheels@serial' died"):
        box.wait_for(asked, 5.0)
