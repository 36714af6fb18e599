"""Which registers are read together, and when.

Neighbours of one slave that are read as often go into one question: on 9600 baud
a question costs some 15 ms however little it asks for. Only what touches is put
together, since addresses between may not exist. Pure: moments are handed in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from drivers.modbus_rtu.settings import Function, ModbusRegister

_MOST: dict[Function, int] = {"holding": 125, "input": 125, "coil": 2000, "discrete": 2000}
"""Addresses that one question may ask for (Modbus application protocol V1.1b3, 6.1 to 6.4)."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One question: ``count`` addresses of a slave from ``address`` on."""

    unit_id: int
    function: Function
    address: int
    count: int
    poll: float
    registers: Mapping[str, ModbusRegister]


def alone(name: str, register: ModbusRegister) -> Batch:
    """Return the question for one register."""
    return Batch(
        register.unit_id,
        register.function,
        register.address,
        register.words,
        register.poll,
        {name: register},
    )


def batches(registers: Mapping[str, ModbusRegister]) -> Iterator[Batch]:
    """Yield the questions that read all registers which are polled."""
    ordered = sorted(
        ((name, each) for name, each in registers.items() if each.poll),
        key=lambda item: (_kin(item[1]), item[1].address, item[0]),
    )
    for _, kin in groupby(ordered, key=lambda item: _kin(item[1])):
        batch: Batch | None = None
        for name, register in kin:
            joined = None if batch is None else _join(batch, name, register)
            if joined is None and batch is not None:
                yield batch
            batch = joined or alone(name, register)
        if batch is not None:
            yield batch


def _kin(register: ModbusRegister) -> tuple[int, str, float]:
    return register.unit_id, register.function, register.poll


def _join(batch: Batch, name: str, register: ModbusRegister) -> Batch | None:
    """Return ``batch`` with ``register``, which begins no earlier; None where they are apart."""
    end = batch.address + batch.count
    count = max(end, register.address + register.words) - batch.address
    if register.address > end or count > _MOST[batch.function]:
        return None
    return Batch(
        batch.unit_id,
        batch.function,
        batch.address,
        count,
        batch.poll,
        {**batch.registers, name: register},
    )


class Timetable:
    """When each batch is due; one that was late is not made up for."""

    def __init__(self, planned: Iterator[Batch]) -> None:
        self._batches = list(planned)
        self._due: list[float] = []

    def first(self, now: float) -> tuple[Batch | None, float | None]:
        """Return a batch that is due at ``now``, if any, and when the next is."""
        if not self._batches:
            return None, None
        self._begin(now)
        due = min(self._due)
        if due > now:
            return None, due
        number = self._due.index(due)
        batch = self._batches[number]
        following = due + batch.poll
        self._due[number] = following if following > now else now + batch.poll
        return batch, min(self._due)

    def put_off(self, unit_id: int, until: float) -> float:
        """Ask nothing of a slave before ``until``; return when the next batch is due."""
        self._begin(until)
        for number, batch in enumerate(self._batches):
            if batch.unit_id == unit_id:
                self._due[number] = max(until, self._due[number])
        return min(self._due)

    def _begin(self, now: float) -> None:
        if not self._due:
            self._due = [now] * len(self._batches)
