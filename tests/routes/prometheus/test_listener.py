"""The listener where the machine has no descriptors left, with a process that a test plays."""

from __future__ import annotations

import resource
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from gateway.clock import RealClock
from gateway.errors import LinkLostError
from gateway.process.process import Process
from routes.prometheus.http import Request
from routes.prometheus.listener import Listener


class Watcher:
    """As much of a process as a listener needs."""

    def __init__(self) -> None:
        self.watched: dict[int, Callable[[int], None]] = {}
        self.frequency = 0.0

    def watch(self, fd: int, callback: Callable[[int], None], events: int = 0) -> None:
        self.watched[fd] = callback

    def unwatch(self, fd: int) -> None:
        self.watched.pop(fd, None)


@contextmanager
def no_descriptors() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def answer(request: Request) -> bytes:
    return b"so it is"


def test_without_descriptors_it_does_not_spin_and_lets_them_in_later() -> None:
    process = Watcher()
    listener = Listener(cast(Process, process), RealClock(), "127.0.0.1", 0, answer, most=4)
    (door,) = process.watched
    with socket.create_connection(listener.address, timeout=10.0) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        with no_descriptors():
            process.watched[door](select.EPOLLIN)
        assert (process.watched, process.frequency) == ({}, 1.0)
        assert listener.counts["not_accepted"] == 1
        listener.look_after(0.0)
        process.watched[door](select.EPOLLIN)
        assert len(listener) == 1
        told: Any = [callback for fd, callback in process.watched.items() if fd != door]
        told[0](select.EPOLLIN)
        assert client.recv(100) == b"so it is"
    listener.close()
    assert (process.watched, process.frequency) == ({}, 0.0)


@pytest.mark.parametrize("host", ["127.0.0..1", "x" * 70, "192.0.2.1"])
def test_what_is_no_address_of_this_machine_says_what_to_set(host: str) -> None:
    with pytest.raises(LinkLostError, match=r"set host and port under \[routes.prometheus\]"):
        Listener(cast(Process, Watcher()), RealClock(), host, 0, answer, most=4)
