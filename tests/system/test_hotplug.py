"""Boards and scanners are pulled and plugged in, five hundred times, and each comes back by itself.

The gateway is the real one; udev's events, /sys and the USB devices are made of software
(`tests.lab.crowded_desk`), libudev, pyudev and libusb are real. Bench boards on ttys and
barcode scanners on USB share one bus, half of each known by their serial numbers in
whichever port, each other's included; the others are alike and told apart by their ports.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.lab.crowded_desk import CrowdedDesk, Socketed, SocketedScanner
from tests.lab.gateway_process import GatewayProcess
from tests.lab.live_usb import LiveUsb
from tests.lab.os_processes import (
    Holdings,
    held_up,
    holdings,
    processor_seconds,
    until,
    waits_for_a_core,
)
from tests.lab.told import DEADLINE, Told

pytestmark = [pytest.mark.paced, pytest.mark.needs("umockdev")]

CYCLES = 500
BOARDS = 6
SCANNERS = 11
"""So much more than boards that the two routes listen to udev at different descriptors."""
LIMIT = 1.0
"""Seconds from a usable node to a device that has identified itself, for 99 of 100; those not
counted for which the machine had no core for us."""
RESTS = 3.0
"""Seconds for which the routes are watched at rest."""
SEED = "GATEWAY_TEST_SEED"


@pytest.fixture
def dice() -> random.Random:
    seed = int(os.environ.get(SEED) or time.time_ns() % 1_000_000)
    print(f"{SEED}={seed}")
    return random.Random(seed)


@pytest.fixture
def live() -> Iterator[LiveUsb]:
    with LiveUsb() as live:
        yield live


@pytest.fixture
def desk(live: LiveUsb, tmp_path: Path, dice: random.Random) -> Iterator[CrowdedDesk]:
    desk = CrowdedDesk(live.bus, tmp_path, dice, boards=BOARDS, scanners=SCANNERS)
    try:
        desk.start()
        yield desk
    finally:
        desk.stop()


@pytest.fixture
def gateway(live: LiveUsb, desk: CrowdedDesk, tmp_path: Path) -> Iterator[GatewayProcess]:
    text = desk.configuration(tmp_path)
    with GatewayProcess(tmp_path, text, environment=live.environment) as gateway:
        gateway.start()
        yield gateway


@pytest.fixture
def told(gateway: GatewayProcess) -> Iterator[Told]:
    gateway.wait_for_log("unix_socket: connected", DEADLINE)
    with Told(gateway.sockets / "gateway.sock") as told:
        yield told


@pytest.mark.timeout(400)
def test_five_hundred_cycles_cost_nothing(
    live: LiveUsb, desk: CrowdedDesk, gateway: GatewayProcess, told: Told, measured
) -> None:
    for each in desk.all:
        told.wait_absent(each.name)
    for each in desk.all:
        each.plug()
        told.connected_as(each.name, each.badge)
    live.assert_everybody_hears()
    speak_once(desk, gateway, told)
    processes = gateway.processes()
    before = least_held(processes)

    took: dict[str, list[float]] = {"serial": [], "usb": []}
    ours: dict[str, list[float]] = {"serial": [], "usb": []}
    # From the test's hand by the emulator to the route: on that way it can be held up.
    way = {route: (os.getpid(), live.pid, processes[route]) for route in took}
    while sum(map(len, took.values())) < CYCLES:
        waits = {route: waits_for_a_core(pids) for route, pids in way.items()}
        recovered = burst(desk, told)
        held = {route: held_up(waits[route], waits_for_a_core(way[route])) for route in way}
        for each, seconds in recovered:
            took[each.route].append(seconds)
            ours[each.route].append(max(0.0, seconds - held[each.route]))
        scan_codes([each for each, _ in recovered], desk, told)
    for route, those in took.items():
        measured(f"{len(those)} {route} recoveries, slowest", max(those))
        measured(f"{route} recoveries, 99 of 100", hundredth(those))
        measured("the same without waits for a core", hundredth(ours[route]), limit=LIMIT)
    measured("recoveries, half", sorted(took["serial"] + took["usb"])[CYCLES // 2])
    assert told.failures() == []

    speak_once(desk, gateway, told)
    until(lambda: not more(before, least_held(processes)), DEADLINE)
    left = more(before, least_held(processes))
    assert not left, "\n".join(left)
    plugged_in = leave_half_of_the_scanners(desk, told)
    at_rest = shares_of_a_core(processes, ("serial", "usb"))
    measured("serial at rest, of a core", at_rest["serial"] * 100, limit=3.0, unit="%")
    # Each of these is read from, with nothing to say.
    share = at_rest["usb"] * 100 / plugged_in
    measured("usb at rest, of a core for each scanner", share, limit=1.0, unit="%")
    assert gateway.processes() == processes


def burst(desk: CrowdedDesk, told: Told) -> list[tuple[Socketed, float]]:
    """Pull some at once and plug them in, some of them twice; return how long each took."""
    dice = desk.dice
    pulled = dice.sample(desk.all, dice.choice((1, 1, 2, 3, 5)))
    for each in pulled:
        told.assert_stays(each.name, each.badge)
        each.pull()
    desk.rest(0.05)
    desk.swap_ports(pulled)
    usable = {}
    for each in pulled:
        usable[each] = each.plug()
        if dice.random() < 0.2:  # pulled again while it is opened, or proven
            desk.rest(0.05)
            each.pull()
            usable[each] = each.plug()
    return [
        (each, told.connected_as(each.name, each.badge) - moment) for each, moment in usable.items()
    ]


def scan_codes(things: Iterable[Socketed], desk: CrowdedDesk, told: Told) -> None:
    """Have the scanners among ``things`` scan, the moment that they are connected."""
    codes = {
        each: str(desk.dice.getrandbits(20)) for each in things if isinstance(each, SocketedScanner)
    }
    for scanner, code in codes.items():
        scanner.scan(code)
    for scanner, code in codes.items():
        told.wait_scanned(scanner.name, code)


def speak_once(desk: CrowdedDesk, gateway: GatewayProcess, told: Told) -> None:
    """Have each device say, by its name, that it is the right one, and each route answer.

    What it takes to write to a mailbox is opened with the first letter, and stays: done
    before anybody counts, it is counted at both ends.
    """
    for each in desk.boards:
        assert not each.board.led
        for on in (True, False):
            gateway.ask(
                {"op": "send", "to": f"{each.name}@serial", "subject": "led", "body": {"on": on}}
            )
            assert each.board.led is on
    for scanner in desk.scanners:
        scanner.scan(scanner.name)
        told.wait_scanned(scanner.name, scanner.name)
    for route in ("serial", "usb"):
        assert (
            len(gateway.statistics(route)["devices"]) == {"serial": BOARDS, "usb": SCANNERS}[route]
        )


def leave_half_of_the_scanners(desk: CrowdedDesk, told: Told) -> int:
    """Pull everything but every second scanner; return how many those are."""
    pulled = [*desk.boards, *desk.scanners[::2]]
    for each in pulled:
        each.pull()
    for each in pulled:
        told.wait_absent(each.name)
    return len(desk.all) - len(pulled)


def hundredth(seconds: list[float]) -> float:
    """Return what 99 of 100 keep."""
    return sorted(seconds)[int(len(seconds) * 0.99)]


def shares_of_a_core(processes: Mapping[str, int], names: Iterable[str]) -> dict[str, float]:
    """Return which share of a core each of ``names`` uses, watched for `RESTS` seconds."""
    used, began = {name: processor_seconds(processes[name]) for name in names}, time.monotonic()
    threading.Event().wait(RESTS)
    return {
        name: (processor_seconds(processes[name]) - before) / (time.monotonic() - began)
        for name, before in used.items()
    }


def least_held(processes: Mapping[str, int]) -> dict[str, Holdings]:
    """Return the least that each process held in several looks; a question of ours has some."""
    looks: list[dict[str, Holdings]] = []

    def enough() -> bool:
        looks.append({name: holdings(pid) for name, pid in processes.items()})
        return len(looks) >= 20

    assert until(enough, DEADLINE)
    return {
        name: Holdings(
            min((look[name].threads for look in looks), key=len),
            min((look[name].descriptors for look in looks), key=len),
        )
        for name in processes
    }


def more(before: Mapping[str, Holdings], now: Mapping[str, Holdings]) -> list[str]:
    """Return which processes hold more threads or descriptors than before, and what each holds."""
    return [
        f"{name} held {before[name]}, and holds {held}"
        for name, held in now.items()
        if len(held.threads) > len(before[name].threads)
        or len(held.descriptors) > len(before[name].descriptors)
    ]
