"""Every numbered message reaches the broker, whatever is killed, frozen, cut or unplugged.

A whole application runs beside the test: a board that publishes numbers and notes each
one once `publish` has returned, and the mqtt route. Between it and a real mosquitto is
a proxy that writes down what passes.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.bus.spool import SpoolReader
from routes.mqtt.spool_settings import SpoolSettings
from tests.lab.mosquitto import Mosquitto
from tests.lab.os_processes import until
from tests.lab.recording_proxy import Record, RecordingProxy

pytestmark = pytest.mark.needs("mosquitto")

ROOT = Path(__file__).parents[3]
SEED = "GATEWAY_TEST_SEED"
COUNT = 10_000
TOPICS = 3
KILLS = 20
POWER_CUTS = 10
WINDOW = 3.0
IN_FLIGHT = 20

PROGRAM = '''
import os, signal, sys, time
from gateway.application import Application
from gateway.process.process import Process
from gateway.supervision.restart import RestartPolicy
from routes.mqtt.router import MqttRouter
from routes.mqtt.settings import Settings
from routes.mqtt.spool_settings import SpoolSettings

BROKER, FOLDER, COUNT, TOPICS, HZ, ALWAYS, WINDOW, IN_FLIGHT = sys.argv[1:]
FOLDER, COUNT, TOPICS = os.path.abspath(FOLDER), int(COUNT), int(TOPICS)

class Route(MqttRouter):
    def birth(self):
        super().birth()
        with open(FOLDER + "/route", "a") as noted:
            noted.write(f"{os.getpid()}\\n")

class Board(Process):
    """Publishes numbers, and notes each with the time once it is published."""
    def birth(self):
        self.noted = os.open(FOLDER + "/noted", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        lines = os.pread(self.noted, 1 << 24, 0).splitlines()
        # One that was published and not noted when it was killed has no twin.
        self.number = 2 + int(lines[-1].split()[0]) if lines else 0
        self.frequency = float(HZ)
    def life(self):
        for _ in range(5):
            if self.number < COUNT:
                self.publish(f"devices/board/number{self.number % TOPICS}", self.number)
                os.write(self.noted, b"%d %.6f\\n" % (self.number, time.time()))
                self.number += 1

class Gateway(Application):
    def build(self):
        spool = SpoolSettings(
            flash=FOLDER + "/flash", window=float(WINDOW), always=("devices/#",) if ALWAYS else ()
        )
        settings = Settings(
            broker=BROKER, retry_first=0.05, retry_ceiling=0.2, telemetry_qos=1, keepalive=1,
            in_flight=int(IN_FLIGHT), spool=spool,
        )
        self.add_process("mqtt", Route, mode="fork", route="mqtt",
            restart=RestartPolicy(first=0.01, ceiling=0.05, most=1000),
            parameters={"settings": settings, "node": "lab"})
        self.add_process("board", Board, mode="fork", depends=["mqtt"])

sys.exit(Gateway(sockets=FOLDER + "/run").run())
'''


class Gateway:
    """The application, in a process group of its own; may be killed and started again."""

    def __init__(self, broker: str, folder: Path, *, hz: float = 200.0, always: bool = False):
        self.folder = folder
        self.sockets = folder / "run"
        script = folder / "program.py"
        script.write_text(PROGRAM)
        self._arguments = [sys.executable, str(script), broker, str(folder), str(COUNT)]
        self._arguments += [str(TOPICS), str(hz), "yes" if always else "", str(WINDOW)]
        self._arguments += [str(IN_FLIGHT)]
        self._popen: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with (self.folder / "errors").open("ab") as errors:
            self._popen = subprocess.Popen(
                self._arguments,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=errors,
                start_new_session=True,
            )

    def kill_route(self) -> None:
        """SIGKILL the mqtt route."""
        os.kill(self._route(), signal.SIGKILL)

    def _route(self) -> int:
        pids = (self.folder / "route").read_text().split()
        return int(pids[-1])

    def lives(self) -> int:
        """Return how often the route was born."""
        path = self.folder / "route"
        return len(path.read_text().split()) if path.exists() else 0

    def cut_power(self) -> float:
        """Kill everything at once and empty /run; return when, since 1970."""
        assert self._popen is not None
        os.killpg(self._popen.pid, signal.SIGKILL)
        # Not before: what is noted in between would count as lost at the next cut, seconds later.
        now = time.time()
        self._popen.wait(20.0)
        until(lambda: not group(self._popen.pid), 20.0)  # type: ignore[union-attr]
        shutil.rmtree(self.sockets, ignore_errors=True)
        return now

    def noted(self) -> dict[int, float]:
        """Return the numbers that were published, and when."""
        path = self.folder / "noted"
        lines = path.read_text().splitlines() if path.exists() else []
        return {int(number): float(at) for number, at in map(str.split, lines)}

    def end(self) -> int:
        """Stop it in order; return its exit status."""
        assert self._popen is not None
        self._popen.send_signal(signal.SIGTERM)
        return self._popen.wait(30.0)

    def close(self) -> None:
        if self._popen is not None and self._popen.poll() is None:
            self.cut_power()


def group(leader: int) -> list[int]:
    """Return who is left of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, NotADirectoryError):
            continue
        if fields[0] != "Z" and int(fields[2]) == leader:
            found.append(int(entry.name))
    return found


@pytest.fixture
def draw() -> random.Random:
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(1 << 32))
    print(f"{SEED}={seed}")
    return random.Random(seed)


@pytest.fixture
def proxy(broker: Mosquitto) -> Iterator[RecordingProxy]:
    with RecordingProxy(broker.port) as proxy:
        yield proxy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def numbers(record: Record) -> list[int]:
    return [int(each.payload) for each in record.acknowledged if "/number" in each.topic]


def rest(draw: random.Random, longest: float) -> None:
    threading.Event().wait(draw.uniform(0.0, longest))


def check_order(arrived: list[int]) -> None:
    firsts = list(dict.fromkeys(arrived))
    for topic in range(TOPICS):
        mine = [number for number in firsts if number % TOPICS == topic]
        assert mine == sorted(mine), "in order within a topic, but for repeats"


@pytest.mark.timeout(180)
def test_kills_freezes_and_cuts_lose_nothing(
    broker: Mosquitto, proxy: RecordingProxy, folder: Path, draw: random.Random
) -> None:
    gateway = Gateway(proxy.url, folder)
    try:
        interruptions = outages = 0
        for kill in range(1, KILLS + 1):
            assert until(lambda wanted=kill: gateway.lives() >= wanted, 20.0)  # type: ignore[misc]
            share = COUNT * kill // (KILLS + 2)
            assert until(lambda wanted=share: len(gateway.noted()) > wanted, 30.0)  # type: ignore[misc]
            outages += disturb(draw, broker, proxy)
            rest(draw, 0.05)
            gateway.kill_route()
            interruptions += 1
        interruptions += outages
        everything = proxy.wait_until(lambda record: len(set(numbers(record))) == COUNT, 60.0)
        arrived = numbers(proxy.record())
        assert everything, f"missing: {sorted(set(range(COUNT)).difference(arrived))[:20]}"
        assert gateway.end() == 0
    finally:
        gateway.close()
    check_order(arrived)
    sent = [int(each.payload) for each in proxy.record().published if "/number" in each.topic]
    repeats = len(sent) - COUNT
    print(f"{repeats} sent again in {interruptions} interruptions, lives: {gateway.lives()}")
    assert repeats <= IN_FLIGHT * max(proxy.record().connections - 1, interruptions)
    terms = SpoolSettings(flash=str(folder / "flash"), window=WINDOW).terms("mqtt")
    assert terms is not None
    reader = SpoolReader(gateway.sockets / "bus" / "spool" / "mqtt", terms)
    balance = reader.balance()
    reader.close()
    # What is told of the processes goes the same way.
    assert balance.accepted == balance.confirmed >= COUNT
    assert balance[2:] == (0, 0, 0, 0, 0)


def disturb(draw: random.Random, broker: Mosquitto, proxy: RecordingProxy) -> int:
    """Do one thing to the broker or the wire; return how many connections it may have cost."""
    match draw.choice(["kill", "freeze", "cut", "hold", "nothing"]):
        case "kill":
            broker.kill()
            rest(draw, 0.5)
            broker.start()
        case "freeze":
            broker.freeze()
            rest(draw, 0.5)
            broker.thaw()
        case "cut":
            proxy.cut()
        case "hold":
            proxy.hold()
            rest(draw, 0.5)
            proxy.go_on()
        case _:
            return 0
    return 1


@pytest.mark.timeout(240)
@pytest.mark.parametrize("always", [False, True], ids=["window", "always"])
def test_power_cuts_lose_no_more_than_is_said(
    broker: Mosquitto, proxy: RecordingProxy, folder: Path, draw: random.Random, always: bool
) -> None:
    gateway = Gateway(proxy.url, folder, hz=100.0, always=always)
    cuts: list[float] = []
    try:
        for cut in range(1, POWER_CUTS + 1):
            if draw.random() < 0.7:  # the link is down, so that something waits
                proxy.hold()
            # The last of them are published after the last cut.
            share = COUNT * cut // (POWER_CUTS + 4)
            assert until(lambda wanted=share: len(gateway.noted()) > wanted, 40.0)  # type: ignore[misc]
            rest(draw, WINDOW)
            cuts.append(gateway.cut_power())
            proxy.cut()
            proxy.go_on()
            gateway.start()
        assert until(lambda: max(gateway.noted(), default=0) == COUNT - 1, 40.0)
        last = {COUNT - 1, COUNT - 2, COUNT - 3}
        assert proxy.wait_until(lambda record: last <= set(numbers(record)), 60.0)
        noted, arrived = gateway.noted(), numbers(proxy.record())
        lost = sorted(set(noted).difference(arrived))
        assert gateway.end() == 0
    finally:
        gateway.close()
    check_order(arrived)
    assert min(noted[number] for number in last) > cuts[-1]
    ages = [min(cut - noted[number] for cut in cuts if cut >= noted[number]) for number in lost]
    print(f"lost of {len(noted)}: {len(lost)}, the oldest {max(ages, default=0.0):.2f} s old")
    print(f"lost by cut: {sorted(Counter(round(age) for age in ages).items())}")
    print((folder / "errors").read_text()[-2000:])
    assert max(ages, default=0.0) <= WINDOW
    if always:
        assert lost == []
