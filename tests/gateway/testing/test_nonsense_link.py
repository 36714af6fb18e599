"""Control transfers are answered nearly right, and refused now and then."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from gateway.clock import VirtualClock
from gateway.device.usb import ControlRequest
from gateway.errors import CallTimeoutError, GatewayError, RefusedError
from gateway.testing.nonsense_host import NonsenseHost
from gateway.testing.nonsense_link import NonsenseLink
from gateway.testing.strangers import Mute
from tests.gateway.testing.meter import LEVEL, RANGE, MeterBoard


def test_answers_are_spoilt_within_what_was_asked_for() -> None:
    link = NonsenseLink(MeterBoard(VirtualClock()), Random(3))
    answers: Counter[object] = Counter()
    for _ in range(400):
        try:
            answer = link.control_in(ControlRequest(LEVEL), 2, 1.0)
        except GatewayError as error:
            answers[type(error)] += 1
        else:
            answers[len(answer)] += 1
    assert set(answers) == {0, 1, 2, RefusedError, CallTimeoutError}
    assert min(answers.values()) > 10


def test_what_is_told_reaches_the_board_most_of_the_time() -> None:
    board = MeterBoard(VirtualClock())
    link = NonsenseLink(board, Random(3))
    refused = 0
    for _ in range(100):
        try:
            link.control_out(ControlRequest(RANGE), b"\1", 1.0)
        except GatewayError:
            refused += 1
    assert 10 < refused < 45
    assert len(board.asked) == 100 - refused


def test_descriptors_say_anything() -> None:
    link = NonsenseLink(MeterBoard(VirtualClock()), Random(3))
    told = [link.identity() for _ in range(50)]
    assert len({each.name for each in told}) > 25
    assert len({each.vendor for each in told}) > 25


def test_a_board_that_is_not_on_usb_has_none() -> None:
    with pytest.raises(RefusedError, match="no control endpoint"):
        NonsenseHost(Mute(), Random(3)).control_link()
