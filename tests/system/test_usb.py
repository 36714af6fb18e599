"""Barcode scanners on a live USB bus, and the real gateway: codes, cables, rights, and the cost.

The bus is made of software (`tests.lab.live_usb`), libusb and libudev are real. One
scanner is known by its serial number in whichever port; two are alike and told apart by
their ports.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.barcode_scanner.reports import typed
from gateway.client import Client, Publication
from gateway.errors import CallTimeoutError, GatewayError
from tests.lab.gateway_process import GatewayProcess
from tests.lab.live_usb import LiveUsb
from tests.lab.os_processes import holdings, until
from tests.lab.usb_descriptors import KEYBOARD, Device

pytestmark = pytest.mark.needs("umockdev")

CYCLES = 100
DEADLINE = 15.0
RESTS = 3.0
"""Seconds for which the route is watched while nothing is scanned."""
SEED = "GATEWAY_TEST_SEED"
SCANNER = Device(vendor=0x05E0, product=0x1200, interfaces=(KEYBOARD,))
PORTS = {"till": "1", "door": "2", "exit": "3"}
SERIALS = {"till": "T-1"}


def configuration(folder: Path) -> str:
    return f"""
[gateway]
node = "lab"
sockets = "{folder / "run"}"
[routes.usb]
[routes.unix_socket]
[devices.till]
driver = "barcode_scanner"
route = "usb"
match = {{ idVendor = "05e0", serial = "T-*" }}
[devices.door]
driver = "barcode_scanner"
route = "usb"
match = {{ idVendor = "05e0", ID_PATH = "*-usb-0:2" }}
[devices.exit]
driver = "barcode_scanner"
route = "usb"
match = {{ idVendor = "05e0", ID_PATH = "*-usb-0:3" }}
"""


class Scanners:
    """The three scanners, and the hand that plugs them in."""

    def __init__(self, live: LiveUsb) -> None:
        self.bus = live.bus
        self.ports = dict(PORTS)
        self.plugged: set[str] = set()

    def plug(self, name: str) -> None:
        """Plug it in, with the kernel's driver bound to it."""
        serial, port = SERIALS.get(name, ""), self.ports[name]
        self.bus.plug(
            port,
            SCANNER,
            strings={1: "ACME", 2: "Scanner", **({3: serial} if serial else {})},
            control={"21 0a": "", "21 0b": ""},
            drivers={0: "usbhid"},
            attributes={"serial": serial} if serial else {},
            properties={"ID_PATH": f"platform-soc-usb-0:{port}"},
        )
        self.plugged.add(name)

    def pull(self, name: str) -> None:
        self.bus.unplug(self.ports[name])
        self.plugged.discard(name)

    def scan(self, name: str, code: str) -> None:
        self.bus.feed(self.ports[name], *typed(code + "\n"))


class Heard:
    """What was published of the devices; a thread of its own listens at the front door."""

    def __init__(self, socket: Path) -> None:
        self._client = Client(socket)
        self._tail = self._client.tail("devices/#", patience=0.2)
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._all: list[Publication] = []
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
                heard = next(self._tail)
            except CallTimeoutError:
                continue  # a pause, in which we look whether we are to end
            except GatewayError:
                return  # the gateway has ended
            with self._changed:
                self._all.append(heard)
                self._changed.notify_all()

    def wait_for(self, true: Callable[[Publication], Any], what: str) -> Publication:
        """Wait for the first publication that is ``true``; forget what that device said before."""

        def found() -> int | None:
            return next((at for at, each in enumerate(self._all) if true(each)), None)

        with self._changed:
            said = self._changed.wait_for(lambda: found() is not None, DEADLINE)
            assert said, f"{what}; heard: {[(e.topic, e.body) for e in self._all[-12:]]}"
            at = found()
            assert at is not None
            heard, later = self._all[at], self._all[at + 1 :]
            device = heard.topic.split("/")[1]
            before = [each for each in self._all[:at] if each.topic.split("/")[1] != device]
            self._all = before + later
            return heard

    def state(self, name: str, *states: str) -> dict[str, Any]:
        """Wait until the device is told to be in one of ``states``; return the body."""
        heard = self.wait_for(
            lambda each: each.topic == f"devices/{name}/state" and each.body["state"] in states,
            f"{name} is not {' or '.join(states)}",
        )
        body: dict[str, Any] = heard.body
        return body

    def scanned(self, name: str, code: str) -> None:
        """Wait until ``code`` is published by the device."""
        self.wait_for(
            lambda each: each.topic == f"devices/{name}/scan" and each.body["text"] == code,
            f"{name} did not scan {code}",
        )


@pytest.fixture
def live() -> Iterator[LiveUsb]:
    with LiveUsb() as live:
        yield live


@pytest.fixture
def scanners(live: LiveUsb) -> Scanners:
    return Scanners(live)


@pytest.fixture
def gateway(live: LiveUsb, tmp_path: Path) -> Iterator[GatewayProcess]:
    text = configuration(tmp_path)
    with GatewayProcess(tmp_path, text, environment=live.environment) as gateway:
        gateway.start()
        yield gateway


@pytest.fixture
def heard(gateway: GatewayProcess) -> Iterator[Heard]:
    gateway.wait_for_log("unix_socket: connected")
    heard = Heard(gateway.sockets / "gateway.sock")
    yield heard
    heard.close()


def test_codes_reach_whoever_listens_and_the_kernel_gets_its_driver_back(
    scanners: Scanners, gateway: GatewayProcess, heard: Heard
) -> None:
    heard.wait_for(
        lambda each: "nothing plugged in matches idVendor=05e0, serial=T-*" in cause_of(each),
        "it does not say what is looked for",
    )
    scanners.plug("till")
    heard.state("till", "proven")
    assert scanners.bus.look("1")["drivers"] == {}
    for code in ("4006381333931", "ABC-1234", "http://example.org/?a=1"):
        scanners.scan("till", code)
        heard.scanned("till", code)
    counts = gateway.statistics("usb")["devices"]["till"]
    assert counts["state"] == "healthy"
    assert counts["noise"] == counts["nonsense"] == 0
    gateway.close()
    assert scanners.bus.look("1")["drivers"] == {"0": "usbhid"}


def test_two_that_are_alike_are_told_apart_by_their_ports_and_one_moves_freely(
    scanners: Scanners, heard: Heard
) -> None:
    for name in PORTS:
        scanners.plug(name)
    for name in PORTS:
        scanners.scan(name, f"at the {name}")
    for name in PORTS:
        heard.scanned(name, f"at the {name}")
    scanners.pull("till")
    heard.state("till", "absent")
    scanners.ports["till"] = "4"
    scanners.plug("till")
    scanners.scan("till", "at another port")
    heard.scanned("till", "at another port")


def test_a_device_that_another_program_has_is_failed_with_the_reason_until_it_is_free(
    scanners: Scanners, heard: Heard
) -> None:
    scanners.bus.plug(
        "1", SCANNER, strings={3: "T-1"}, attributes={"serial": "T-1"}, busy=[0], drivers={}
    )
    failed = heard.state("till", "failed")
    assert "in use by another program" in failed["cause"]
    scanners.bus.unplug("1")
    scanners.plug("till")
    heard.state("till", "proven")


@pytest.mark.timeout(240)
def test_a_hundred_cycles_under_load_cost_nothing(
    scanners: Scanners, gateway: GatewayProcess, heard: Heard, measured
) -> None:
    seed = int(os.environ.get(SEED) or time.time_ns() % 1_000_000)
    print(f"{SEED}={seed}")
    dice = random.Random(seed)
    for name in PORTS:
        # Once before we count: what is opened when it is first used, and stays.
        for code in ("first", "second"):
            scanners.plug(name)
            scanners.scan(name, code)
            heard.scanned(name, code)
            if code == "first":
                scanners.pull(name)
                heard.state(name, "absent")
    usb = gateway.processes()["usb"]
    before, at_first = least_held(usb), kinds(usb)
    took: list[float] = []
    while len(took) < CYCLES:
        burst = dice.sample(list(PORTS), dice.choice((1, 1, 2, 3)))
        for name in burst:
            # Pulled in the middle of a code, or at rest.
            scanners.bus.feed(scanners.ports[name], *list(typed("half"))[: dice.randrange(9)])
            threading.Event().wait(dice.uniform(0.0, 0.02))
            scanners.pull(name)
        for name in burst:
            threading.Event().wait(dice.uniform(0.0, 0.05))
            scanners.plug(name)
            if dice.random() < 0.2:
                threading.Event().wait(dice.uniform(0.0, 0.05))
                scanners.pull(name)
                scanners.plug(name)
        for name in burst:
            code = f"cycle {len(took)}"
            began = time.time()
            scanners.scan(name, code)
            heard.scanned(name, code)
            took.append(time.time() - began)
    took.sort()
    measured(f"{len(took)} recoveries ({SEED}={seed}), slowest", took[-1])
    measured("recoveries, 99 of 100", took[int(len(took) * 0.99)], limit=1.0)
    until(lambda: not more(before, least_held(usb)), DEADLINE)
    after = least_held(usb)
    assert not more(before, after), f"{before} → {after}: {kinds(usb) - at_first}"
    measured("three idle scanners, of a core", share_of_a_core(usb) * 100, limit=3.0, unit="%")
    assert gateway.processes()["usb"] == usb


def cause_of(heard: Publication) -> str:
    return str(heard.body["cause"]) if heard.topic.endswith("/state") else ""


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
    looks = [holdings(pid) for _ in range(20)]
    return min(len(each.threads) for each in looks), min(len(each.descriptors) for each in looks)


def kinds(pid: int) -> Counter[str]:
    """Return how many descriptors of each kind ``pid`` has."""
    targets = holdings(pid).descriptors.values()
    return Counter(re.sub(r"[\d[\]]", "", str(each)) for each in targets)


def more(before: tuple[int, int], now: tuple[int, int]) -> bool:
    """Whether there are more threads, or more descriptors than one way to a mailbox has."""
    return now[0] > before[0] or now[1] > before[1] + 2
