"""Mailboxes that are written to by rings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.bus import ring as module
from gateway.bus.mailbox import Mailbox
from gateway.bus.patience import Patience
from gateway.bus.ring import SLOTS
from gateway.bus.ring_outlet import RingOutlet
from gateway.bus.rings import Rings
from gateway.bus.wire import Folder
from tests.gateway.bus.rings.ends import (
    Boxes,
    Flowing,
    Make,
    Outlets,
    Waiting,
    drained,
    filled,
)


@pytest.fixture(params=[False, True], ids=["unsigned", "signed"])
def rings(request: pytest.FixtureRequest) -> Iterator[Rings]:
    """The rings of an application, on cores that keep the order of what is written, or do not."""
    made = Rings(is_signed=request.param)
    yield made
    made.close()


@pytest.fixture
def target(box: Boxes, rings: Rings) -> Mailbox:
    """A mailbox that nobody reads yet."""
    return box(rings=rings)


@pytest.fixture
def outlet(folder: Folder, rings: Rings, stack: ExitStack) -> Outlets:
    patience = Patience()
    stack.callback(patience.close)

    def make(name: str = "worker", incarnation: int = 1) -> RingOutlet:
        return RingOutlet(folder, name, incarnation, rings, patience)

    return make


@pytest.fixture
def flowing(letter: Make, run: Any, until: Any) -> Flowing:
    """Return a way to have letters go by a ring; it returns how many were written, and read."""

    def make(out: RingOutlet, target: Mailbox) -> int:
        count = filled(out, letter)
        writer = run(lambda: out.deliver(letter(body=count)))
        until(lambda: out._ring is not None)
        got = drained(target, 0.05)
        writer.result()
        got += drained(target, 0.05)
        assert got == list(range(count + 1))
        return count + 1

    return make


@pytest.fixture
def waiting(
    letter: Make, target: Mailbox, outlet: Outlets, run: Any, until: Any, flowing: Flowing
) -> Waiting:
    """Return a maker of an outlet whose ring is full, and of a thread that waits there."""

    def make() -> tuple[RingOutlet, Any]:
        out = outlet()
        flowing(out, target)
        for number in range(SLOTS):
            out.deliver(letter(body=number))
        writer = run(lambda: out.deliver(letter(body="last"), 10.0))
        until(lambda: out._ring is not None and out._ring._words[module._WANTED])
        return out, writer

    return make
