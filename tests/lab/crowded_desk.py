"""A desk with boards on ttys and barcode scanners on live USB, and hands that pull at cables.

All of them are on one bus, `tests.lab.live_usb`: udev's events and /sys are made of
software. Behind the node of each tty is a simulated board on a pseudo-terminal; the
scanners are read by the real libusb. Half of each kind has a serial number, by which it
is known wherever it is plugged in; the others are identical and told apart by their port.

Chance, handed in, decides how a thing is plugged in and pulled: its event before its
node or after, its terminal dead before udev tells or after, in the middle of a code.
Each time that a thing is plugged in it identifies itself as another
(`Socketed.badge`), so that a late word about the time before is not taken for this one.
"""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from drivers.bench_board.board import Board
from drivers.bench_board.protocol import MODEL
from drivers.bench_board.simulator import SimulatedBoard
from gateway.clock import RealClock
from tests.lab.live_scanner import RELEASE, LiveScanner
from tests.lab.live_usb import UsbBus
from tests.lab.umockdev import outside_dev, paths_of, usb_serial

HALF_BORN = 0.3
"""Of those that are plugged in: their event comes before all of them is there."""
LONGEST_BIRTH = 0.05
"""Seconds until all of a half-born device is there."""


class Socketed:
    """A device with a cable, at a port of the bus. ``serial`` is empty where it has none."""

    route = ""

    def __init__(self, name: str, port: str, serial: str, dice: random.Random) -> None:
        self.name = name
        self.port = port
        self.serial = serial
        self.dice = dice
        self.times = 0
        """How often it has been plugged in."""
        self._pause = threading.Event()

    @property
    def badge(self) -> str:
        """What it has identified itself as since it was plugged in, as a `proven` device tells."""
        raise NotImplementedError

    def plug(self) -> float:
        """Plug it in; return the last moment before it was usable, since 1970."""
        raise NotImplementedError

    def pull(self) -> None:
        """Pull the cable."""
        raise NotImplementedError

    def table(self) -> str:
        """Return its table of the configuration."""
        raise NotImplementedError

    def rest(self, longest: float) -> None:
        """Pause for a random while, at most ``longest`` seconds."""
        self._pause.wait(self.dice.uniform(0.0, longest))


class SocketedBoard(Socketed):
    """A bench board, its tty with another number each time."""

    route = "serial"
    hz = 50

    def __init__(
        self, name: str, port: str, serial: str, dice: random.Random, *, bus: UsbBus, folder: Path
    ) -> None:
        super().__init__(name, port, serial, dice)
        self.board = SimulatedBoard(folder / name)
        self._bus = bus
        self._dev = folder / "dev"
        self._node = Path()
        self._paths: tuple[str, ...] = ()

    @property
    def badge(self) -> str:
        return f"{MODEL} 1.0.{self.times}"

    def plug(self) -> float:
        self.times += 1
        number = self.dice.choice(
            [number for number in range(20) if not (self._dev / f"ttyACM{number}").is_symlink()]
        )
        self._node = self._dev / f"ttyACM{number}"
        self._paths = paths_of(number, self.port)
        device = usb_serial(number, port=self.port, serial=self.serial, dev=outside_dev(self._dev))
        self.board.board = Board(clock=RealClock(), firmware=f"1.0.{self.times}")
        self.board.plug()
        if self.dice.random() < HALF_BORN:
            self._bus.add(device)
            self.rest(LONGEST_BIRTH)
            usable = time.time()
            self._node.symlink_to(self.board.path)
        else:
            self._node.symlink_to(self.board.path)
            usable = time.time()
            self._bus.add(device)
        return usable

    def pull(self) -> None:
        """Pull the cable: its terminal dies before or after udev tells, as it comes."""
        if self.dice.random() < 0.5:
            self._bus.remove(*self._paths)
            self._node.unlink(missing_ok=True)  # umockdev has done so where it could
            self.board.unplug()
        else:
            self.board.unplug()
            self._node.unlink()
            self._bus.remove(*self._paths)

    def table(self) -> str:
        if self.serial:
            match = f'ID_SERIAL_SHORT = "{self.serial}", ID_VENDOR_ID = "2341"'
        else:
            match = f'ID_PATH = "*-usb-0:{self.port}:1.0", "@idVendor" = "2341"'
        return (
            f'[devices.{self.name}]\ndriver = "bench_board"\nroute = "serial"\n'
            f"match = {{ {match} }}\n[devices.{self.name}.settings]\nstream_hz = {self.hz}\n"
        )


class SocketedScanner(Socketed):
    """A barcode scanner."""

    route = "usb"

    def __init__(
        self, name: str, port: str, serial: str, dice: random.Random, *, bus: UsbBus
    ) -> None:
        super().__init__(name, port, serial, dice)
        self._scanner = LiveScanner(bus, port, serial)

    @property
    def badge(self) -> str:
        return f"{self._scanner.model} {RELEASE}"

    def plug(self) -> float:
        self.times += 1
        self._scanner.model = f"Scanner {self.times}"
        self._scanner.port = self.port
        half_born = not self.serial and self.dice.random() < HALF_BORN
        usable = time.time()
        self._scanner.plug(nameless=half_born)
        if half_born:
            self.rest(LONGEST_BIRTH)
            usable = time.time()
            self._scanner.name()
        return usable

    def pull(self) -> None:
        """Pull the cable, at rest or in the middle of a code."""
        self._scanner.scan_part("half a code", self.dice.randrange(9))
        self.rest(0.02)
        self._scanner.pull()

    def scan(self, code: str) -> None:
        """Scan ``code``."""
        self._scanner.scan(code)

    def table(self) -> str:
        match = f'serial = "{self.serial}"' if self.serial else f'ID_PATH = "*-usb-0:{self.port}"'
        return (
            f'[devices.{self.name}]\ndriver = "barcode_scanner"\nroute = "usb"\n'
            f'match = {{ idVendor = "05e0", {match} }}\n'
        )


class CrowdedDesk:
    """The boards, the scanners, and the bus that they are plugged into."""

    def __init__(
        self, bus: UsbBus, folder: Path, dice: random.Random, *, boards: int, scanners: int
    ) -> None:
        self.dice = dice
        (folder / "dev").mkdir()
        self.boards = [
            SocketedBoard(
                f"board{index}",
                str(index + 1),
                f"S{index}" if index % 2 == 0 else "",
                dice,
                bus=bus,
                folder=folder,
            )
            for index in range(boards)
        ]
        self.scanners = [
            SocketedScanner(
                f"scanner{index}",
                str(boards + index + 1),
                f"T{index}" if index % 2 == 0 else "",
                dice,
                bus=bus,
            )
            for index in range(scanners)
        ]
        self.all: list[Socketed] = [*self.boards, *self.scanners]

    def configuration(self, folder: Path) -> str:
        """Return the text of a file for all of them, found by what they are.

        Without health: it asks the routes at its own times, and with its first question
        they open what they keep for it, which is no descriptor that a cycle has cost.
        """
        return (
            f'[gateway]\nnode = "lab"\nsockets = "{folder / "run"}"\n'
            "[health]\nenabled = false\n"
            "[routes.serial]\n[routes.usb]\n[routes.unix_socket]\n"
            + "".join(each.table() for each in self.all)
        )

    def start(self) -> None:
        """Power the boards up; nothing is plugged in yet."""
        for each in self.boards:
            each.board.start()
            each.board.unplug()

    def stop(self) -> None:
        """End the boards."""
        for each in self.boards:
            each.board.stop()

    def rest(self, longest: float) -> None:
        """Pause for a random while, at most ``longest`` seconds."""
        self.dice.choice(self.all).rest(longest)

    def swap_ports(self, pulled: list[Socketed]) -> None:
        """Have those with a serial number come back at each other's ports, of whichever kind."""
        free = [each for each in pulled if each.serial]
        ports = [each.port for each in free]
        self.dice.shuffle(ports)
        for each, port in zip(free, ports, strict=True):
            each.port = port
