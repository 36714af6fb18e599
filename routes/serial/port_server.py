"""A TCP connection to a port server, in bounded time, that notices when the server dies.

Refused: to wait longer than ``connect_timeout`` for each address of the host.
"""

from __future__ import annotations

import contextlib
import os
import socket

from gateway.errors import LinkAbsentError, LinkLostError
from routes.serial.settings import SerialSettings


def connect(settings: SerialSettings) -> int:
    """Return the descriptor of a connection that does not block.

    Raises `LinkAbsentError` where nobody answers, `LinkLostError` where the
    way there is not known.
    """
    host, port = settings.socket_address()
    try:
        connection = socket.create_connection((host, port), timeout=settings.connect_timeout)
    except (ConnectionRefusedError, TimeoutError) as error:
        raise LinkAbsentError(f"nobody answers at {settings.port}") from error
    except OSError as error:
        raise LinkLostError(
            f"{settings.port} cannot be reached: {error.strerror or error}; "
            "check host name and network"
        ) from error
    make_quick(connection)
    return connection.detach()


def make_quick(connection: socket.socket) -> None:
    """Have small writes leave at once, and a peer that lost its power be missed.

    A command is one small write that must not wait for the one before; and
    who lost power says nothing, so the kernel asks.
    """
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def close_socket(descriptor: int, broken: bool) -> None:
    """Close a connection; never raises."""
    del broken  # unsent bytes are the kernel's, whoever waits for them
    with contextlib.suppress(OSError):
        os.close(descriptor)
