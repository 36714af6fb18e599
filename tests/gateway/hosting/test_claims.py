"""Each plugged-in device is one device's of ours, and a clash names both."""

from __future__ import annotations

import pytest

from gateway.errors import RefusedError
from gateway.hosting.claims import Claim, Claims
from tests.gateway.hosting.plugging import tty

BOARD = tty(0)
USB = BOARD.ancestors[1].sys_path


def test_a_claim_is_exclusive_and_the_clash_names_both() -> None:
    claims = Claims()
    claims.take("left", Claim("/dev/ttyACM0", BOARD.sys_path))
    with pytest.raises(RefusedError) as raised:
        claims.take("right", Claim("/dev/ttyACM0", BOARD.sys_path))
    assert "'left'" in str(raised.value)
    assert "'right'" in str(raised.value)
    assert "/dev/ttyACM0" in str(raised.value)
    assert claims.of("right") is None
    claims.give_back("left")
    claims.take("right", Claim("/dev/ttyACM0", BOARD.sys_path))


def test_who_has_it_may_take_it_again_and_something_else_instead() -> None:
    claims = Claims()
    claims.take("left", Claim("/dev/ttyACM0", BOARD.sys_path))
    claims.take("left", Claim("/dev/ttyACM0", BOARD.sys_path))
    claims.take("left", Claim("/dev/ttyACM1", tty(1).sys_path))
    assert claims.is_free("right", Claim("/dev/ttyACM0", BOARD.sys_path))
    assert set(claims.holders()) == {"left"}


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (Claim("", USB), Claim("/dev/ttyACM0", BOARD.sys_path), True),
        (Claim("", f"{USB}/1-1:1.0"), Claim("/dev/ttyACM0", BOARD.sys_path), True),
        (Claim("", f"{USB}/1-1:1.1"), Claim("/dev/ttyACM0", BOARD.sys_path), False),
        (Claim("", f"{USB}0"), Claim("/dev/ttyACM0", BOARD.sys_path), False),
        (Claim("/dev/ttyACM0"), Claim("/dev/ttyACM0", BOARD.sys_path), True),
        (Claim("/dev/pts/7"), Claim("/dev/ttyACM0", BOARD.sys_path), False),
        (Claim("", USB), Claim("/dev/ttyACM0"), False),
    ],
)
def test_what_hangs_on_what_is_one_thing_and_two_interfaces_are_two(
    one: Claim, other: Claim, clash: bool
) -> None:
    for first, second in ((one, other), (other, one)):
        claims = Claims()
        claims.take("left", first)
        assert claims.is_free("right", second) is not clash
