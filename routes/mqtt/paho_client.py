"""paho's client with two things that it lacks: a limit and a memory.

`BoundedClient` hangs up on a packet that is too large, instead of collecting
up to 256 MB of it. `Ear` keeps the exception that paho logs where it should
raise, since that one knows why the connection broke. Nothing else of paho is
changed.
"""

from __future__ import annotations

import errno
import logging

from paho.mqtt.client import Client


class BoundedClient(Client):
    """Hangs up before it reads a packet that is too large.

    paho offers no limit, and under 3.1.1 none can be told to the broker. This
    is the one place that leans on paho's inside; a test holds it against the
    real one.
    """

    packet_limit = 0
    oversized = 0

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > self.packet_limit:
            self.oversized = bufsize
            raise OSError(errno.EMSGSIZE, f"a packet of {bufsize} bytes")
        return super()._sock_recv(bufsize)


class Ear(logging.Logger):
    """Keeps the exception that paho logs instead of raising; writes no log."""

    def __init__(self) -> None:
        super().__init__("paho", logging.ERROR)
        self.heard: BaseException | None = None

    def handle(self, record: logging.LogRecord) -> None:
        """Remember the exception among the record's arguments."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        for argument in arguments:
            if isinstance(argument, BaseException):
                self.heard = argument
