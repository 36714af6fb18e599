"""What is in hand is forgotten when it is over, whoever takes it back meanwhile."""

from __future__ import annotations

from typing import Any

from gateway.mail.message import Message
from gateway.rpc.in_hand import InHand, owner_of


def test_what_ends_while_it_is_taken_back_leaves_nothing() -> None:
    letter = Message("1", "1", 1, 0.0, "main", "robot", "grip")
    calls = InHand()

    class Ending(dict[str, Message]):
        """Ends a call as soon as somebody has found it, as a worker may."""

        def get(self, id: str, default: Any = None) -> Any:
            found = super().get(id, default)
            calls.end(letter)
            return found

    calls._running = Ending()
    calls.begin(letter)
    calls.take_back("1", owner_of(letter))
    assert not calls.is_taken_back(letter)
