"""One generator that is open here, stepped in batches.

A batch begins with one part and doubles while the parts come fast, so that a slow
one is never kept waiting for company.

Refused (`BodyError`, told to the caller): a part that no letter carries.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from threading import Lock
from typing import Any

from gateway.errors import described
from gateway.mail.body import checked
from gateway.mail.codec import encode
from gateway.mail.message import Message
from gateway.rpc.failure import as_gateway_error
from gateway.rpc.in_hand import owner_of
from gateway.rpc.terms import MOST_AHEAD

LINGER = 0.001
"""Seconds after which a batch goes out as it is."""

HEAVY = 1024 * 1024
"""Bytes of parts after which a batch goes out as it is."""

_LIGHT = frozenset({type(None), bool, int, float})


class OpenStream:
    """One generator, who may pull it, and whatever says who steps it (``served``)."""

    def __init__(self, message: Message, generator: Any, served: Any = None) -> None:
        self.message = message
        """The call that opened it."""
        self.id = message.message_id
        self.owner = owner_of(message)
        self.generator = generator
        self.served = served
        self.pulled_at = 0.0
        self.is_closed = False
        self.lock = Lock()
        self.size = 1
        """Parts that the next batch has at the most."""
        self.weight = 0
        """Bytes of the parts in this batch, roughly."""

    def batch(self, most: int, now: Callable[[], float]) -> dict[str, Any]:
        """Step the generator for up to ``most`` parts; return what is written of them."""
        told = self.begun()
        began = now()
        try:
            while self.wants_more(told, most, now() - began):
                try:
                    part = next(self.generator)
                except StopIteration as end:
                    told.update(more=False, returned=checked(end.value)[0])
                    break
                self.add(part, told)
        except Exception as bug:  # noqa: BLE001 - it is the caller's
            self.tell_of(bug, told)
        return self.ended(told)

    def begun(self) -> dict[str, Any]:
        """Return an empty batch."""
        self.weight = 0
        return {"stream": self.id, "parts": [], "more": True}

    def wants_more(self, told: dict[str, Any], most: int, seconds: float) -> bool:
        """Tell whether a batch that took ``seconds`` so far is to have another part."""
        count = len(told["parts"])
        if count and (seconds > LINGER or self.weight > HEAVY):
            self.size = 1
            return False
        if count < min(self.size, most):
            return True
        self.size = min(2 * self.size, MOST_AHEAD)
        return False

    def add(self, part: Any, told: dict[str, Any]) -> None:
        """Put ``part`` into a batch; raise `BodyError` for what no letter carries."""
        part = checked(part)[0]
        told["parts"].append(part)
        if type(part) is bytes or type(part) is str:
            self.weight += len(part)
        elif type(part) not in _LIGHT:
            self.weight += len(encode(part))

    def tell_of(self, bug: BaseException, told: dict[str, Any]) -> None:
        """Write into a batch what ended the stream; where, for who is inside."""
        inside = not self.owner[2]
        told.update(more=False, error=described(as_gateway_error(bug), inside=inside))

    def ended(self, told: dict[str, Any]) -> dict[str, Any]:
        """Return a batch that is done, the generator closed where it is the last."""
        if self.is_closed or not told["more"]:
            told["more"] = False
            self.shut()
        return told

    def shut(self) -> None:
        """Close the generator; what it raises then is nobody's."""
        with contextlib.suppress(Exception):
            self.generator.close()
