"""The `Outside`: all that a hosted device can do to the rest of the house.

A router hands one in, made of its own process's mail and topics. Driver
threads therefore know no bus, and a test hands in one that records.
"""

from __future__ import annotations

from typing import Protocol

from gateway.errors import GatewayError
from gateway.mail.message import Message


class Outside(Protocol):
    """What the router offers its driver threads; every method is thread-safe.

    Each returns soon (it may wait for a bounded time, and holds up its caller's
    device while it does) and raises `GatewayError` where the house cannot take
    what it is given.
    """

    def publish(self, topic: str, body: object, *, retain: bool = False) -> object:
        """Publish ``body`` to the whole house."""
        ...

    def reply(self, message: Message, body: object) -> object:
        """Answer ``message`` in its thread."""
        ...

    def bounce(self, message: Message, error: GatewayError) -> object:
        """Answer ``message`` with ``{"code": error.code, "reason": str(error)}``."""
        ...
