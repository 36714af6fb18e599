"""What a driver's contract stands on: what its author says, and devices to try it with.

`ContractGround` is the part of `gateway.testing.driver_contract.DriverContract`
that holds no test: the author's words about driver and board, the conversation
that is held with it, a device in virtual time (`ContractGround.device`), one on
a terminal, and a driver that only hears (`ContractGround.listener`).

Refused, at the end of each device, whatever the test asserted: a driver that
raised what is no `GatewayError`, and publications that it has not declared.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import msgspec
import pytest

from gateway.clock import Clock, RealClock, VirtualClock
from gateway.device.driver import Driver
from gateway.device.link import Opener
from gateway.device.simulated_port import Board, SimulatedPort
from gateway.device.simulated_usb import SimulatedUsb
from gateway.errors import GatewayError
from gateway.framing.frame import Frame
from gateway.testing import terminal_device, terminal_link
from gateway.testing.generated import NoExampleError, argument_sets, wrong
from gateway.testing.nonsense_host import NonsenseHost
from gateway.testing.publications import CheckedOutside
from gateway.testing.received_host import ReceivedHost
from gateway.testing.strangers import Mute
from gateway.testing.terminal_device import TerminalDevice
from gateway.testing.virtual_device import NAME, VirtualDevice

SOON = 60.0
"""Virtual seconds within which a device whose trouble is over must be connected."""


class ContractGround:
    """One driver, its board, and what is held with them; see above."""

    driver: ClassVar[type[Driver]]
    """Whose contract it is."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """Settings with which the driver suits its simulator, as the configuration gives them."""
    arguments: ClassVar[Mapping[str, Sequence[Mapping[str, Any]]]] = {}
    """Arguments for commands whose own cannot be made up, or must not be: by command."""
    listens: ClassVar[float] = 2.0
    """Seconds of the conversation after the last command, for what comes unasked."""
    only_at_times: ClassVar[frozenset[str]] = frozenset()
    """Topics that the conversation need not bring, such as a rare fault."""
    packets: ClassVar[bool] = False
    """It is on USB: each read is a packet, and never comes in slices."""
    gathers: ClassVar[bool] = False
    """One message is made of several frames, so that nonsense costs all of the one it hits."""
    proof: ClassVar[str] = ""
    """File of the test against real firmware, or of the recorded conversation: for gold."""

    @classmethod
    def hosted(cls) -> type[Driver]:
        """Return the class that serves a device with these settings."""
        return cls.driver.configured(cls.settings)

    def make_board(self, clock: Clock) -> Board:
        """Return a new board, as the simulator has it, that reads ``clock``."""
        raise NotImplementedError("make_board: return the simulator's board, reading that clock")

    def make_stranger(self, clock: Clock) -> Board | None:
        """Return a board of another kind that speaks this protocol, where there is one."""
        return None

    def make_simulator(self, path: Path) -> SimulatedPort[Any] | SimulatedUsb:
        """Return the simulator behind ``path``; it takes ``board=`` and ``clock=``."""
        module, _, name = self.driver.simulator.partition(":")
        clock = RealClock()
        simulator = getattr(importlib.import_module(module), name)
        made: SimulatedPort[Any] | SimulatedUsb = simulator(
            path, board=self.make_board(clock), clock=clock
        )
        return made

    def make_opener(self, path: Path) -> Opener:
        """Return what opens the simulator behind ``path``: a terminal, unless it is on USB."""
        if self.packets:
            raise NotImplementedError("make_opener: return what opens the simulator's socket")
        return terminal_link.opener(path)

    def listener(self) -> tuple[Driver, ReceivedHost, list[bytes]]:
        """Return a driver after its handshake that nobody answers any more, and real frames.

        The frames are those that the board has said in the conversation.
        """
        with self.device() as device:
            self._converse(device)
            driver = device.driver
            frames: list[bytes] = []
            decoder = driver.framing.decoder()
            expire = getattr(decoder, "expire", list)  # a framing whose frames end by silence
            for burst in device.wire.bursts:
                events = [*decoder.feed(burst), *expire()]
                frames += [event.payload for event in events if isinstance(event, Frame)]
        host = ReceivedHost()
        host.driver = driver
        driver._host = host
        return driver, host, frames

    def hear(self, driver: Driver, host: ReceivedHost, frame: bytes) -> None:
        """Give ``frame`` to a `listener`; a bug that comes of it says which frame it was."""
        try:
            host.hear(driver, frame)
        except Exception as bug:
            bug.add_note(f"it was given the frame {frame!r}")
            raise

    def answer_with_nonsense(self, count: int, random: Random) -> int:
        """Spoil ``count`` answers to the handshake and to each command; return how many were tried.

        What is no `GatewayError` rises, and says what was asked.
        """
        driver, _, _ = self.listener()
        calls: dict[str, list[dict[str, Any]]] = {"handshake": [{}], **self._commands(driver)}
        for name, bodies in calls.items():
            host = NonsenseHost(self.make_board(VirtualClock()), random)
            host.driver, driver._host = driver, host
            for number in range(count):
                body = bodies[number % len(bodies)]
                try:
                    getattr(driver, name)(**body)
                except GatewayError:
                    continue
                except Exception as bug:
                    bug.add_note(f"{name}({body}) was answered with nonsense")
                    raise
        return count * len(calls)

    @contextmanager
    def device(
        self, what: str = "", make_board: Callable[[Clock], Board] | None = None
    ) -> Iterator[VirtualDevice]:
        """Bring a device to life, for a test of your own too; judge it at its end.

        ``what`` happens to it is for the message; ``make_board`` is for another board.
        """
        outside = CheckedOutside(NAME)
        device = VirtualDevice(
            self.hosted(),
            make_board or self.make_board,
            settings=self.settings,
            outside=outside,
            packets=self.packets,
        )
        with device:
            outside.declared = device.driver.publications
            yield device
        assert not device.bug(), f"{what}: {device.bug()}"
        assert not outside.problems, f"{what}: {outside.problems[0]}"

    @contextmanager
    def _simulated(
        self, folder: Path
    ) -> Iterator[tuple[TerminalDevice, SimulatedPort[Any] | SimulatedUsb]]:
        outside = CheckedOutside(terminal_device.NAME)
        simulator = self.make_simulator(folder / "board")
        simulator.start()
        try:
            device = TerminalDevice(
                self.hosted(),
                self.make_opener(simulator.path),
                settings=self.settings,
                outside=outside,
            )
            with device:
                yield device, simulator
        finally:
            simulator.stop()
        assert not device.bug(), device.bug()
        assert not outside.problems, outside.problems[0]

    def _make_driver(self, settings: Mapping[str, Any]) -> Driver:
        return self.hosted()(NAME, ReceivedHost(), settings)

    def _connect(self, device: VirtualDevice) -> None:
        connected = device.run_until(lambda: device.state.connected, SOON)
        assert connected, f"not connected within {SOON:g} s: {device.thread.cause}"

    def _converse(self, device: VirtualDevice, wait: float = SOON) -> dict[str, Any]:
        """Hold the conversation; return the answers, an error as its text."""
        device.run_until(lambda: device.state.connected or not device.wire.plugged, wait)
        answers: dict[str, Any] = {}
        for name, body in self._requests(device.driver):
            try:
                answers[name] = device.call(name, body)
            except GatewayError as error:
                answers[name] = str(error)
        device.run(self.listens)
        return answers

    def _requests(self, driver: Driver) -> list[tuple[str, dict[str, Any]]]:
        return [(name, bodies[0]) for name, bodies in self._commands(driver).items()]

    def _commands(self, driver: Driver | None = None) -> dict[str, list[dict[str, Any]]]:
        """Return each command's bodies: the subclass's, or made up from the annotations."""
        found: dict[str, list[dict[str, Any]]] = {}
        for name, command in (driver or self._make_driver(self.settings)).commands().items():
            if name in self.arguments:
                found[name] = [dict(each) for each in self.arguments[name]]
                continue
            try:
                found[name] = argument_sets(command.shape)
            except NoExampleError as error:
                pytest.fail(f"{command}: {error}; give some in `arguments`", pytrace=False)
        return found

    def _stranger_or_mute(self, clock: Clock) -> Board:
        return self.make_stranger(clock) or Mute()

    def _start_conversing(self, device: VirtualDevice) -> None:
        """Hold the conversation until the board falls silent, and stay in the middle of it."""
        device.run(0.0)
        for name, body in self._requests(device.driver):
            if device.wire.mute:
                return
            device.post(name, body)
        if not device.wire.mute:
            device.run(self.listens)

    def _wrong_settings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "nonsense", {**self.settings, "nonsense": 1}
        for field in msgspec.structs.fields(self.driver.Settings):
            name = field.encode_name
            for value in wrong(field.type, from_text=True):
                yield name, {**self.settings, name: value}
            if field.required:
                yield name, {key: each for key, each in self.settings.items() if key != name}


def outside_of(device: VirtualDevice) -> CheckedOutside:
    """Return the house around a device that the contract has made."""
    assert isinstance(device.outside, CheckedOutside)
    return device.outside
