"""Neighbours are read together, each register as often as it says, and nothing spins."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus_rtu.plan import Batch, Timetable, batches
from drivers.modbus_rtu.settings import ModbusRegister


def declared(**registers: dict[str, Any]) -> dict[str, ModbusRegister]:
    return {name: ModbusRegister(**keys) for name, keys in registers.items()}


def planned(**registers: dict[str, Any]) -> list[tuple[int, str, int, int]]:
    return [
        (each.unit_id, each.function, each.address, each.count)
        for each in batches(declared(**registers))
    ]


def test_what_touches_is_read_together() -> None:
    assert planned(
        a={"address": 2}, b={"address": 0, "type": "uint32"}, c={"address": 3, "type": "float32"}
    ) == [(1, "holding", 0, 5)]


def test_one_address_may_have_two_names() -> None:
    assert planned(a={"address": 7}, b={"address": 7, "type": "int16"}) == [(1, "holding", 7, 1)]


def test_gaps_other_slaves_other_functions_and_other_times_are_read_apart() -> None:
    assert planned(
        a={"address": 0},
        b={"address": 2},
        c={"address": 3, "function": "input"},
        d={"address": 4, "unit_id": 2},
        e={"address": 3, "poll": 5.0},
    ) == [
        (1, "holding", 0, 1),
        (1, "holding", 2, 1),
        (1, "holding", 3, 1),
        (1, "input", 3, 1),
        (2, "holding", 4, 1),
    ]


def test_what_is_read_only_when_asked_is_not_planned() -> None:
    assert planned(a={"address": 0, "poll": 0.0}) == []
    assert Timetable(iter(())).first(10.0) == (None, None)


def test_no_question_asks_for_more_than_an_answer_can_hold() -> None:
    many = {f"r{place}": {"address": place} for place in range(300)}
    assert [count for *_, count in planned(**many)] == [125, 125, 50]
    bits = {f"c{place}": {"address": place, "function": "coil"} for place in range(2100)}
    assert [count for *_, count in planned(**bits)] == [2000, 100]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 400), st.sampled_from(["uint16", "float32"]), st.sampled_from([1, 2])
        ),
        max_size=40,
    )
)
def test_every_register_is_in_one_batch_and_whole(rows: list[tuple[int, Any, int]]) -> None:
    registers = {
        f"r{place}": ModbusRegister(address=address, type=kind, unit_id=unit)
        for place, (address, kind, unit) in enumerate(rows)
    }
    seen: list[str] = []
    for batch in batches(registers):
        assert batch.count <= 125
        for name, register in batch.registers.items():
            seen.append(name)
            assert batch.address <= register.address
            assert register.address + register.words <= batch.address + batch.count
    assert sorted(seen) == sorted(registers)


def run(timetable: Timetable, until: float, takes: float = 0.0) -> list[tuple[float, int]]:
    """Ask as the driver does, each question taking so long; return when which was asked."""
    asked: list[tuple[float, int]] = []
    now = 0.0
    while now < until:
        batch, due = timetable.first(now)
        assert due is not None
        if batch is None:
            assert due > now, "it would spin"
            now = due
            continue
        asked.append((now, batch.address))
        now += takes
    return asked


def test_each_is_asked_as_often_as_it_says() -> None:
    timetable = Timetable(
        batches(declared(fast={"address": 0, "poll": 1.0}, slow={"address": 9, "poll": 4.0}))
    )
    asked = run(timetable, 8.0)
    assert [at for at, address in asked if address == 0] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert [at for at, address in asked if address == 9] == [0, 4]


def test_a_line_that_is_too_slow_for_its_polls_serves_all_of_them() -> None:
    registers = {f"r{place}": {"address": 10 * place, "poll": 0.1} for place in range(5)}
    asked = run(Timetable(batches(declared(**registers))), 10.0, takes=0.2)
    counts = [sum(address == 10 * place for _, address in asked) for place in range(5)]
    assert max(counts) - min(counts) <= 1
    assert sum(counts) >= 50


def test_what_was_missed_while_nobody_asked_is_not_made_good() -> None:
    timetable = Timetable(batches(declared(a={"address": 0})))
    timetable.first(0.0)
    batch, due = timetable.first(100.3)
    assert batch is not None
    assert due == 101.3


def test_a_slave_that_is_put_off_lets_the_others_go_on() -> None:
    timetable = Timetable(
        batches(declared(a={"address": 0}, b={"address": 0, "unit_id": 2}, c={"address": 9}))
    )
    first, _ = timetable.first(0.0)
    assert first is not None
    assert first.unit_id == 1
    assert timetable.put_off(1, 5.0) == 0.0
    asked: list[Batch] = []
    now = 0.0
    while now < 5.0:
        batch, due = timetable.first(now)
        assert due is not None
        if batch is None:
            now = due
        else:
            asked.append(batch)
    assert {batch.unit_id for batch in asked} == {2}
    assert timetable.first(5.0)[0] is not None
