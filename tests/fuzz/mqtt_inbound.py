"""Random and mutated publishes into the MQTT route's way in: none crashes it, all are counted.

    python -m tests.fuzz.mqtt_inbound                            100,000 publishes
    python -m tests.fuzz.mqtt_inbound --inputs 20000 --seed 7
    python -m tests.fuzz.mqtt_inbound --broker --inputs 10000    by a real mosquitto, into a router

Without a broker, a `Connection` reads raw packets from our end of a socket, under
MQTT 5 and 3.1.1 in turn, and each message goes to `parse_call` as in the route.
Every 100th packet or so is mutated, and the last of its connection. Then:

- of sound packets every message has arrived, once: received = carried + refused
  by kind, and what is mutated arrives as some message or ends the connection
  with a cause, and is never a fault of ours;
- every refusal that is to be told has a reply of JSON, to where one may go;
- memory does not grow.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from time import perf_counter

from routes.mqtt.broker_url import BrokerUrl
from routes.mqtt.commands import Call, error_body, parse_call, result_body
from routes.mqtt.connection import Connection
from routes.mqtt.incoming import Incoming
from routes.mqtt.login import Login, Will
from routes.mqtt.protocol_choice import Version
from routes.mqtt.topics import Topics
from tests.fuzz.mqtt_specimens import DEVICES, MAX_PAYLOAD, NODE, Maker
from tests.fuzz.specimens import mutated

INPUTS = 100_000
BATCH = 50
"""Packets that are written together."""
SECONDS = 20.0
"""After which something that is waited for has hung."""
GROWTH = 40 << 20
"""Bytes of memory that a run may take on top of its first tenth."""

LEVELS: dict[Version, int] = {"5": 5, "3.1.1": 4}


@dataclass
class Tally:
    """What went in and what came of it."""

    inputs: int = 0
    octets: int = 0
    received: int = 0
    carried: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    mutated: int = 0
    read_all_the_same: int = 0
    """Mutated packets that were still a message."""
    violations: int = 0
    """Mutated packets over which we hung up; the others were never complete."""
    grown: int = 0
    seconds: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.refused.most_common())
        return (
            f"{self.inputs:,} inputs, {self.octets:,} bytes: {self.received:,} received = "
            f"{self.carried:,} carried + {self.refused.total():,} refused ({kinds}); "
            f"{self.mutated:,} packets mutated: {self.read_all_the_same:,} read all the same, "
            f"{self.violations:,} hung up on, the rest incomplete; "
            f"memory grew by {self.grown >> 10:,} kB; {self.inputs / self.seconds:,.0f} inputs/s"
        )


class Way:
    """The route's way in, without its process: judges and counts what a connection brings."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._topics = Topics(NODE)

    def take(self, incoming: Incoming) -> None:
        """Judge one message as the route does, and check what would be said to it."""
        tally = self._tally
        tally.received += 1
        parsed = parse_call(incoming, self._topics, DEVICES, max_payload=MAX_PAYLOAD)
        reply_to = parsed.reply_to
        if isinstance(parsed, Call):
            tally.carried += 1
            body = result_body(parsed, {"was": parsed.arguments}, max_payload=MAX_PAYLOAD)
        else:
            tally.refused[parsed.kind] += 1
            assert parsed.reason, parsed
            if parsed.reply_to is None:
                return
            body = error_body(parsed.reply_to, parsed.code, parsed.reason)
        assert reply_to is not None
        assert self._topics.may_answer_to(reply_to.topic), reply_to
        assert set(json.loads(body)) <= {"ok", "result", "error", "id"}, body


def soak(inputs: int, seed: int) -> Tally:
    """Send ``inputs`` publishes; `AssertionError` with the seed where one shows a fault."""
    random = Random(f"{seed} mqtt inbound")
    tally, maker = Tally(), Maker(random)
    way = Way(tally)
    began = perf_counter()
    settled_at = max(1, inputs // 10)
    memory = None
    while tally.inputs < inputs:
        for version in LEVELS:
            if tally.inputs < inputs:
                where = f"seed {seed}, MQTT {version}, from input {tally.inputs} on"
                one_connection(version, way, maker, random, tally, inputs, where)
        if memory is None and tally.inputs >= settled_at:
            memory = resident()
    tally.grown = max(0, resident() - (memory or 0))
    assert tally.received == tally.carried + tally.refused.total(), f"seed {seed}: {tally}"
    assert tally.grown <= GROWTH, f"seed {seed}: memory grew by {tally.grown} bytes"
    tally.seconds = perf_counter() - began
    return tally


def one_connection(
    version: Version,
    way: Way,
    maker: Maker,
    random: Random,
    tally: Tally,
    inputs: int,
    where: str,
) -> None:
    """Send some publishes over one connection, and then a spoilt packet."""
    with connected(version, way) as (connection, broker, wake):
        for _ in range(1 + int(random.random() * 4)):
            size = min(BATCH, inputs - tally.inputs)
            if not size:
                return
            packets = [maker.make().pack(LEVELS[version], 1 + at) for at in range(size)]
            expected = tally.received + size
            push(b"".join(packets), broker, connection, wake)
            while tally.received < expected:
                assert connection.turn(SECONDS, wake), f"{where}: {cause(connection)}"
            assert tally.received == expected, f"{where}: {tally.received - expected} too many"
            tally.inputs += size
            tally.octets += sum(map(len, packets))
        spoilt = mutated(maker.make().pack(LEVELS[version], 7), random)
        before = tally.received
        push(spoilt, broker, connection, wake)
        # Whatever it still waits for does not come.
        broker.shutdown(socket.SHUT_WR)
        while connection.turn(SECONDS, wake):
            pass
        tally.mutated += 1
        tally.read_all_the_same += tally.received > before
        tally.violations += bool(connection.violation or connection.oversized)


@contextmanager
def connected(version: Version, way: Way) -> Iterator[tuple[Connection, socket.socket, int]]:
    """Make an admitted connection; yield it, the broker's end, and a wake that never rings."""
    wake = os.eventfd(0, os.EFD_NONBLOCK)
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = Connection(
            BrokerUrl("127.0.0.1", server.getsockname()[1]),
            version=version,
            login=Login("fuzz"),
            will=Will("status", b"lost"),
            keepalive=600,
            connect_timeout=SECONDS,
            packet_limit=MAX_PAYLOAD + (1 << 20),
            on_message=way.take,
            on_acknowledged=lambda letter, denied: None,
        )
        connection.open()
        broker, _ = server.accept()
        try:
            broker.setblocking(False)
            broker.send(b"\x20\x03\x00\x00\x00" if version == "5" else b"\x20\x02\x00\x00")
            while not connection.admitted:
                assert connection.turn(SECONDS, wake)
            yield connection, broker, wake
        finally:
            connection.close()
            broker.close()
            os.close(wake)


def push(data: bytes, broker: socket.socket, connection: Connection, wake: int) -> None:
    """Write ``data`` at the broker's end, and let the connection read where it has to."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[broker.send(rest) :]
        except BlockingIOError:
            connection.turn(0.1, wake)
        except ConnectionError:
            return
        drain(broker)


def drain(broker: socket.socket) -> None:
    """Read what the connection acknowledged."""
    while select.select([broker], [], [], 0)[0] and broker.recv(65_536):
        pass


def cause(connection: Connection) -> str:
    """Say why ``connection`` ended."""
    return connection.violation or str(connection.error or connection.ending or "closed")


def resident() -> int:
    """Return the bytes of memory that this OS process has in hand."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    """Soak the way in, or a whole router behind a mosquitto."""
    parser = argparse.ArgumentParser(
        description="Random and mutated publishes into the MQTT route."
    )
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1 << 32))
    parser.add_argument("--broker", action="store_true", help="by a mosquitto, into a router")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}, {chosen.inputs:,} inputs", flush=True)
    if chosen.broker:
        from tests.fuzz.mqtt_router import soak_router

        print(soak_router(chosen.inputs, chosen.seed), flush=True)
    else:
        print(soak(chosen.inputs, chosen.seed), flush=True)


if __name__ == "__main__":
    main()
