"""Brokers and sessions for the tests of the MQTT route."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.clock import RealClock
from routes.mqtt.connection_state import ConnectionState
from routes.mqtt.network_loop import Status
from routes.mqtt.session import Session
from routes.mqtt.settings import SessionSettings
from tests.lab.certificates import make_certificates
from tests.lab.mosquitto import Mosquitto

STATUS = Status(
    topic="gateway/lab/status",
    online=b'{"online":true}',
    offline=b'{"online":false,"cause":"stopped"}',
    lost=b'{"online":false,"cause":"lost"}',
)


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    """A mosquitto that runs and admits everybody."""
    with Mosquitto() as broker:
        yield broker


@pytest.fixture
def make_session() -> Iterator[Callable[..., Session]]:
    """Make started sessions that retry quickly; whatever still runs is stopped.

    ``told`` of each has all states that it has told of: some last for a moment only.
    """
    made: list[Session] = []

    def make(url: str, **options: Any) -> Session:
        callbacks = {
            name: options.pop(name)
            for name in ("on_message", "on_state", "subscriptions")
            if name in options
        }
        told: list[ConnectionState] = []
        tell = callbacks.get("on_state", lambda state: None)

        def on_state(state: ConnectionState) -> None:
            told.append(state)
            tell(state)

        callbacks["on_state"] = on_state
        values = {"retry_first": 0.05, "retry_ceiling": 0.2, **options}
        session = Session(
            SessionSettings(broker=url, **values),
            client_id="gateway-lab",
            status=STATUS,
            clock=RealClock(),
            random=Random(1),
            **callbacks,
        )
        made.append(session)
        session.told = told  # type: ignore[attr-defined]
        session.start()
        return session

    yield make
    for session in made:
        assert session.stop(5.0)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `tests.lab.certificates` describes."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))
