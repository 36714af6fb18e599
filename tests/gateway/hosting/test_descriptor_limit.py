"""Room for many devices is made, as far as the machine allows it."""

from __future__ import annotations

import resource

import pytest

from gateway.hosting.descriptor_limit import BESIDES, EACH, make_room_for


class Limits:
    """Stands in for the kernel's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
        self.now = (soft, hard)
        monkeypatch.setattr(resource, "getrlimit", lambda which: self.now)
        monkeypatch.setattr(resource, "setrlimit", self.set)

    def set(self, which: int, limits: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE
        self.now = limits


def test_what_is_enough_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(monkeypatch, 1024, 4096)
    assert make_room_for(10) == 1024
    assert limits.now == (1024, 4096)


@pytest.mark.parametrize("hard", [500_000, resource.RLIM_INFINITY])
def test_the_soft_limit_is_raised_for_many(monkeypatch: pytest.MonkeyPatch, hard: int) -> None:
    limits = Limits(monkeypatch, 1024, hard)
    needed = BESIDES + 200 * EACH
    assert make_room_for(200) == needed
    assert limits.now == (needed, hard)


def test_where_the_machine_does_not_allow_it_the_log_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(monkeypatch, 1024, 2000)
    assert make_room_for(200) == 2000
    assert limits.now == (2000, 2000)
    assert f"set LimitNOFILE={BESIDES + 200 * EACH} in the unit" in caplog.text


def test_no_limit_needs_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    limits = Limits(monkeypatch, *unlimited)
    assert make_room_for(10_000) == resource.RLIM_INFINITY
    assert limits.now == unlimited
