"""The tray between the session's thread and the route's."""

from __future__ import annotations

import contextlib
import os
from functools import partial

from routes.mqtt.in_tray import InTray


def rings(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        return os.eventfd_read(descriptor) > 0
    return False


def test_things_are_done_in_their_order_and_one_too_many_is_refused() -> None:
    tray, done = InTray(2), list[int]()
    assert [tray.put(partial(done.append, each)) for each in range(3)] == [True, True, False]
    tray.empty()
    assert done == [0, 1]
    assert not rings(tray.fileno())
    tray.close()


def test_a_closed_tray_takes_nothing_and_rings_at_nobody_elses_bell() -> None:
    tray, done = InTray(2), list[int]()
    descriptor = tray.fileno()
    tray.close()
    # The lowest number that is free: the kernel gives it to whoever comes next.
    successor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    assert successor == descriptor
    # As a session's thread does that was held up while the route stopped.
    assert not tray.put(partial(done.append, 1))
    tray.ring()
    assert not rings(successor)
    assert done == []
    os.close(successor)
