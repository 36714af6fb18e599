"""What every driver must bear: subclass this in the driver's test, and pytest does the rest.

::

    class TestWheels(DriverContract):
        driver = Wheels
        settings = {"track": 180}

        def make_board(self, clock):
            return Board(clock=clock)

The board is the driver's own simulator. It is put behind a wire on which
everything happens that happens to wires, at every byte of a conversation that
the contract holds by itself: handshake, each command once, and some listening.
That takes virtual time (`gateway.testing.virtual_device`); two tests more are
held over the simulator's real terminal. Words on what is missing for the next
level of quality come at the end (`gateway.testing.driver_ladder`).

Tests that cannot apply are not there: those of a heartbeat where the driver has
none, those over a terminal where it names no simulator.

Refused, with the byte at which it happened: a driver that raises what is no
`GatewayError`, publishes what it has not declared, does not come back, takes a
stranger for its board, or holds up the end of the gateway.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from math import inf
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import msgspec
import pytest

from gateway.clock import Clock, RealClock
from gateway.device.driver import Driver
from gateway.device.identity import Identity
from gateway.device.link_state import LinkState
from gateway.device.simulated_port import Board, SimulatedPort
from gateway.errors import GatewayError, RefusedError
from gateway.framing.frame import Frame
from gateway.testing import driver_ladder, terminal_device
from gateway.testing.generated import NoExampleError, argument_sets, wrong, wrong_argument_sets
from gateway.testing.mutated import mutated_frames
from gateway.testing.publications import CheckedOutside
from gateway.testing.received_host import ReceivedHost
from gateway.testing.strangers import Mute, strangers
from gateway.testing.terminal_device import TerminalDevice
from gateway.testing.virtual_device import NAME, STEP, VirtualDevice

SOON = 60.0
"""Virtual seconds within which a device whose trouble is over must be connected."""

PLACES = 200
"""Bytes of the conversation at which something happens; a longer one is sampled evenly."""

MUTATED = 50_000
"""Frames that `Driver.received` is given in one run; the soak gives a million."""

_ROOM = 256 * 1024
"""Bytes by which a driver may grow over `MUTATED` frames."""


class DriverContract:
    """The contract of one driver; see above for what a subclass must say."""

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
    """Each read is a packet of the medium (USB), and never comes in slices."""
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

    def make_simulator(self, path: Path) -> SimulatedPort:
        """Return the simulator behind ``path``; it takes ``board=`` and ``clock=``."""
        module, _, name = self.driver.simulator.partition(":")
        clock = RealClock()
        simulator = getattr(importlib.import_module(module), name)
        made: SimulatedPort = simulator(path, board=self.make_board(clock), clock=clock)
        return made

    def __init_subclass__(cls, **more: Any) -> None:
        """Take away the tests that cannot apply to this driver."""
        super().__init_subclass__(**more)
        gone: list[str] = []
        if getattr(cls, "driver", None) is not None:
            heartbeat = cls.hosted().heartbeat
            if heartbeat is None:
                gone += [name for name in _tests_of(cls) if "heartbeat" in name]
            elif heartbeat.every == inf:  # it only listens
                gone.append("test_the_heartbeat_is_answered")
            if not cls.driver.simulator:
                gone += [name for name in _tests_of(cls) if "terminal" in name]
        if cls.packets:
            gone += [name for name in _tests_of(cls) if "slicing" in name]
        for name in gone:
            setattr(cls, name, None)

    # -- who it is ---------------------------------------------------------

    def test_the_handshake_says_who_is_there(self) -> None:
        with self.device() as device:
            self._connect(device)
            info = device.outside.retained[f"devices/{NAME}/info"]
            without = "handshake() returned an Identity without a firmware version"
            assert info["identity"]["firmware"], without

    def test_it_describes_itself_as_data(self) -> None:
        with self.device() as device:
            self._connect(device)
            for identity in (None, Identity(firmware="1", model="a", serial_number="b")):
                described = device.driver.describe(identity)
                there_and_back = msgspec.json.decode(msgspec.json.encode(described))
                assert there_and_back == described, "describe() holds what JSON cannot"

    def test_settings_that_do_not_fit_are_refused_with_their_names(self) -> None:
        self._make_driver(self.settings)
        for name, settings in self._wrong_settings():
            with pytest.raises(ValueError) as refusal:
                self._make_driver(settings)
            assert name in str(refusal.value), (
                f"the setting {name!r} was refused without its name: {refusal.value}"
            )

    # -- the wire ----------------------------------------------------------

    def test_every_slicing_of_the_stream_gives_the_same(self) -> None:
        random = Random(5)
        whole = self._record(None)
        for name, slices in {
            **{f"{size} at a time": itertools.repeat(size) for size in (1, 2, 3, 7)},
            "random pieces": iter(lambda: random.randint(1, 9), 0),
        }.items():
            assert self._record(slices) == whole, f"read {name}, the stream means something else"

    def test_a_byte_that_is_lost_anywhere_is_got_over(self) -> None:
        self._happens_at_each_byte("lost", lambda byte: b"")

    def test_a_byte_that_is_damaged_anywhere_is_got_over(self) -> None:
        random = Random(7)
        self._happens_at_each_byte(
            "damaged", lambda byte: bytes([byte[0] ^ 1 << random.randrange(8)])
        )

    def test_noise_before_any_byte_is_got_over(self) -> None:
        random = Random(9)
        self._happens_at_each_byte("after noise", lambda byte: random.randbytes(40) + byte)

    def test_a_cable_that_is_pulled_at_any_byte_is_noticed_and_plugged_in_again(self) -> None:
        for place in self._places():
            with self.device(f"pulled at byte {place}") as device:
                device.wire.pulled_at = place
                self._converse(device)
                if not device.wire.plugged:
                    device.run(1.0)
                    assert device.state in (LinkState.ABSENT, LinkState.FAILED), (
                        f"pulled at byte {place}, it is {device.state}: {device.thread.cause}"
                    )
                    device.wire.plug()
                self._connect(device)
                events = device.outside.events(NAME)
                assert events.count("connected") - events.count("disconnected") == 1

    def test_a_board_that_hangs_at_any_byte_costs_no_more_than_its_answers(self) -> None:
        for place in self._places(20):
            with self.device(f"hung at byte {place}") as device:
                device.wire.mute_at = place
                self._converse(device)
                device.wire.mute = False
                device.wire.mute_at = inf
                self._connect(device)

    def test_it_lets_go_at_any_moment(self) -> None:
        for place in self._places():
            with self.device(f"stopped at byte {place}") as device:
                device.wire.mute_at = place
                self._start_conversing(device)
                device.stop()
                assert not device.state.connected
                assert device.is_settled(), f"stopped at byte {place}, mail is unaccounted for"

    # -- the heartbeat -----------------------------------------------------

    def test_the_heartbeat_is_answered(self) -> None:
        with self.device() as device:
            self._connect(device)
            heartbeat = device.driver.heartbeat
            assert heartbeat is not None
            device.run(heartbeat.every * 5)
            assert device.outside.events(NAME).count("pong") >= 4, (
                f"{heartbeat.ping!r} was not answered by {heartbeat.answer!r}"
            )
            assert "stale" not in device.outside.states(NAME)

    def test_a_hung_board_is_noticed_by_its_heartbeat_and_believed_again(self) -> None:
        with self.device() as device:
            self._connect(device)
            heartbeat = device.driver.heartbeat
            assert heartbeat is not None
            device.wire.mute = True
            device.run(heartbeat.patience + STEP)
            assert device.outside.states(NAME)[-1] == "stale", "a hung board is not stale"
            device.run(heartbeat.patience + STEP)
            assert "comms_error" in device.outside.events(NAME), "nobody was told of it"
            device.wire.mute = False
            healthy = device.run_until(lambda: device.state is LinkState.HEALTHY, SOON)
            assert healthy, "it is back, and not believed"

    # -- commands and publications -----------------------------------------

    def test_each_command_takes_what_its_annotations_say(self) -> None:
        for name, bodies in self._commands().items():
            refusals: list[str] = []
            for body in bodies:
                with self.device(f"{name}({body})") as device:
                    self._connect(device)
                    try:
                        answer = device.call(name, body)
                    except GatewayError as error:
                        refusals.append(str(error))
                        continue
                    kind = device.driver.commands()[name].answer
                    self._check_answer(f"{name}({body})", answer, kind)
            assert len(refusals) < len(bodies), f"{name} never succeeds: {refusals[0]}"

    def test_each_command_refuses_what_does_not_fit_and_names_it(self) -> None:
        with self.device() as device:
            self._connect(device)
            written = len(device.wire.written)
            for name, command in device.driver.commands().items():
                right = [dict(each) for each in self.arguments.get(name, ())]
                for parameter, body in wrong_argument_sets(command.shape, *right[:1]):
                    with pytest.raises(RefusedError) as refusal:
                        device.call(name, body)
                    assert parameter in str(refusal.value)
            assert len(device.wire.written) == written, "what was refused has reached the board"

    def test_a_command_that_it_does_not_have_is_refused(self) -> None:
        with self.device() as device:
            self._connect(device)
            with pytest.raises(RefusedError, match="has no command"):
                device.call("no_such_command")
            assert device.state.connected

    def test_it_publishes_what_it_declares(self) -> None:
        with self.device() as device:
            self._converse(device)
            told = {topic for topic, _ in device.publications()}
            house = outside_of(device)
            wrong_ones = [*house.refused, *house.problems]
            assert not wrong_ones, wrong_ones[0]
            declared = device.driver.publications
            wanted = {each for each in declared if "+" not in each} - self.only_at_times
            assert wanted <= told, (
                f"not heard of within {self.listens:g} s: {', '.join(sorted(wanted - told))}; "
                "listen longer (listens), or say that it is rare (only_at_times)"
            )

    # -- strangers and nonsense --------------------------------------------

    def test_a_stranger_behind_the_port_costs_nothing_but_its_own_state(self) -> None:
        for name, make in strangers(self.make_board).items():
            with self.device(name, make) as device:
                device.run(2 * self.hosted().handshake_within + 5.0)
                self._converse(device, wait=0.0)
                assert device.thread.cause, f"{name}: it does not say why it is {device.state}"

    def test_a_port_behind_which_nobody_speaks_is_not_believed(self) -> None:
        with self.device("nobody", lambda clock: Mute()) as device:
            device.run(self.hosted().handshake_within + SOON)
            assert device.state not in (LinkState.PROVEN, LinkState.HEALTHY), (
                f"it is {device.state}, with nobody there: {device.thread.cause}; "
                "ask or listen in handshake()"
            )

    def test_a_board_of_another_kind_fails_with_the_reason(self) -> None:
        with self.device("a stranger", self._stranger_or_mute) as device:
            device.run(2 * self.hosted().handshake_within + 5.0)
            assert "healthy" not in device.outside.states(NAME), "a stranger was taken for its own"
            assert device.thread.cause

    def test_nonsense_is_refused_in_words_or_ignored(self) -> None:
        driver, host, right = self.listener()
        frames = list(mutated_frames(Random(11), right, MUTATED))
        half = len(frames) // 2
        for frame in frames[:half]:
            self._hear(driver, host, frame)
        tracemalloc.start()
        try:
            for frame in frames[half : half + half // 2]:
                self._hear(driver, host, frame)
            before, _ = tracemalloc.get_traced_memory()
            for frame in frames[half + half // 2 :]:
                self._hear(driver, host, frame)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < _ROOM, f"it grew by {after - before} bytes: what does it keep?"

    # -- a real terminal ---------------------------------------------------

    def test_over_a_terminal_it_is_the_same(self, tmp_path: Path) -> None:
        with self._terminal(tmp_path) as (device, _):
            device.wait_connected(1)
            for name, body in self._requests(self._make_driver(self.settings)):
                with suppress(GatewayError):
                    device.call(name, body)

    def test_over_a_terminal_a_pulled_cable_is_noticed_and_forgiven(self, tmp_path: Path) -> None:
        with self._terminal(tmp_path) as (device, simulator):
            for time in (1, 2):
                device.wait_connected(time)
                simulator.unplug()
                device.wait_disconnected(time)
                simulator.plug()
            device.wait_connected(3)

    # -- where it stands ---------------------------------------------------

    def test_zz_its_place_on_the_ladder(self, record_property: Callable[..., None]) -> None:
        with self.device() as device:
            self._connect(device)
            folder = Path(inspect.getfile(type(self))).parent
            found = {
                "driver": f"{self.driver.__module__}:{self.driver.__name__}",
                "tests": len(_tests_of(type(self))),
                "rungs": driver_ladder.rungs(device.driver, self.proof, folder),
            }
        record_property(driver_ladder.PROPERTY, msgspec.json.encode(found).decode())

    @pytest.fixture(autouse=True)
    def _ladder(self, request: pytest.FixtureRequest) -> None:
        driver_ladder.pytest_configure(request.config)

    # -- how it is done ----------------------------------------------------

    def listener(self) -> tuple[Driver, ReceivedHost, list[bytes]]:
        """Return a driver after its handshake that nobody answers any more, and real frames.

        The frames are those that the board has said in the conversation.
        """
        with self.device() as device:
            self._converse(device)
            driver = device.driver
            frames: list[bytes] = []
            decoder = driver.framing.decoder()
            for burst in device.wire.bursts:
                events = decoder.feed(burst)
                if getattr(driver.framing, "silence", None) is not None:
                    events = [*events, *decoder.expire()]  # type: ignore[attr-defined]
                frames += [event.payload for event in events if isinstance(event, Frame)]
        host = ReceivedHost()
        host.driver = driver
        driver._host = host
        return driver, host, frames

    @contextmanager
    def device(
        self, what: str = "", make_board: Callable[[Clock], Board] | None = None
    ) -> Iterator[VirtualDevice]:
        """Bring a device to life, for a test of your own too; judge it at its end.

        ``what`` happens to it is for the message; ``make_board`` is for another board.
        """
        outside = CheckedOutside(NAME)
        device = VirtualDevice(
            self.hosted(), make_board or self.make_board, settings=self.settings, outside=outside
        )
        with device:
            outside.declared = device.driver.publications
            yield device
        assert not device.bug(), f"{what}: {device.bug()}"
        assert not outside.problems, f"{what}: {outside.problems[0]}"

    @contextmanager
    def _terminal(self, folder: Path) -> Iterator[tuple[TerminalDevice, SimulatedPort]]:
        outside = CheckedOutside(terminal_device.NAME)
        simulator = self.make_simulator(folder / "board")
        simulator.start()
        try:
            device = TerminalDevice(
                self.hosted(), simulator.path, settings=self.settings, outside=outside
            )
            with device:
                yield device, simulator
        finally:
            simulator.stop()
        assert not device.bug(), device.bug()
        assert not outside.problems, outside.problems[0]

    def _make_driver(self, settings: Mapping[str, Any]) -> Driver:
        return self.hosted()(NAME, ReceivedHost(), settings)

    def _stranger_or_mute(self, clock: Clock) -> Board:
        return self.make_stranger(clock) or Mute()

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

    def _start_conversing(self, device: VirtualDevice) -> None:
        """Hold the conversation until the board falls silent, and stay in the middle of it."""
        device.run(0.0)
        for name, body in self._requests(device.driver):
            if device.wire.mute:
                return
            device.post(name, body)
        if not device.wire.mute:
            device.run(self.listens)

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

    def _check_answer(self, what: str, answer: Any, kind: Any) -> None:
        try:
            plain = msgspec.to_builtins(answer, builtin_types=(bytes, datetime))
            msgspec.convert(plain, kind, builtin_types=(bytes, datetime))
        except msgspec.ValidationError as error:
            pytest.fail(f"{what} returned {answer!r:.200}: {error}", pytrace=False)

    def _wrong_settings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "nonsense", {**self.settings, "nonsense": 1}
        for field in msgspec.structs.fields(self.driver.Settings):
            name = field.encode_name
            for value in wrong(field.type, from_text=True):
                yield name, {**self.settings, name: value}
            if field.required:
                yield name, {key: each for key, each in self.settings.items() if key != name}

    def _record(self, slices: Iterator[int] | None) -> tuple[Any, ...]:
        with self.device() as device:
            device.wire.slices = slices
            answers = self._converse(device)
            return answers, device.publications(), device.outside.states(NAME)

    def _places(self, most: int = PLACES) -> list[int]:
        """Return numbers of bytes of the conversation: each, or ``most`` of them."""
        with self.device() as device:
            self._converse(device)
            said = device.wire.said
        assert said, "the board has said nothing in the whole conversation"
        return list(range(said)) if said <= most else [said * at // most for at in range(most)]

    def _happens_at_each_byte(self, what: str, damage: Callable[[bytes], bytes]) -> None:
        for place in self._places():
            with self.device(f"byte {place} {what}") as device:
                device.wire.damage = (place, damage)
                self._converse(device)
                self._connect(device)

    def _hear(self, driver: Driver, host: ReceivedHost, frame: bytes) -> None:
        try:
            host.hear(driver, frame)
        except Exception as bug:
            bug.add_note(f"it was given the frame {frame!r}")
            raise


def outside_of(device: VirtualDevice) -> CheckedOutside:
    """Return the house around a device that the contract has made."""
    assert isinstance(device.outside, CheckedOutside)
    return device.outside


def _tests_of(contract: type[DriverContract]) -> list[str]:
    return [name for name in dir(contract) if name.startswith("test_") and getattr(contract, name)]
