"""Boards are pulled and plugged in again, five hundred times, and each comes back by itself.

The gateway is the real one under umockdev: udev's events and /sys are made of
software, the real libudev and pyudev read them, and behind the node of each tty
is a simulated board on a pseudo-terminal. Half of the devices are found by their
serial number, wherever they are plugged in; the others are identical boards
without one, told apart by their port.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drivers.bench_board.simulator import SimulatedBoard
from gateway.client import Client, Publication
from gateway.errors import CallTimeoutError, GatewayError
from tests.lab.gateway_process import GatewayProcess
from tests.lab.os_processes import Holdings, holdings, until
from tests.lab.umockdev import Umockdev, outside_dev, paths_of, usb_serial

pytestmark = pytest.mark.needs("umockdev")

CYCLES = 500
BOARDS = 8
HZ = 50
LIMIT = 1.0
"""Seconds from a usable node to a board that has identified itself, for 99 of 100."""
DEADLINE = 15.0
RESTS = 3.0
"""Seconds for which the route is watched at rest."""
SEED = "GATEWAY_TEST_SEED"


class States:
    """What is told of the devices' states; a thread of its own listens at the front door."""

    def __init__(self, socket: Path) -> None:
        self._client = Client(socket)
        self._tail = self._client.tail("devices/+/state", patience=0.2)
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._states: dict[str, list[dict[str, Any]]] = {}
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(DEADLINE)
        self._tail.close()
        self._client.close()

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                self._note(next(self._tail))
            except CallTimeoutError:
                continue  # a pause, in which we look whether we are to end
            except GatewayError:
                return  # the gateway has ended

    def _note(self, heard: Publication) -> None:
        assert heard.dropped == 0
        with self._changed:
            name = heard.topic.split("/")[1]
            self._states.setdefault(name, []).append(heard.body)
            self._changed.notify_all()

    def connected_since(self, name: str, moment: float) -> float:
        """Wait until the device is connected since after ``moment``; return since when."""

        def found() -> float | None:
            for body in reversed(self._states.get(name, [])):
                if body["since"] < moment:
                    return None
                if body["state"] == "proven":
                    return float(body["since"])
            return None

        with self._changed:
            said = self._changed.wait_for(lambda: found() is not None, DEADLINE)
            assert said, f"{name} did not come back: {self._states.get(name, [])[-6:]}"
            since = found()
        assert since is not None
        return since

    def wait_absent(self, name: str) -> None:
        """Wait until the device is absent, and says what is looked for."""

        def last() -> dict[str, Any]:
            return self._states.get(name, [{"state": "", "cause": ""}])[-1]

        with self._changed:
            absent = self._changed.wait_for(
                lambda: last()["state"] == "absent" and "matches" in last()["cause"], DEADLINE
            )
            assert absent, f"{name} is not absent: {last()}"

    def failures(self) -> list[tuple[str, dict[str, Any]]]:
        """Return every failure that has been told."""
        with self._changed:
            return [
                (name, body)
                for name, told in self._states.items()
                for body in told
                if body["state"] == "failed"
            ]


@dataclass
class Socketed:
    """A board, and where it is plugged in: the port, and the number of its tty."""

    name: str
    board: SimulatedBoard
    serial: str
    port: str
    number: int = -1
    """Of its tty; -1 while it is unplugged."""


class Desk:
    """The boards and the machine that they are plugged into."""

    def __init__(self, machine: Umockdev, folder: Path, dice: random.Random) -> None:
        self.machine = machine
        self.dice = dice
        self.dev = folder / "dev"
        self.dev.mkdir()
        self._pause = threading.Event()
        self.boards = []
        for index in range(BOARDS):
            board = SimulatedBoard(folder / f"board{index}")
            serial = f"S{index}" if index % 2 == 0 else ""
            self.boards.append(Socketed(f"d{index}", board, serial, str(index + 1)))

    def configuration(self, folder: Path) -> str:
        text = f'[gateway]\nnode = "lab"\nsockets = "{folder / "run"}"\n'
        text += "[routes.serial]\n[routes.unix_socket]\n"
        for each in self.boards:
            if each.serial:
                match = f'ID_SERIAL_SHORT = "{each.serial}", ID_VENDOR_ID = "2341"'
            else:
                match = f'ID_PATH = "*-usb-0:{each.port}:1.0", "@idVendor" = "2341"'
            text += f'[devices.{each.name}]\ndriver = "bench_board"\nroute = "serial"\n'
            text += f"match = {{ {match} }}\n[devices.{each.name}.settings]\nstream_hz = {HZ}\n"
        return text

    def rest(self, longest: float) -> None:
        self._pause.wait(self.dice.uniform(0.0, longest))

    def plug(self, each: Socketed) -> float:
        """Plug it in; return the last moment before its node was usable, since 1970."""
        each.number = self.dice.choice(
            [number for number in range(20) if number not in {b.number for b in self.boards}]
        )
        node = self.dev / f"ttyACM{each.number}"
        device = usb_serial(
            each.number, port=each.port, serial=each.serial, dev=outside_dev(self.dev)
        )
        each.board.plug()
        if self.dice.random() < 0.3:  # half-born: its event comes before its node
            self.machine.add(device)
            self.rest(0.05)
            usable = time.time()
            node.symlink_to(each.board.path)
        else:
            node.symlink_to(each.board.path)
            usable = time.time()
            self.machine.add(device)
        return usable

    def pull(self, each: Socketed) -> None:
        """Pull the cable: its terminal dies before or after udev tells, as it comes."""
        node = self.dev / f"ttyACM{each.number}"
        paths = paths_of(each.number, each.port)
        if self.dice.random() < 0.5:
            self.machine.unplug(*paths)
            node.unlink(missing_ok=True)  # umockdev has done so where it could
            each.board.unplug()
        else:
            each.board.unplug()
            node.unlink()
            self.machine.unplug(*paths)
        each.number = -1

    def swap_ports(self, pulled: list[Socketed]) -> None:
        """Have boards with a serial number come back at each other's ports."""
        free = [each for each in pulled if each.serial]
        ports = [each.port for each in free]
        self.dice.shuffle(ports)
        for each, port in zip(free, ports, strict=True):
            each.port = port


@pytest.fixture
def dice() -> random.Random:
    seed = int(os.environ.get(SEED) or time.time_ns() % 1_000_000)
    print(f"{SEED}={seed}")
    return random.Random(seed)


@pytest.fixture
def desk(tmp_path: Path, dice: random.Random) -> Iterator[Desk]:
    with Umockdev() as machine:
        desk = Desk(machine, tmp_path, dice)
        try:
            for each in desk.boards:
                each.board.start()
                each.board.unplug()
            yield desk
        finally:
            for each in desk.boards:
                each.board.stop()


@pytest.fixture
def gateway(desk: Desk, tmp_path: Path) -> Iterator[GatewayProcess]:
    text = desk.configuration(tmp_path)
    with GatewayProcess(tmp_path, text, environment=desk.machine.environment) as gateway:
        gateway.start()
        yield gateway


@pytest.fixture
def states(gateway: GatewayProcess) -> Iterator[States]:
    gateway.ask({"op": "hello"})  # answered once the front door is open
    states = States(gateway.sockets / "gateway.sock")
    yield states
    states.close()


@pytest.mark.timeout(240)
def test_five_hundred_cycles_cost_nothing(
    desk: Desk, gateway: GatewayProcess, states: States, measured
) -> None:
    dice, boards = desk.dice, desk.boards
    for each in boards:
        states.wait_absent(each.name)
    for each in boards:
        states.connected_since(each.name, desk.plug(each))
    serial = gateway.processes()["serial"]
    before = least_held(serial)

    took: list[float] = []
    while len(took) < CYCLES:
        burst = dice.sample(boards, dice.choice((1, 1, 2, 3, 5)))
        for each in burst:
            desk.pull(each)
        desk.rest(0.05)
        desk.swap_ports(burst)
        usable = {}
        for each in burst:
            usable[each.name] = desk.plug(each)
            if dice.random() < 0.2:  # pulled again while it is opened, or proven
                desk.rest(0.05)
                desk.pull(each)
                usable[each.name] = desk.plug(each)
        for name, moment in usable.items():
            took.append(states.connected_since(name, moment) - moment)
    took.sort()
    measured(f"{len(took)} recoveries, slowest", took[-1])
    measured("recoveries, 99 of 100", took[int(len(took) * 0.99)], limit=LIMIT)
    measured("recoveries, half", took[len(took) // 2])
    assert states.failures() == []

    until(lambda: not more(before, least_held(serial)), DEADLINE)
    assert not more(before, least_held(serial)), f"{holdings(serial)}"
    for each in boards:
        desk.pull(each)
    for each in boards:
        states.wait_absent(each.name)
    measured("processor at rest, of a core", share_of_a_core(serial) * 100, limit=3.0, unit="%")
    assert gateway.processes()["serial"] == serial


def share_of_a_core(pid: int) -> float:
    """Return which share of a core ``pid`` uses, watched for `RESTS` seconds."""
    used, began = processor_seconds(pid), time.monotonic()
    threading.Event().wait(RESTS)
    return (processor_seconds(pid) - used) / (time.monotonic() - began)


def processor_seconds(pid: int) -> float:
    """Return what ``pid`` has used of a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def least_held(pid: int) -> tuple[int, int]:
    """Return the fewest threads and descriptors of several looks; a question of ours has some."""
    looks: list[Holdings] = []

    def enough() -> bool:
        looks.append(holdings(pid))
        return len(looks) >= 20

    assert until(enough, DEADLINE)
    return min(len(each.threads) for each in looks), min(len(each.descriptors) for each in looks)


def more(before: tuple[int, int], now: tuple[int, int]) -> bool:
    return now[0] > before[0] or now[1] > before[1]
