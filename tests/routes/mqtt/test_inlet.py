"""Whether we hear ourselves."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue

import pytest

from routes.mqtt.inlet import OwnToo
from routes.mqtt.session import Session
from tests.lab.mosquitto import DEADLINE, Mosquitto

pytestmark = pytest.mark.needs("mosquitto")


def test_our_own_words_come_back_only_where_they_are_wanted(
    broker: Mosquitto, make_session: Callable[..., Session]
) -> None:
    heard: SimpleQueue[str] = SimpleQueue()
    session = make_session(
        broker.url,
        subscriptions=["lab/others", OwnToo("lab/own")],
        on_message=lambda incoming: heard.put(incoming.topic),
    )
    broker.wait_for_log("gateway-lab 1 lab/own")
    for topic in ("lab/others", "lab/own"):
        session.publish(topic, b"1", qos=1)
    assert heard.get(timeout=DEADLINE) == "lab/own"
    assert session.flush(DEADLINE)
    assert heard.empty()
