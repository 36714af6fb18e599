from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from drivers.bench_board.simulator import SimulatedBoard
from gateway.device.simulated_usb import DATA
from gateway.errors import ConfigError, RefusedError
from gateway.services.simulated_device import SimulatedDevice, own_words
from tests.lab.os_processes import until

BENCH = f"{SimulatedBoard.__module__}:{SimulatedBoard.__qualname__}"
SCANNER = "drivers.barcode_scanner.simulator:SimulatedScanner"

SOON = 20.0


class Wire:
    """The far end of the terminal behind a link."""

    def __init__(self, link: Path) -> None:
        self._fd = os.open(link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._unread = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._fd)

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def line(self, seconds: float = SOON) -> bytes:
        """Return the next line; empty where none comes in time."""
        until = monotonic() + seconds
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, until - monotonic()))
            if not ready:
                return b""
            self._unread += os.read(self._fd, 4096)
        line, _, self._unread = self._unread.partition(b"\n")
        return line


@pytest.fixture
def link(tmp_path: Path) -> Path:
    return tmp_path / "bench"


@pytest.fixture
def bench(link: Path) -> Iterator[SimulatedDevice]:
    with SimulatedDevice(BENCH, str(link)) as device:
        yield device


@pytest.fixture
def wire(bench: SimulatedDevice, link: Path) -> Iterator[Wire]:
    with Wire(link) as wire:
        assert wire.line().startswith(b"B bench-board")
        yield wire


def test_its_port_comes_and_goes_with_its_cable(bench: SimulatedDevice, link: Path) -> None:
    assert (bench.plugged, link.is_symlink()) == (True, True)
    bench.unplug()
    assert (bench.plugged, link.is_symlink()) == (False, False)
    bench.plug()
    assert (bench.plugged, link.is_symlink()) == (True, True)


def test_it_leaves_nothing_behind(link: Path) -> None:
    with SimulatedDevice(BENCH, str(link)):
        pass
    assert not os.path.lexists(link)


def test_one_that_hangs_is_silent_and_comes_back(bench: SimulatedDevice, wire: Wire) -> None:
    bench.hang()
    wire.write(b"P*50\n")
    assert wire.line(0.1) == b""
    assert bench.faults["hung"]
    assert until(lambda: bench.status()["counts"]["unheard"] == 5, SOON)
    bench.mend()
    wire.write(b"P*50\n")
    assert wire.line() == b"P*50"


def test_one_that_hung_speaks_by_itself_when_its_time_is_over(
    bench: SimulatedDevice, wire: Wire
) -> None:
    wire.write(b"S2*61\n")
    assert wire.line() == b"S2*61"
    bench.hang(0.1)
    assert wire.line().startswith(b"A"), "it streams again, and nobody asked"


def test_noise_is_on_the_wire(bench: SimulatedDevice, wire: Wire) -> None:
    bench.noise(1.0)
    wire.write(b"P*50\n")
    assert wire.line(0.1) != b"P*50"
    assert until(lambda: bench.status()["counts"]["garbled"] >= 5, SOON)


def test_a_device_that_is_stepped_speaks_when_its_time_comes(link: Path) -> None:
    with SimulatedDevice(BENCH, str(link), held=True) as device, Wire(link) as wire:
        assert wire.line().startswith(b"B ")
        wire.write(b"S2*61\n")
        assert wire.line() == b"S2*61"
        assert wire.line(0.2) == b""
        before = device.time
        device.step(1.0)
        assert device.time == before + 1.0
        assert [wire.line()[:1] for _ in range(2)] == [b"A", b"A"]


def test_it_tells_all_that_is_known_of_it(bench: SimulatedDevice, link: Path) -> None:
    bench.noise(0.25)
    bench.drift(100)
    status = bench.status()
    assert status.pop("counts")["dropped"] == 0
    assert status == {
        "simulator": BENCH,
        "link": str(link),
        "plugged": True,
        "hung": False,
        "noise": 0.25,
        "drift": 100,
        "stepped": False,
    }


def test_a_usb_device_is_one_too(tmp_path: Path) -> None:
    path = tmp_path / "till"
    with (
        SimulatedDevice(SCANNER, str(path)) as device,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as host,
    ):
        host.settimeout(SOON)
        host.connect(str(path))
        host.send(DATA)
        words = own_words(device._port)
        assert list(words) == ["scan"]
        words["scan"]("4711")
        assert host.recv(64)
        device.hang()
        device.unplug()
        assert not path.exists()
        device.plug()
        assert device.status()["hung"] is False, "power off and on has mended it"


class Bare:
    """A simulator of somebody else's, that can do what `Driver.simulator` asks for."""

    def __init__(self, link: str) -> None:
        self.told: list[str] = []

    def start(self) -> None:
        self.told.append("start")

    def plug(self) -> None:
        self.told.append("plug")

    def unplug(self) -> None:
        self.told.append("unplug")

    def stop(self) -> None:
        self.told.append("stop")


def test_a_simulator_without_a_board_can_be_plugged_and_no_more() -> None:
    with SimulatedDevice(f"{__name__}:Bare", "/nowhere") as device:
        device.unplug()
        device.plug()
        for word, arguments in (("hang", ()), ("noise", (0.1,)), ("drift", (1,)), ("step", (1,))):
            with pytest.raises(RefusedError, match="can be plugged and unplugged, and no more"):
                getattr(device, word)(*arguments)
        assert device.faults == {"hung": False, "noise": 0.0, "drift": 0.0}
        assert device.status()["counts"] == {}
    assert device._port.told == ["start", "unplug", "plug", "stop"]


@pytest.mark.parametrize(
    ("simulator", "link", "held", "said"),
    [
        ("drivers.bench_board.simulator:SimulatedBord", "x", False, "there is no class"),
        (BENCH, "/no/where", False, "there is no folder /no to put the link in"),
        (f"{__name__}:Bare", "x", True, "keeps its own time: it cannot be stepped"),
    ],
)
def test_what_cannot_be_made_is_told(simulator: str, link: str, held: bool, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SimulatedDevice(simulator, link, held=held)
