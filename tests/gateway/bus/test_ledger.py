"""Counts that others see too, and what they say of a reader that cannot be asked any more."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.lanes import Lanes
from gateway.bus.ledger import (
    ACCEPTED,
    DELIVERED,
    PASSED_ON,
    ROW,
    TAKEN_IN,
    TAKING,
    Balance,
    SharedLedgers,
    balance,
    balance_from_afar,
    balance_of_the_dead,
)
from gateway.errors import GatewayError
from gateway.mail.message import Message


def letter(number: int) -> Message:
    return Message(str(number), str(number), 1, 0.0, "main", "worker", "hello")


def test_what_a_forked_reader_counts_is_seen_here_also_after_its_death() -> None:
    ledgers = SharedLedgers(2)
    row = ledgers.row(ledgers.claim())
    pid = os.fork()
    if pid == 0:
        lanes = Lanes(10, "fifo", counts=row)
        for number in range(3):
            lanes.push_letter(letter(number))
        lanes.pop()
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    found = balance_of_the_dead(row)
    assert found == Balance(accepted=3, delivered=1, lost_with_reader=2)
    assert found.is_balanced


def test_a_letter_between_the_socket_and_the_ledger_is_in_doubt() -> None:
    ledgers = SharedLedgers(1)
    row = ledgers.row(ledgers.claim())
    row[ACCEPTED], row[DELIVERED], row[TAKING] = 5, 5, 1
    assert balance_from_afar(row).in_doubt == 0, "it lives: it counts it in a moment"
    assert balance_of_the_dead(row).in_doubt == 1


def test_what_a_reader_was_killed_over_in_the_middle_of_a_crowd_is_counted() -> None:
    ledgers = SharedLedgers(1)
    row = ledgers.row(ledgers.claim())
    lanes = Lanes(10, "fifo", counts=row)
    row[TAKEN_IN] += 2
    lanes.drained += [letter(1), letter(2)]
    lanes.take_in()
    lanes.pop()
    # Three more came from the socket, and it died before they had a lane.
    row[TAKEN_IN] += 3
    row[TAKING] = 1
    found = balance_of_the_dead(row)
    assert found == Balance(accepted=5, delivered=1, lost_with_reader=4, in_doubt=1)
    assert found.is_balanced


def test_a_row_begins_with_zeros_and_is_nobody_elses() -> None:
    ledgers = SharedLedgers(2)
    first, second = ledgers.claim(), ledgers.claim()
    for index in range(ROW):
        ledgers.row(first)[index] = 7
    assert list(ledgers.row(second)) == [0] * ROW
    with pytest.raises(GatewayError, match="too many mailboxes"):
        ledgers.claim()
    ledgers.release(first)
    assert list(ledgers.row(ledgers.claim())) == [0] * ROW


@given(st.lists(st.sampled_from(["push", "take", "pop", "pass", "expire", "drop"]), max_size=60))
def test_from_afar_and_from_near_it_is_the_same_balance(steps: list[str]) -> None:
    lanes = Lanes(1000, "fifo")
    for number, step in enumerate(steps):
        if step == "push":
            lanes.push_letter(letter(number))
        elif step == "take":
            lanes.counts[TAKEN_IN] += 2
            lanes.drained += [letter(number), letter(-number)]
            lanes.take_in()
        elif step == "pass":
            lanes.counts[PASSED_ON] += 1
        elif step == "pop":
            lanes.pop()
        elif step == "expire" and lanes.pop() is not None:
            lanes.expire()
        elif step == "drop":
            lanes.drop_oldest()
        near = balance(lanes.counts, lanes.queued)
        assert near == balance_from_afar(lanes.counts)
        assert near.is_balanced
