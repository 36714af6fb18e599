"""The driver of a Modbus RTU line: one master, slaves and registers as configured.

A device is a line, with one slave or many behind one port. It is proven when any
slave answers, an exception included: somebody speaks Modbus at this rate. Each
register is read as often as its declaration says, neighbours together, one
question at a time; a slave that does not answer is asked less often, and its
values are published as unknown, so that none is believed that is old.

Modbus RTU numbers no questions. After one that went unanswered the line is
left alone as long again (`Driver.quarantine`), so that an answer which comes late
is not taken for that to the next.

Refused, in words: names that are not declared, values out of bounds, and what a
slave refuses itself.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

import msgspec

from drivers.modbus_rtu import pdus
from drivers.modbus_rtu.framing import RtuAnswers
from drivers.modbus_rtu.plan import Batch, Timetable, alone, batches
from drivers.modbus_rtu.settings import ModbusRegister, ModbusRtuSettings
from drivers.modbus_rtu.values import Value, decode, encode
from gateway.device import Driver, DriverHost, Heartbeat, Identity, Unit, command
from gateway.errors import CallTimeoutError, GatewayError, LinkLostError, RefusedError
from gateway.framing import Framing

log = logging.getLogger(__name__)

_MISSES: Final = 2
"""Questions in a row that a slave may miss: a line loses one now and then."""
_PUT_OFF: Final = (1.0, 5.0)
"""Seconds that a silent slave is let alone, at first and at the longest."""


class ModbusRtu(Driver):
    """Modbus RTU slaves on one line; their registers are declared in the configuration.

    Publishes each register that is polled, retained, as ``registers/<name>``;
    None while its value is not known.
    """

    framing: ClassVar[Framing] = RtuAnswers()
    simulator: ClassVar[str] = "drivers.modbus_rtu.simulator:SimulatedLine"
    Settings: ClassVar[type[msgspec.Struct]] = ModbusRtuSettings

    @classmethod
    def configured(cls, settings: Mapping[str, Any] | msgspec.Struct | None = None) -> type[Driver]:
        """Return the class that publishes what is declared, with a patience that fits it."""
        typed: ModbusRtuSettings = cls.typed(settings)
        publications = {
            f"registers/{name}": _body_of(register)
            for name, register in typed.registers.items()
            if register.poll
        }
        return cls.variant(
            framing=RtuAnswers(overlapping=typed.overlapping),
            publications=publications,
            heartbeat=None if typed.borne is None else Heartbeat(patience=typed.borne),
            # Every slave may be the one that answers.
            handshake_within=2.0 + 3 * typed.timeout * len(_slaves(typed)),
            quarantine=typed.timeout,
        )

    def __init__(
        self,
        name: str,
        host: DriverHost,
        settings: Mapping[str, Any] | msgspec.Struct | None = None,
    ) -> None:
        super().__init__(name, host, settings)
        declared: ModbusRtuSettings = self.settings
        self._registers = declared.registers
        self._timeout, self._gap = declared.timeout, declared.gap
        self._timetable = Timetable(batches(declared.registers))
        self._published: dict[str, Value | None] = {}
        self._missed: dict[int, int] = {}
        self._refused: set[Batch] = set()

    def handshake(self) -> Identity:
        """Ask each slave for its first register until one answers."""
        silent = []
        for unit_id, first in _slaves(self.settings).items():
            try:
                self._read(first)
            except CallTimeoutError:
                silent.append(str(unit_id))
            except RefusedError as refusal:
                log.info("%s: %s", self.name, refusal)
                return Identity(firmware="Modbus RTU", model=f"unit {unit_id}")
            else:
                return Identity(firmware="Modbus RTU", model=f"unit {unit_id}")
        raise CallTimeoutError(
            f"no answer from unit {', '.join(silent)}; check baud, parity and stop bits, that "
            "A and B are not swapped, and the number that is set on the slave"
        )

    def tick(self, now: float) -> float | None:
        """Read what is due, one question at a time."""
        batch, due = self._timetable.first(now)
        if batch is None:
            return due
        try:
            self._publish(batch, self._read(batch))
        except CallTimeoutError:
            return self._miss(batch, now)
        except LinkLostError:
            raise
        except GatewayError as error:
            self._tell_once(batch, str(error))
        else:
            self._refused.discard(batch)
        self._missed.pop(batch.unit_id, None)
        return due

    @command
    def read_register(self, name: str) -> bool | int | float | None:
        """Read a register now, by the name under which it is declared."""
        register = self._register(name)
        return self._read_one(name, register)

    @command
    def write_register(self, name: str, value: bool | int | float) -> bool | int | float | None:
        """Write a register that is declared writable; returns what it holds then."""
        register = self._register(name)
        if not register.writable:
            raise RefusedError(f"{name} is not writable; its declaration would have to say so")
        try:
            words = encode(register, value)
        except ValueError as error:
            raise RefusedError(f"{name}: {error}") from None
        self._answer(pdus.write_request(register, words))
        # One that is not polled may be one that cannot be read.
        return self._read_one(name, register) if register.poll else decode(register, words)

    def _register(self, name: str) -> ModbusRegister:
        register = self._registers.get(name)
        if register is None:
            near = difflib.get_close_matches(name, self._registers, n=1)
            known = f"did you mean {near[0]!r}?" if near else f"there are {_few(self._registers)}"
            raise RefusedError(f"no register {name!r} is declared; {known}")
        return register

    def _read_one(self, name: str, register: ModbusRegister) -> Value | None:
        batch = alone(name, register)
        words = self._read(batch)
        if register.poll:
            self._publish(batch, words)
        return decode(register, words)

    def _read(self, batch: Batch) -> list[int | bool]:
        return [*self._answer(pdus.read_request(batch))][: batch.count]

    def _answer(self, request: bytes) -> list[int | bool]:
        """Return what the slave answers to ``request``; keep the silence before it."""
        self._keep_silence()
        try:
            answer = self.ask(request, timeout=self._timeout)
        except CallTimeoutError:
            raise CallTimeoutError(f"unit {request[0]} does not answer") from None
        return [*pdus.answer_of(request, answer)]

    def late(self, request: bytes, frame: bytes) -> None:
        """Believe no value that is older than its question's time."""
        log.debug("%s: unit %d answered too late", self.name, request[0])

    def answers(self, request: bytes, frame: bytes) -> bool:
        """Say whether ``frame`` may be the answer to ``request``."""
        return pdus.is_answer(request, frame)

    def _keep_silence(self) -> None:
        if self._gap:
            try:
                self.listen(lambda frame: False, timeout=self._gap)
            except CallTimeoutError:
                pass  # silence is what was waited for

    def _publish(self, batch: Batch, words: list[int | bool]) -> None:
        for name, register in batch.registers.items():
            at = register.address - batch.address
            self._publish_one(name, register, decode(register, words[at : at + register.words]))

    def _publish_one(self, name: str, register: ModbusRegister, value: Value | None) -> None:
        known = name in self._published
        if register.always or not known or self._published[name] != value:
            self._published[name] = value
            self.publish(f"registers/{name}", value, retain=True)

    def _miss(self, batch: Batch, now: float) -> float:
        """Count a question that a slave has missed; return when to go on."""
        unit_id = batch.unit_id
        missed = self._missed[unit_id] = self._missed.get(unit_id, 0) + 1
        if missed < _MISSES:
            return self._timetable.put_off(unit_id, now)
        if missed == _MISSES:
            self.fault(f"unit {unit_id} does not answer")
            self._forget(lambda register: register.unit_id == unit_id)
        first, longest = _PUT_OFF
        wait = min(longest, first * 2.0 ** min(missed - _MISSES, 10))
        return self._timetable.put_off(unit_id, now + wait)

    def _tell_once(self, batch: Batch, cause: str) -> None:
        """Report that a slave refuses a batch, once until it gives it again."""
        if batch in self._refused:
            return
        self._refused.add(batch)
        self.fault(f"{cause} ({_few(batch.registers)})")
        names = batch.registers.keys()
        for name in names:
            self._publish_one(name, self._registers[name], None)

    def _forget(self, concerned: Any) -> None:
        for name, register in self._registers.items():
            if register.poll and concerned(register):
                self._publish_one(name, register, None)


def _slaves(settings: ModbusRtuSettings) -> dict[int, Batch]:
    """Return each slave's number with the question for the first of its registers."""
    found: dict[int, Batch] = {}
    for name, register in settings.registers.items():
        found.setdefault(register.unit_id, alone(name, register))
    return found


def _body_of(register: ModbusRegister) -> Any:
    kind: Any = bool if register.kind == "bool" else int if register.is_whole else float
    return Annotated[kind | None, Unit(register.unit)]


def _few(names: Mapping[str, object]) -> str:
    shown = list(names)[:5]
    return ", ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
