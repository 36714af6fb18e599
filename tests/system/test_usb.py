"""Barcode scanners on a live USB bus, and the real gateway: codes, cables and rights.

The bus is made of software (`tests.lab.live_usb`), libusb and libudev are real. One
scanner is known by its serial number in whichever port; two are alike and told apart by
their ports.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Client, Publication
from gateway.errors import CallTimeoutError, GatewayError
from tests.lab.gateway_process import GatewayProcess
from tests.lab.live_scanner import SCANNER, LiveScanner
from tests.lab.live_usb import LiveUsb

pytestmark = [pytest.mark.paced, pytest.mark.needs("umockdev")]

DEADLINE = 40.0
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
def scanners(live: LiveUsb) -> dict[str, LiveScanner]:
    return {
        name: LiveScanner(live.bus, port, SERIALS.get(name, "")) for name, port in PORTS.items()
    }


@pytest.fixture
def gateway(live: LiveUsb, tmp_path: Path) -> Iterator[GatewayProcess]:
    text = configuration(tmp_path)
    with GatewayProcess(tmp_path, text, environment=live.environment) as gateway:
        gateway.start()
        yield gateway


@pytest.fixture
def heard(gateway: GatewayProcess) -> Iterator[Heard]:
    gateway.wait_for_log("unix_socket: connected", DEADLINE)
    heard = Heard(gateway.sockets / "gateway.sock")
    yield heard
    heard.close()


def test_codes_reach_whoever_listens_and_the_kernel_gets_its_driver_back(
    live: LiveUsb, scanners: dict[str, LiveScanner], gateway: GatewayProcess, heard: Heard
) -> None:
    heard.wait_for(
        lambda each: "nothing plugged in matches idVendor=05e0, serial=T-*" in cause_of(each),
        "it does not say what is looked for",
    )
    scanners["till"].plug()
    heard.state("till", "proven")
    assert live.bus.look("1")["drivers"] == {}
    for code in ("4006381333931", "ABC-1234", "http://example.org/?a=1"):
        scanners["till"].scan(code)
        heard.scanned("till", code)
    counts = gateway.statistics("usb")["devices"]["till"]
    assert counts["state"] == "healthy"
    assert counts["noise"] == counts["nonsense"] == 0
    gateway.close()
    assert live.bus.look("1")["drivers"] == {"0": "usbhid"}


def test_two_that_are_alike_are_told_apart_by_their_ports_and_one_moves_freely(
    scanners: dict[str, LiveScanner], heard: Heard
) -> None:
    for name in PORTS:
        scanners[name].plug()
    for name in PORTS:
        scanners[name].scan(f"at the {name}")
    for name in PORTS:
        heard.scanned(name, f"at the {name}")
    scanners["till"].pull()
    heard.state("till", "absent")
    scanners["till"].port = "4"
    scanners["till"].plug()
    scanners["till"].scan("at another port")
    heard.scanned("till", "at another port")


def test_a_device_that_another_program_has_is_failed_with_the_reason_until_it_is_free(
    live: LiveUsb, scanners: dict[str, LiveScanner], heard: Heard
) -> None:
    live.bus.plug(
        "1", SCANNER, strings={3: "T-1"}, attributes={"serial": "T-1"}, busy=[0], drivers={}
    )
    failed = heard.state("till", "failed")
    assert "in use by another program" in failed["cause"]
    live.bus.unplug("1")
    scanners["till"].plug()
    heard.state("till", "proven")


def cause_of(heard: Publication) -> str:
    return str(heard.body["cause"]) if heard.topic.endswith("/state") else ""
