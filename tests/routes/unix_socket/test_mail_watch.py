"""Watching clients are let go of where they would be shown nothing any more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from gateway.clock import VirtualClock
from gateway.process.process import Process
from gateway.process.shared_tap import LEASE
from routes.unix_socket.mail_watch import MailWatch
from routes.unix_socket.protocol import Tap
from tests.gateway.process.test_shared_tap import Owner


def test_after_a_lease_that_has_ended_nobody_is_kept_waiting() -> None:
    clock, left = VirtualClock(), list[Any]()
    watch = MailWatch(cast(Process, Owner()), clock, flush=lambda client: None, leave=left.append)
    client = cast(Any, SimpleNamespace(outbox=SimpleNamespace(is_empty=True), tail=None))
    watch.follow(client, Tap(id=1))
    began = clock.monotonic()
    watch.look_after(began + LEASE - 0.1)
    assert left == []
    watch.look_after(began + 3 * LEASE)
    assert left == [client]
    watch.close()
