"""Ports for servers that must be told their number."""

from __future__ import annotations

import errno
import random
import socket
from itertools import cycle
from pathlib import Path

_LOWEST = 10_240


def free_port() -> int:
    """Return a loopback port on which nobody listens; each call another one.

    It lies below those that the kernel gives to clients (ip(7),
    ``ip_local_port_range``), so that no connection of anybody's takes it before its
    server does, or while that is away. Each process begins somewhere else.
    """
    for port in _PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
            else:
                return port
    raise AssertionError("there is no end to them")


def _ports() -> cycle[int]:
    given = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    ports = range(_LOWEST, max(int(given[0]), _LOWEST + 10_000))
    first = random.SystemRandom().randrange(len(ports))
    return cycle([*ports[first:], *ports[:first]])


_PORTS = _ports()
