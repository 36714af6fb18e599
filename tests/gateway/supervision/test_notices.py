"""What the boss keeps of levels and taps."""

from __future__ import annotations

import pytest

from gateway.bus.tapping import Tap
from gateway.errors import AddressError, ConfigError, GatewayError, RefusedError
from gateway.process.log_stream import LogStream
from gateway.process.shared_tap import LEASE
from gateway.supervision.notices import MOST, Notices

TAP = Tap("tap@door")


def set_level(notices: Notices, name: str, level: str) -> None:
    notices.set_level(name, level, processes=["serial", "mqtt"], loggers=["gateway.bus.office"])


def test_at_the_start_the_book_carries_nothing() -> None:
    assert Notices().as_data() == {}


def test_a_level_is_for_all_for_a_process_or_for_a_logger_and_those_below() -> None:
    notices = Notices()
    set_level(notices, "", "info")
    set_level(notices, "serial", "debug")
    set_level(notices, "gateway.bus", "error")
    assert notices.as_data() == {
        "log_levels": {
            "default": "info",
            "processes": {"serial": "debug"},
            "loggers": {"gateway.bus": "error"},
        }
    }
    for name in ("", "serial", "gateway.bus"):
        set_level(notices, name, "default")
    assert notices.as_data() == {}


def test_what_is_no_level_or_nobodys_name_is_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="'loud' is no level: use debug"):
        set_level(Notices(), "serial", "loud")
    with pytest.raises(AddressError, match="did you mean 'serial'"):
        set_level(Notices(), "serail", "debug")
    with pytest.raises(AddressError, match="there are serial, mqtt"):
        set_level(Notices(), "zzz", "debug")


def test_a_tap_stands_for_its_lease_unless_it_is_renewed() -> None:
    notices = Notices()
    notices.tap("door", "1", TAP, 0.0)
    assert notices.due == LEASE
    notices.renew("somebody", 10.0)
    notices.renew("door", 10.0)
    assert not notices.expire(LEASE)
    assert notices.as_data()["taps"]["door/1"]["mailbox"] == "tap@door"
    assert notices.expire(10.0 + LEASE)
    assert notices.as_data() == {}
    assert notices.due is None


def test_a_tap_is_ended_by_its_owner_alone_and_with_it() -> None:
    notices = Notices()
    for id in ("1", "2", "3"):
        notices.tap("door", id, TAP, 0.0)
    assert not notices.untap("panel", "1")
    assert notices.untap("door", "1")
    assert list(notices.as_data()["taps"]) == ["door/2", "door/3"]
    assert notices.untap("door")
    assert notices.as_data() == {}


def test_taps_are_bounded() -> None:
    notices = Notices()
    for id in range(MOST):
        notices.tap("door", str(id), TAP, 0.0)
    with pytest.raises(RefusedError, match="watched by 16"):
        notices.tap("door", "x", TAP, 0.0)
    notices.untap("door", "3")
    with pytest.raises(RefusedError, match="already"):
        notices.tap("door", "4", TAP, 0.0)


def test_the_log_is_streamed_until_its_time_is_over_and_warnings_for_ever() -> None:
    notices = Notices()
    stream = LogStream("debug", 10, "health")
    notices.stream_log("health", stream, 60.0, 100.0)
    assert notices.due == 160.0
    assert notices.as_data()["log_stream"] == {
        "level": "debug",
        "rate": 10,
        "warnings_to": "health",
    }
    assert not notices.end_stream(159.0)
    assert notices.end_stream(160.0)
    assert notices.as_data()["log_stream"]["level"] == ""
    assert notices.due is None


def test_what_is_streamed_ends_with_its_owner() -> None:
    notices = Notices()
    notices.stream_log("health", LogStream("debug"), 60.0, 0.0)
    notices.untap("somebody")
    notices.untap("health", "a tap of its own")
    assert notices.as_data() != {}
    notices.untap("health")
    assert notices.as_data() == {}
    notices.stream_log("other", LogStream("info"), 60.0, 0.0)


@pytest.mark.parametrize(
    ("owner", "stream", "seconds", "said"),
    [
        ("other", LogStream("info"), 1.0, "streamed by 'health' already"),
        ("health", LogStream("loud"), 1.0, "is no level"),
        ("health", LogStream("info"), 0.0, "is no lease"),
        ("health", LogStream("info"), 3601.0, "is no lease"),
        ("health", LogStream("info"), float("nan"), "is no lease"),
        ("health", LogStream("info", 0), 1.0, "are none"),
    ],
)
def test_what_cannot_be_streamed_is_refused_and_leaves_all_as_it_was(
    owner: str, stream: LogStream, seconds: float, said: str
) -> None:
    notices = Notices()
    notices.stream_log("health", LogStream(warnings_to="health"), 1.0, 0.0)
    before = notices.as_data()
    with pytest.raises(GatewayError, match=said):
        notices.stream_log(owner, stream, seconds, 0.0)
    assert notices.as_data() == before
