"""Named events and who is called for them."""

from __future__ import annotations

import pytest

from gateway.process.callbacks import Callbacks, Event


def test_who_registered_is_called_in_order_and_nobody_else() -> None:
    callbacks = Callbacks()
    heard: list[tuple[str, Event]] = []
    callbacks.register("wheels", "pong", lambda event: heard.append(("first", event)))
    callbacks.register("wheels", "pong", lambda event: heard.append(("second", event)))
    callbacks.register("arm", "pong", lambda event: heard.append(("arm", event)))
    callbacks.register("+", "pong", lambda event: heard.append(("all", event)))
    callbacks.register("wheels", "connected", lambda event: heard.append(("other", event)))
    event = Event("pong", "wheels", {"ms": 3})
    assert callbacks.fire(event) == 3
    assert heard == [("first", event), ("second", event), ("all", event)]
    assert callbacks.fire(Event("nobody", "wheels")) == 0


def test_what_is_no_callback_is_refused() -> None:
    with pytest.raises(ValueError, match="callable"):
        Callbacks().register("wheels", "pong", "print")  # type: ignore[arg-type]


def test_what_a_callback_raises_rises() -> None:
    callbacks = Callbacks()
    callbacks.register("", "x", lambda event: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        callbacks.fire(Event("x"))
