"""A session with a broker gone mad, connection after connection: it survives, and nothing is lost.

    python -m tests.fuzz.mqtt_broker                             2,000 connections
    python -m tests.fuzz.mqtt_broker --connections 500 --seed 7

On each connection the broker answers as it should, or with an answer that is
mutated, or a code at random, or not at all; in between it says anything; and it
hangs up when it likes. Meanwhile letters are published, some of them spooled,
retained or soon expired. In the end it comes to its senses. Then:

- the session's thread has lived through it without a fault;
- accepted = acknowledged + dropped + superseded + refused + given_up + expired,
  with nothing left, and whoever waited for a letter was told, once;
- memory has not grown.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random, SystemRandom
from time import perf_counter

from gateway.clock import RealClock
from routes.mqtt.network_loop import Status
from routes.mqtt.properties import Properties
from routes.mqtt.session import Session
from routes.mqtt.settings import SessionSettings
from tests.fuzz.mqtt_inbound import GROWTH, SECONDS, resident
from tests.fuzz.mqtt_specimens import Maker
from tests.fuzz.specimens import mutated
from tests.lab.hostile_broker import HostileBroker, Packet, Talk, answer, kind
from tests.lab.os_processes import until

CONNECTIONS = 2_000
PATIENCE = 0.005
"""Seconds of silence after which the mad broker hangs up."""
STATUS = Status("gateway/lab/status", b"on", b"off", b"lost")


@dataclass
class MadTally:
    """What became of it all."""

    attempts: int = 0
    connections: int = 0
    letters: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    grown: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        ends = ", ".join(f"{name} {count:,}" for name, count in self.ends.items())
        counts = ", ".join(f"{name} {count:,}" for name, count in self.counts.items())
        return (
            f"{self.attempts:,} attempts, {self.connections:,} connections, {self.letters:,} "
            f"letters: {ends}; {counts}; memory grew by {self.grown >> 10:,} kB; "
            f"{self.attempts / self.seconds:,.0f} attempts/s"
        )


class MadBroker(HostileBroker):
    """Mad for so many connections, then sane."""

    def __init__(self, random: Random, connections: int, level: int) -> None:
        super().__init__(self._act, level=level)
        self._random = random
        self._rest = connections
        self._maker = Maker(random)

    @property
    def is_sane(self) -> bool:
        """Tell whether it has come to its senses."""
        return self._rest <= 0

    def connack(self) -> bytes:
        """Return the answer to CONNECT, at times a bad one."""
        sound = super().connack()
        bad = not self.is_sane and self._random.random() < 0.2
        return mutated(sound, self._random) if bad else sound

    def _act(self, talk: Talk) -> None:
        self._rest -= 1
        if self._rest < 0:
            kind(talk)
            return
        for _ in range(self._random.randrange(60)):
            packet = talk.hear(PATIENCE)
            if packet is None or not talk.say(self._reply(packet, talk.level)):
                return

    def _reply(self, packet: Packet, level: int) -> bytes:
        random = self._random
        chance = random.random()
        sound = answer(packet, level)
        if chance < 0.75:
            return sound
        if chance < 0.8:
            return answer(packet, level, random.choice((0x80, 0x87, 0x97, 0x10, 0x77)))
        if chance < 0.85:
            return b""
        if chance < 0.9:
            return sound + self._maker.make().pack(level, random.randrange(65_536))
        if chance < 0.95:
            return mutated(sound or b"\xd0\x00", random)
        return random.randbytes(random.randrange(20))


def soak(connections: int, seed: int, level: int = 5) -> MadTally:
    """Go through so many connections; `AssertionError` with the seed where one shows a fault."""
    random = Random(f"{seed} mqtt broker {level}")
    tally, settled = MadTally(), Counter[int]()
    began, memory, spooled = perf_counter(), 0, 0
    with MadBroker(random, connections, level) as broker:
        session = Session(
            SessionSettings(
                broker=broker.url,
                connect_timeout=0.5,
                acknowledge_timeout=0.5,
                retry_first=0.001,
                retry_ceiling=0.002,
            ),
            client_id="fuzz",
            status=STATUS,
            clock=RealClock(),
            random=Random(seed),
        )
        session.start()
        own = Random(seed)
        try:
            while not broker.is_sane:
                for _ in range(20):
                    spooled += publish(session, own, spooled, settled)
                before = session.statistics().attempts
                assert until(moved(session, broker, before), SECONDS), f"{seed}: {session.state}"
                memory = memory or resident()
            where = f"seed {seed}, MQTT {level}: {session.statistics()}"
            assert session.flush(SECONDS), where
            check(session, tally, where)
            assert settled == Counter(range(spooled)), f"{where}: not told, or twice"
        finally:
            session.stop(SECONDS)
    tally.grown = max(0, resident() - memory)
    assert tally.grown <= GROWTH, f"seed {seed}: memory grew by {tally.grown} bytes"
    tally.seconds = perf_counter() - began
    return tally


def publish(session: Session, random: Random, number: int, settled: Counter[int]) -> int:
    """Publish one letter of some kind; return how many were spooled, one or none."""
    kind_of_letter = random.randrange(4)
    topic, payload, qos = f"t/{random.randrange(20)}", b"x" * random.randrange(200), 1
    if kind_of_letter == 0:
        session.publish(topic, payload, qos=qos, settled=lambda: settled.update((number,)))
        return 1
    if kind_of_letter == 1:
        session.publish(topic, payload, qos=qos, retain=True)
    elif kind_of_letter == 2:
        brief = Properties(expires_in=random.random() * 0.02)
        session.publish(topic, payload, qos=qos, properties=brief)
    else:
        session.publish(topic, payload, qos=random.randrange(2), urgent=random.random() < 0.5)
    return 0


def moved(session: Session, broker: MadBroker, attempts: int) -> Callable[[], bool]:
    """Return what tells whether there was another attempt since ``attempts``."""
    return lambda: broker.is_sane or session.statistics().attempts > attempts


def check(session: Session, tally: MadTally, where: str) -> None:
    """Hold the counts against each other."""
    told = session.statistics()
    box = told.outbox
    names = ("acknowledged", "dropped", "superseded", "refused", "given_up", "expired")
    tally.ends = {name: getattr(box, name) for name in names}
    names = ("refusals", "violations", "throttled", "denied", "received", "takeovers")
    tally.counts = {name: getattr(told, name) for name in names}
    tally.attempts, tally.connections = told.attempts, told.connections
    tally.letters = box.accepted
    assert told.faults == 0, where
    assert box.accepted == sum(tally.ends.values()), where
    assert (box.queued, box.in_flight) == (0, 0), where


def main() -> None:
    """Soak under MQTT 5, then under 3.1.1."""
    parser = argparse.ArgumentParser(description="A session with a broker gone mad.")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1 << 32))
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}, {chosen.connections:,} connections each", flush=True)
    for level in (5, 4):
        print(f"level {level}: {soak(chosen.connections, chosen.seed, level)}", flush=True)


if __name__ == "__main__":
    main()
