"""Messages per second at QoS 1 against how many may await their acknowledgement.

::

    python -m benchmarks.mqtt_window --json

A `Session` empties its queue into a mosquitto of its own: directly, and over
lines that take 5 and 50 ms there and back, as a site's Wi-Fi and a mobile
network do. mosquitto admits 20 at once unless it is told otherwise, and tells a
client of MQTT 5 so; here it is told otherwise, since it is the client's default
that is sought. ``vs_20`` compares each window with 20, on the same line.

Needs mosquitto. Figures of a busy machine are those of the machine.
"""

from __future__ import annotations

import select
import socket
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import median
from time import monotonic, perf_counter
from typing import Any

from benchmarks.measure import arguments, show
from gateway.clock import RealClock
from routes.mqtt.network_loop import Status
from routes.mqtt.session import Session
from routes.mqtt.settings import SessionSettings
from tests.lab.ports import free_port

WINDOWS = (1, 5, 20, 50, 100, 200, 500)
LINES = (0.0, 0.005, 0.05)
"""Seconds there and back."""
PAYLOAD = b"x" * 100
TURNS = 3
SECONDS = 120.0
LASTS = 0.7
"""Seconds that a turn over a slow line should take, about."""


@contextmanager
def mosquitto() -> Iterator[int]:
    """Run a broker without a limit of its own; yield its port."""
    port = free_port()
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "max_inflight_messages 0",
        "log_dest none",
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mosquitto.conf"
        path.write_text("\n".join(lines) + "\n")
        with subprocess.Popen(["mosquitto", "-c", str(path)]) as process:
            try:
                yield port
            finally:
                process.terminate()


class SlowLine:
    """A line to the broker that keeps everything back for a while, one connection long."""

    def __init__(self, port: int, one_way: float) -> None:
        self._behind = port
        self._one_way = one_way
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="slow line")
        self._thread.start()

    def close(self) -> None:
        """Wait for the connection's end, which the client has brought about."""
        self._thread.join(SECONDS)
        self._listener.close()

    def _run(self) -> None:
        near, _ = self._listener.accept()
        with near, socket.create_connection(("127.0.0.1", self._behind)) as far:
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            under_way: deque[tuple[float, socket.socket, bytes]] = deque()
            while True:
                now = monotonic()
                while under_way and under_way[0][0] <= now:
                    _, end, data = under_way.popleft()
                    end.sendall(data)
                wait = max(0.0, under_way[0][0] - now) if under_way else SECONDS
                for end in select.select([near, far], [], [], wait)[0]:
                    data = end.recv(65_536)
                    if not data:
                        return
                    other = far if end is near else near
                    under_way.append((monotonic() + self._one_way, other, data))


def messages_per_second(port: int, window: int, count: int) -> float:
    """Send ``count`` messages that lie ready; return how fast they were acknowledged."""
    settings = SessionSettings(
        broker=f"mqtt://127.0.0.1:{port}", in_flight=window, queue_size=count + 1
    )
    session = Session(
        settings,
        client_id="bench",
        status=Status("bench/status", b"on", b"off", b"lost"),
        clock=RealClock(),
        random=Random(1),
    )
    session.start()
    try:
        if not session.wait_for_state(lambda state: state.is_connected, SECONDS):
            raise TimeoutError(session.state.cause)
        began = perf_counter()
        for _ in range(count):
            session.publish("bench/value", PAYLOAD, qos=1)
        if not session.flush(SECONDS):
            raise TimeoutError(f"{session.statistics().outbox.queued} messages are left")
        return count / (perf_counter() - began)
    finally:
        session.stop(SECONDS)


def over_line(port: int, seconds: float, window: int, rounds: int) -> float:
    """Return the median of some turns over a line that takes ``seconds`` there and back."""
    rates = []
    for _ in range(TURNS):
        if not seconds:
            rates.append(messages_per_second(port, window, rounds))
            continue
        line = SlowLine(port, seconds / 2)
        try:
            count = min(rounds, max(10, round(LASTS * window / seconds)))
            rates.append(messages_per_second(line.port, window, count))
        finally:
            line.close()
    return median(rates)


def measure(rounds: int) -> dict[str, Any]:
    """Return the messages per second of each window on each line, and their ratios to 20."""
    result: dict[str, Any] = {}
    with mosquitto() as port:
        for seconds in LINES:
            rates = {window: over_line(port, seconds, window, rounds) for window in WINDOWS}
            name = f"{seconds * 1000:g}_ms"
            result[name] = {f"{window}": round(rate) for window, rate in rates.items()}
            result[f"{name}_vs_20"] = {
                f"{window}": round(rate / rates[20], 2) for window, rate in rates.items()
            }
    return result


def main() -> None:
    """Measure and print."""
    chosen = arguments("QoS 1 messages per second against the window.")
    show(measure(chosen.rounds), as_json=chosen.json)


if __name__ == "__main__":
    main()
