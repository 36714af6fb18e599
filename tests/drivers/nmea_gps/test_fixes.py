"""Days from times of day, and groups from the sentences of a group."""

from __future__ import annotations

from datetime import UTC, datetime, time

from hypothesis import given
from hypothesis import strategies as st

from drivers.nmea_gps.fixes import Calendar, GpsSatellite, SatelliteGroups
from drivers.nmea_gps.sentences import Gsv, InView


def part(number: int, of: int, *satellites: int, system: str = "GPS", signal: str = "") -> Gsv:
    views = tuple(InView(satellite, 10, 20, 30) for satellite in satellites)
    return Gsv(system, of, number, 9, views, signal)


def test_the_day_before_midnight_holds_for_what_was_late() -> None:
    calendar = Calendar()
    calendar.heard(datetime(2030, 3, 1, 0, 0, 0, tzinfo=UTC))
    assert calendar.at(time(23, 59, 59, tzinfo=UTC)) == datetime(
        2030, 2, 28, 23, 59, 59, tzinfo=UTC
    )


def test_days_go_on_without_another_date() -> None:
    calendar = Calendar()
    calendar.heard(datetime(2030, 1, 1, 12, tzinfo=UTC))
    for hour in (18, 23, 4, 10, 16, 22, 3):
        last = calendar.at(time(hour, tzinfo=UTC))
    assert last == datetime(2030, 1, 3, 3, tzinfo=UTC)


def test_a_group_is_whole_with_its_last_sentence() -> None:
    groups = SatelliteGroups()
    assert groups.add(part(1, 3, 1, 2)) is None
    assert groups.add(part(2, 3, 3)) is None
    whole = groups.add(part(3, 3, 4))
    assert whole is not None
    assert [each.number for each in whole.satellites] == [1, 2, 3, 4]
    assert whole.satellites[0] == GpsSatellite(1, 10, 20, 30)
    assert (whole.system, whole.in_view) == ("GPS", 9)


def test_systems_and_signals_do_not_mix() -> None:
    groups = SatelliteGroups()
    groups.add(part(1, 2, 1))
    groups.add(part(1, 2, 65, system="GLONASS"))
    groups.add(part(1, 2, 7, signal="5"))
    whole = groups.add(part(2, 2, 2))
    assert whole is not None
    assert [each.number for each in whole.satellites] == [1, 2]


def test_a_group_that_lacks_a_sentence_is_given_up() -> None:
    groups = SatelliteGroups()
    groups.add(part(1, 3, 1))
    assert groups.add(part(3, 3, 3)) is None
    assert groups.add(part(2, 3, 2)) is None
    assert groups.add(part(1, 1, 5)) is not None


@given(
    parts=st.lists(
        st.builds(
            part,
            st.integers(1, 12),
            st.integers(1, 12),
            st.integers(1, 99),
            system=st.sampled_from(["GPS", "GLONASS"]),
            signal=st.text(max_size=3),
        ),
        max_size=200,
    )
)
def test_memory_is_bounded_whatever_comes(parts: list[Gsv]) -> None:
    groups = SatelliteGroups()
    for each in parts:
        groups.add(each)
        assert len(groups._groups) <= 32
        assert all(len(views) <= 9 for views in groups._groups.values())
