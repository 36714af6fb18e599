"""The usual scene of a system test: a board, a broker, the gateway between them, a listener.

The gateway is not started here. The listener is a mosquitto_sub of its own
that hears the board's retained state; `Bench.wait_for_state` goes through what
it heard in order, once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.gateway_process import DEADLINE, DEVICE, TOPIC, GatewayProcess, configuration
from tests.lab.mosquitto import Listener, Mosquitto, Received
from tests.lab.simavr import Simavr


class Bench:
    """Board, broker, gateway and listener; ``with`` ends the last two.

    ``port`` is what the gateway opens, the board's link unless said otherwise;
    the rest goes to `configuration`.
    """

    def __init__(
        self,
        folder: Path,
        broker: Mosquitto,
        board: Simavr,
        *,
        port: Path | str | None = None,
        **options: Any,
    ) -> None:
        self.broker = broker
        self.board = board
        text = configuration(folder, broker=broker.url, port=port or board.path, **options)
        self.gateway = GatewayProcess(folder, text)
        self._states: Listener | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.gateway.close()
        finally:
            self.forget()

    @property
    def states(self) -> Listener:
        """Who hears the board's state; begins to listen when first asked for."""
        if self._states is None:
            self._states = self.broker.listen(f"{DEVICE}/state")
        return self._states

    def forget(self) -> None:
        """Listen no more; the next who asks for states begins anew."""
        listener, self._states = self._states, None
        if listener is not None:
            listener.close()

    def wait_for_state(self, seconds: float = DEADLINE, **expected: Any) -> dict[str, Any]:
        """Wait for the next state of the board with such fields; return all of it."""
        message = self.states.wait_for_next(lambda heard: says(heard, **expected), seconds)
        return body_of(message)

    def settle(self, seconds: float = DEADLINE, **expected: Any) -> dict[str, Any]:
        """Wait until the board's latest state has such fields; return all of it.

        For what lasts: of two states in a row the broker may be told the second only.
        """
        message = self.states.wait_for_last(lambda heard: says(heard, **expected), seconds)
        return body_of(message)

    def retained(self, topic: str) -> dict[str, Any]:
        """Return what the broker tells a newcomer about ``topic``, below the gateway's."""
        (message,) = self.broker.sub(f"{TOPIC}/{topic}")
        assert message.retained, f"{message} is not retained"
        return body_of(message)

    def call(self, command: str, payload: str | bytes = "", **options: Any) -> dict[str, Any]:
        """Call a command of the board by mosquitto_pub; return the reply."""
        with self.broker.listen(f"{DEVICE}/{command}/reply") as replies:
            self.broker.pub(f"{DEVICE}/{command}/call", payload, **options)
            return body_of(replies.wait_for_next(lambda _: True))


def body_of(message: Received) -> dict[str, Any]:
    """Return the JSON object in a message."""
    body = json.loads(message.payload)
    assert isinstance(body, dict), message
    return body


@contextmanager
def settled(folder: Path, broker: Mosquitto, board: Simavr, **options: Any) -> Iterator[Bench]:
    """A `Bench` whose gateway runs and has told the broker that the board is healthy."""
    with Bench(folder, broker, board, **options) as bench:
        bench.gateway.start()
        bench.settle(state="healthy")
        yield bench


def says(message: Received, **expected: Any) -> bool:
    """Tell whether the JSON object in a message has such fields."""
    body = body_of(message) if message.payload else {}
    return all(body.get(name) == value for name, value in expected.items())
