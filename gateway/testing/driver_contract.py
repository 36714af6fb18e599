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
held over the simulator itself, in real time. Words on what is missing for the next
level of quality come at the end (`gateway.testing.driver_ladder`).

Tests that cannot apply are not there: those of a heartbeat where the driver has
none, those over its simulator where it names none, slices where there are packets.

Refused, with the byte at which it happened: a driver that raises what is no
`GatewayError`, publishes what it has not declared, does not come back, takes a
stranger for its board, or holds up the end of the gateway.
"""

from __future__ import annotations

import gc
import inspect
import logging
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from gateway.device.driver import Driver
from gateway.device.identity import Identity
from gateway.device.link_state import LinkState
from gateway.errors import GatewayError, RefusedError
from gateway.testing import driver_ladder
from gateway.testing.contract_ground import SOON, outside_of
from gateway.testing.generated import wrong_argument_sets
from gateway.testing.mutated import mutated_frames
from gateway.testing.received_host import ReceivedHost
from gateway.testing.strangers import Mute, strangers
from gateway.testing.virtual_device import NAME
from gateway.testing.wire_contract import WireContract

MUTATED = 20_000
"""Frames that `Driver.received` is given in one run; the soak gives a million."""

ANSWERS = 500
"""Spoilt answers that the handshake and each command are given in one run."""

_ROOM = 128 * 1024
"""Bytes by which a driver may grow over the last fifth of those frames."""


class DriverContract(WireContract):
    """The contract of one driver; `ContractGround` has what a subclass must say."""

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
                gone += [name for name in _tests_of(cls) if "simulator" in name]
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
            assert device.state in (LinkState.FAILED, LinkState.STALE), (
                f"a stranger is {device.state}: {device.thread.cause}"
            )

    def test_nonsense_is_refused_in_words_or_ignored(self) -> None:
        driver, host, right = self.listener()
        in_quiet = self._refused(driver, host, right)
        frames = list(mutated_frames(Random(11), right, MUTATED))
        share = len(frames) // 5
        for frame in frames[: 3 * share]:
            self.hear(driver, host, frame)
        # The rest only, as this makes everything several times slower.
        tracemalloc.start()
        logging.disable()  # pytest keeps every record, which is no growth of the driver's
        try:
            for frame in frames[3 * share : 4 * share]:
                self.hear(driver, host, frame)
            before = _memory_in_use()
            for frame in frames[4 * share :]:
                self.hear(driver, host, frame)
            after = _memory_in_use()
        finally:
            logging.disable(logging.NOTSET)
            tracemalloc.stop()
        assert after - before < _ROOM, f"it grew by {after - before} bytes: what does it keep?"
        if self.gathers:  # the message that the nonsense ran into
            self._refused(driver, host, right)
        assert self._refused(driver, host, right) <= in_quiet, (
            "after the nonsense it refuses what it took before"
        )

    def test_an_answer_that_is_nonsense_is_refused_in_words(self) -> None:
        self.answer_with_nonsense(ANSWERS, Random(13))

    def _refused(self, driver: Driver, host: ReceivedHost, frames: list[bytes]) -> int:
        before = host.refused
        for frame in frames:
            self.hear(driver, host, frame)
        return host.refused - before

    # -- its simulator, in real time --------------------------------------

    def test_over_its_simulator_it_is_the_same(self, tmp_path: Path) -> None:
        with self._simulated(tmp_path) as (device, _):
            device.wait_connected(1)
            for name, body in self._requests(self._make_driver(self.settings)):
                with suppress(GatewayError):
                    device.call(name, body)

    def test_over_its_simulator_a_pulled_cable_is_noticed_and_forgiven(
        self, tmp_path: Path
    ) -> None:
        with self._simulated(tmp_path) as (device, simulator):
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

    def _check_answer(self, what: str, answer: Any, kind: Any) -> None:
        try:
            plain = msgspec.to_builtins(answer, builtin_types=(bytes, datetime))
            msgspec.convert(plain, kind, builtin_types=(bytes, datetime))
        except msgspec.ValidationError as error:
            pytest.fail(f"{what} returned {answer!r:.200}: {error}", pytrace=False)


def _tests_of(contract: type[DriverContract]) -> list[str]:
    return [name for name in dir(contract) if name.startswith("test_") and getattr(contract, name)]


def _memory_in_use() -> int:
    """Return the bytes of what was taken while traced and is still wanted by anybody."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
