"""The master before its own slaves: what is read, written, refused, late and lost."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from drivers.modbus_rtu.board import Line, Slave
from drivers.modbus_rtu.driver import ModbusRtu
from drivers.modbus_rtu.framing import RtuAnswers
from gateway.device import Heartbeat
from gateway.errors import CallTimeoutError, RefusedError
from gateway.testing.virtual_device import VirtualDevice
from tests.drivers.desk import CrankedClock, Desk

REGISTERS: dict[str, dict[str, Any]] = {
    "temperature": {"function": "input", "address": 0, "type": "int16", "scale": 0.1, "unit": "°C"},
    "setpoint": {"address": 0, "scale": 0.1, "poll": 5.0, "writable": True, "min": 5, "max": 30},
    "power": {"address": 2, "type": "float32", "poll": 5.0},
    "pump": {"function": "coil", "address": 0, "writable": True},
    "code": {"address": 1, "poll": 0.0, "writable": True},
    "door_open": {"function": "discrete", "address": 0, "unit_id": 2, "poll": 0.2},
}


def desk_with(registers: dict[str, dict[str, Any]] = REGISTERS, **settings: Any) -> Desk:
    clock = CrankedClock()
    return Desk(ModbusRtu, {"registers": registers, **settings}, Line(clock=clock), clock)


def test_it_is_proven_by_the_first_slave_that_answers() -> None:
    desk = desk_with()
    assert desk.driver.handshake().model == "unit 1"
    desk.board.slaves[1].silent = True
    assert desk.driver.handshake().model == "unit 2"


def test_an_exception_proves_it_as_well() -> None:
    desk = desk_with({"nothing": {"address": 999}})
    assert desk.driver.handshake().firmware == "Modbus RTU"


def test_a_line_on_which_nobody_answers_gets_advice() -> None:
    desk = desk_with()
    desk.board.slaves.clear()
    with pytest.raises(CallTimeoutError, match=r"no answer from unit 1, 2; check baud, parity"):
        desk.driver.handshake()


def test_values_are_published_retained_as_they_are_declared() -> None:
    desk = desk_with()
    desk.run(0.5)
    assert desk.retained == {
        "registers/temperature": 18.0,
        "registers/setpoint": 21.5,
        "registers/power": 12.5,
        "registers/pump": False,
        "registers/door_open": False,
    }


def test_what_has_not_changed_is_not_said_again_unless_it_always_is() -> None:
    desk = desk_with({"a": {"address": 0}, "b": {"address": 1, "always": True}})
    desk.run(10.5)
    assert desk.bodies("registers/a") == [215]
    assert len(desk.bodies("registers/b")) == 11
    desk.board.slaves[1].holding[0] = 216
    desk.run(1.5)
    assert desk.bodies("registers/a") == [215, 216]


def test_neighbours_are_read_in_one_question_and_each_as_often_as_declared() -> None:
    desk = desk_with({"a": {"address": 0}, "b": {"address": 1}, "c": {"address": 2, "poll": 5.0}})
    desk.run(10.5)
    assert len(desk.written) == 11 + 3


def test_silence_is_kept_before_each_question() -> None:
    desk = desk_with({"a": {"address": 0}}, gap=0.02)
    asked: list[float] = []
    receive = desk.board.receive

    def timed(data: bytes) -> Any:
        asked.append(desk.clock.now)
        return receive(data)

    desk.board.receive = timed
    for _ in range(3):
        desk.call("read_register", {"name": "a"})
    assert [round(at, 3) for at in asked] == [0.02, 0.04, 0.06]


def test_a_register_is_read_when_asked() -> None:
    desk = desk_with()
    assert desk.call("read_register", {"name": "temperature"}) == 18.0
    assert desk.call("read_register", {"name": "code"}) == 0
    assert desk.retained == {"registers/temperature": 18.0}


def test_what_is_written_is_what_is_read_back_and_published() -> None:
    desk = desk_with()
    assert desk.call("write_register", {"name": "setpoint", "value": 19.96}) == 20.0
    assert desk.board.slaves[1].holding[0] == 200
    assert desk.retained["registers/setpoint"] == 20.0
    assert desk.call("write_register", {"name": "pump", "value": True}) is True
    assert desk.board.slaves[1].coils[0] is True


def test_one_that_is_not_polled_is_written_without_being_read() -> None:
    desk = desk_with()
    assert desk.call("write_register", {"name": "code", "value": 7}) == 7
    assert [request[1] for request in desk.written] == [6]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("setpoint", 31, "setpoint: it is 5 to 30, not 31"),
        ("setpoint", True, "setpoint: it is a number"),
        ("pump", 1, "pump: it is true or false"),
        ("temperature", 20, "temperature is not writable"),
        ("setpiont", 20, "did you mean 'setpoint'"),
        ("x", 20, "there are temperature, setpoint, power, pump, code and 1 more"),
    ],
)
def test_what_must_not_be_written_is_refused_and_nothing_is_sent(
    name: str, value: Any, said: str
) -> None:
    desk = desk_with()
    with pytest.raises(RefusedError, match=said):
        desk.call("write_register", {"name": name, "value": value})
    assert desk.written == []


def test_what_a_slave_refuses_is_said_in_words() -> None:
    desk = desk_with({"a": {"address": 999}})
    with pytest.raises(RefusedError, match="unit 1: it has no such address"):
        desk.call("read_register", {"name": "a"})
    desk.board.slaves[1].busy = True
    with pytest.raises(RefusedError, match="busy"):
        desk.call("read_register", {"name": "a"})


def test_a_refused_poll_is_a_fault_once_and_its_value_is_unknown() -> None:
    desk = desk_with({"a": {"address": 0}, "bad": {"address": 999}})
    desk.run(5.5)
    assert desk.faults == ["unit 1: it has no such address (bad)"]
    assert desk.retained == {"registers/a": 215, "registers/bad": None}
    desk.board.slaves[1].holding[999] = 1
    desk.run(1.5)
    assert desk.retained["registers/bad"] == 1
    del desk.board.slaves[1].holding[999]
    desk.run(1.5)
    assert len(desk.faults) == 2


def test_one_lost_answer_is_got_over() -> None:
    desk = desk_with({"a": {"address": 0}})
    lost = iter([True])
    desk.damage = lambda data: b"" if data and next(lost, False) else data
    desk.run(3.5)
    assert desk.faults == []
    assert desk.retained == {"registers/a": 215}


def test_a_slave_that_falls_silent_is_a_fault_and_the_others_go_on() -> None:
    desk = desk_with()
    desk.run(1.0)
    desk.board.slaves[2].silent = True
    desk.run(20.0)
    assert desk.faults == ["unit 2 does not answer"]
    assert desk.retained["registers/door_open"] is None
    assert desk.retained["registers/setpoint"] == 21.5
    temperatures = desk.bodies("registers/temperature")
    assert len(temperatures) >= 15  # they change every second
    to_the_silent = [each for each in desk.written if each[0] == 2]
    assert len(to_the_silent) <= 5 + 2 + 8
    desk.board.slaves[2].silent = False
    desk.run(6.0)
    assert desk.retained["registers/door_open"] is False


class SlowLine(Line):
    """Slaves of which one answers late, once."""

    delay = 0.0
    late: tuple[float, bytes] | None = None

    @property
    def wake(self) -> float | None:
        return None if self.late is None else self.late[0]

    def receive(self, data: bytes) -> bytes:
        said = super().receive(data)
        if self.late is not None:  # one thing after the other
            self.late = (self.late[0], self.late[1] + said)
            return b""
        if not self.delay:
            return said
        self.late, self.delay = (self._clock.monotonic() + self.delay, said), 0.0
        return b""

    def poll(self) -> bytes:
        if self.late is None or self._clock.monotonic() < self.late[0]:
            return b""
        said, self.late = self.late[1], None
        return said


def test_an_answer_that_comes_late_is_not_taken_for_the_next_ones() -> None:
    settings = {"registers": {"a": {"address": 0, "poll": 0}, "b": {"address": 1, "poll": 0}}}
    made = ModbusRtu.configured(settings)
    with VirtualDevice(made, lambda clock: SlowLine(clock=clock), settings=settings) as device:
        assert device.run_until(lambda: device.state.connected)
        board = device.wire.board
        assert isinstance(board, SlowLine)
        board.delay = 0.8
        with pytest.raises(CallTimeoutError, match="unit 1 does not answer"):
            device.call("read_register", {"name": "a"})
        assert device.call("read_register", {"name": "b"}) == 0
        assert device.call("read_register", {"name": "a"}) == 215


def test_damaged_answers_are_noise_and_never_values() -> None:
    desk = desk_with({"a": {"address": 0}})
    desk.damage = lambda data: data[:3] + bytes([data[3] ^ 4]) + data[4:] if data else data
    desk.run(5.0)
    assert desk.retained == {"registers/a": None}
    assert desk.noise != []


def test_frames_that_nobody_asked_for_are_let_go() -> None:
    desk = desk_with()
    desk.say(bytes.fromhex("01 03 02 00 2a 39 9b"))
    desk.hear()
    assert (desk.published, desk.nonsense) == ([], [])


def test_its_class_is_made_of_what_is_declared() -> None:
    made = ModbusRtu.configured({"registers": REGISTERS})
    assert made.heartbeat == Heartbeat(patience=3.0)
    assert set(made.publications) == {f"registers/{name}" for name in REGISTERS if name != "code"}
    info = made.describe(None)
    units = {each["topic"]: (each["body"], each["unit"]) for each in info["publications"]}
    assert units["registers/temperature"] == ("float | None", "°C")
    assert units["registers/pump"] == ("bool | None", "")
    assert set(info["commands"]) == {"read_register", "write_register"}
    assert msgspec.json.encode(info)


def test_its_framing_is_as_declared() -> None:
    registers = {"a": {"address": 0}}
    for settings, overlapping in (({}, False), ({"overlapping": True}, True)):
        framing = ModbusRtu.configured({"registers": registers, **settings}).framing
        assert isinstance(framing, RtuAnswers)
        assert framing.overlapping is overlapping


def test_a_line_that_is_only_read_when_asked_has_no_heartbeat() -> None:
    assert ModbusRtu.configured({"registers": {"a": {"address": 0, "poll": 0}}}).heartbeat is None


def test_slaves_of_all_kinds_share_the_line() -> None:
    desk = desk_with(
        {f"r{unit}": {"address": 0, "unit_id": unit, "poll": 1.0} for unit in range(1, 6)}
    )
    desk.board.slaves.clear()
    for unit in range(1, 6):
        desk.board.slaves[unit] = Slave(holding={0: 100 + unit})
    desk.run(0.9)
    assert desk.retained == {f"registers/r{unit}": 100 + unit for unit in range(1, 6)}
