"""Which rate is tried when, and which one is remembered."""

from __future__ import annotations

import pytest

from routes.serial.baud_detection import Rates


def test_one_rate_is_no_guess() -> None:
    rates = Rates([9600])
    assert (rates.begin(), rates.next(), rates.tried, len(rates)) == (9600, 9600, "", 1)


def test_the_likeliest_is_tried_first_and_after_the_last_comes_the_first_again() -> None:
    rates = Rates([3, 2, 1])
    assert [rates.begin(), *(rates.next() for _ in range(5))] == [3, 2, 1, 3, 2, 1]


def test_what_was_tried_is_told_in_order() -> None:
    rates = Rates([300, 200, 100])
    rates.begin()
    assert rates.tried == "300 baud"
    rates.next()
    assert rates.tried == "300 and 200 baud"
    for _ in range(5):
        rates.next()
    assert rates.tried == "300, 200 and 100 baud"
    rates.begin()
    assert rates.tried == "300 baud"


def test_what_proved_comes_first_from_then_on_and_the_others_keep_their_order() -> None:
    rates = Rates([4, 3, 2, 1])
    rates.begin()
    rates.next()
    rates.next()
    rates.proven()
    assert [rates.begin(), *(rates.next() for _ in range(3))] == [2, 4, 3, 1]


def test_a_port_without_rates_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="needs a rate"):
        Rates([])
