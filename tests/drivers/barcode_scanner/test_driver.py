"""The scanner's driver on its simulator: scans, handshake, cable, and keys that are no scan."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.barcode_scanner.board import Scanner
from drivers.barcode_scanner.driver import BOOT_PROTOCOL, SET_IDLE, SET_PROTOCOL, BarcodeScanner
from drivers.barcode_scanner.reports import typed
from drivers.barcode_scanner.scan import Scan
from drivers.barcode_scanner.simulator import SimulatedScanner
from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.device import DriverHost
from gateway.device.simulated_usb import Setup
from gateway.errors import ProtocolError
from gateway.hosting.driver_thread import DriverThread
from gateway.testing.fake_outside import FakeOutside
from routes.usb.settings import UsbSettings
from routes.usb.simulated_link import SimulatedLink

TOPIC = "devices/scanner/scan"


class Hosted:
    """A driver thread on a simulated scanner."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.outside = FakeOutside()
        self.mailbox = Mailbox("scanner@usb", clock=RealClock())
        self.thread = DriverThread(
            "scanner",
            lambda host: BarcodeScanner("scanner", host, settings),
            partial(SimulatedLink, UsbSettings(simulated=str(path))),
            self.outside,
            self.mailbox,
            clock=RealClock(),
            random=Random(1),
        )

    def __enter__(self) -> Hosted:
        self.thread.start()
        self.outside.wait_event("scanner", "connected")
        return self

    def __exit__(self, *error: object) -> None:
        assert self.thread.stop(5.0)
        self.mailbox.close()

    def wait_for_scans(self, count: int) -> list[str]:
        self.outside.wait_for(lambda: len(self.outside.bodies(TOPIC)) >= count)
        return [each.text for each in self.outside.bodies(TOPIC)]


@pytest.fixture
def scanner(tmp_path: Path) -> Iterator[SimulatedScanner]:
    with SimulatedScanner(tmp_path / "scanner") as scanner:
        yield scanner


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10.0
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        threading.Event().wait(0.005)


def test_codes_are_published_in_order(scanner: SimulatedScanner) -> None:
    codes = ["4006381333931", "ABC-abc-1234 $/+%", "(01)0400\x1d17", "http://example.org/?q=1&r=~"]
    with Hosted(scanner.path) as hosted:
        for code in codes:
            scanner.scan(code)
        assert hosted.wait_for_scans(len(codes)) == codes
        assert hosted.outside.bodies(TOPIC)[0] == Scan("4006381333931", 13)
        assert hosted.thread.state == "healthy"
        # Asked while it is open: the key that ends the last code is let go of afterwards.
        assert scanner.dropped == 0


def test_it_is_known_by_its_descriptors_and_told_to_be_a_boot_keyboard(
    scanner: SimulatedScanner,
) -> None:
    with Hosted(scanner.path) as hosted:
        info = hosted.outside.retained["devices/scanner/info"]
        assert info["identity"] == {
            "firmware": "1.00",
            "model": "simulated scanner",
            "serial_number": "SCAN-0001",
        }
        assert list(scanner.board.requests) == [(SET_PROTOCOL, BOOT_PROTOCOL), (SET_IDLE, 0)]


def test_a_scanner_that_will_not_be_told_is_taken_as_it_is(
    scanner: SimulatedScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(setup: Setup, data: bytes) -> bytes | None:
        return None

    monkeypatch.setattr(scanner.board, "control", refuse)
    with Hosted(scanner.path) as hosted:
        scanner.scan("still works")
        assert hosted.wait_for_scans(1) == ["still works"]


def test_what_was_half_typed_is_forgotten_when_the_cable_is_pulled(
    scanner: SimulatedScanner,
) -> None:
    with Hosted(scanner.path) as hosted:
        for turn in range(1, 4):
            scanner.do(lambda: scanner.board._reports.extend(typed("half")))
            until(lambda: not scanner.board._reports)
            scanner.unplug()
            hosted.outside.wait_event("scanner", "disconnected", turn)
            scanner.plug()
            hosted.outside.wait_event("scanner", "connected", turn + 1)
            scanner.scan(f"whole {turn}")
            assert hosted.wait_for_scans(turn)[-1] == f"whole {turn}"


def test_keys_that_are_no_scan_are_counted_as_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "scanner"
    with SimulatedScanner(path) as scanner, Hosted(path, prefix="#", limit=8) as hosted:
        for text in ("typed by hand", "#123456789", "#good"):
            scanner.scan(text)
        assert hosted.wait_for_scans(1) == ["good"]
        assert hosted.thread.statistics().nonsense == 2
        assert hosted.thread.state.connected


def test_a_scanner_that_is_set_up_wrongly_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outside = FakeOutside()
    driver = BarcodeScanner("till", cast(DriverHost, outside), {"prefix": "#"})
    for _ in range(1000):
        for report in typed("typed by hand"):
            driver.received(report)
        with pytest.raises(ProtocolError):
            driver.received(next(typed("\n")))
        driver.received(bytes(8))
    told = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert len(told) == 4
    assert "does not begin with '#'" in told[0]
    assert told[-1].endswith("(wrong codes so far: 1000)")


def test_a_tab_may_end_each_code(tmp_path: Path) -> None:
    path, board = tmp_path / "scanner", Scanner(RealClock(), suffix="\t")
    with SimulatedScanner(path, board=board) as scanner, Hosted(path, suffix="tab") as hosted:
        scanner.scan("one")
        scanner.scan("two")
        assert hosted.wait_for_scans(2) == ["one", "two"]


@pytest.mark.parametrize(
    "wrong",
    [{"suffix": "space"}, {"layout": "de"}, {"limit": 0}, {"limit": 10**6}, {"sufix": "tab"}],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, BarcodeScanner.Settings)


class Nobody:
    """A host that takes publications only."""

    def __init__(self) -> None:
        self.scans: list[Any] = []

    def ask(self, request: bytes, answers: Any, timeout: float) -> bytes:
        raise AssertionError("a scanner is asked nothing")

    def ask_many(self, *asked: Any) -> list[bytes]:
        raise AssertionError("a scanner is asked nothing")

    def listen(self, answers: Any, timeout: float) -> bytes:
        raise AssertionError("what a scanner says comes by itself")

    def write(self, payload: bytes) -> None:
        raise AssertionError("a scanner is told nothing")

    def fault(self, cause: str) -> None:
        raise AssertionError(cause)

    def publish(self, topic: str, body: object, *, retain: bool = False) -> None:
        assert topic == "scan"
        self.scans.append(body)


@given(st.lists(st.binary(max_size=64), max_size=60))
def test_no_report_is_an_exception_of_another_kind(reports: list[bytes]) -> None:
    host = Nobody()
    driver = BarcodeScanner("scanner", host)
    for report in [*reports, bytes(8)]:
        try:
            driver.received(report)
        except ProtocolError:
            continue
    # Whatever came, the next code is read.
    with_end = [*typed("\n"), *typed("good\n")]
    for report in with_end:
        try:
            driver.received(report)
        except ProtocolError:
            continue
    assert host.scans[-1].text == "good"


def test_a_wrong_scan_does_not_take_the_next_one_with_it() -> None:
    host = Nobody()
    driver = BarcodeScanner("scanner", host)
    driver.received(bytes([0, 0, 0x3A, 0, 0, 0, 0, 0]))
    with pytest.raises(ProtocolError):
        # F1's end, and a whole code after it, in one report.
        driver.received(bytes([0, 0, 0x28, 0x04, 0x58, 0, 0, 0]))
    assert host.scans == [Scan("a", 1)]
