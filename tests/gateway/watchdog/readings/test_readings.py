"""Readers against recorded machines: what is there, what is absent, what is broken."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.watchdog.machine import read_machine
from gateway.watchdog.reading import Reading, aged
from gateway.watchdog.readings import (
    clock_sync,
    disk,
    load,
    memory,
    power,
    temperature,
    uptime,
)
from tests.gateway.watchdog.readings.trees import PI_4, plant

Read = Callable[[Path, float], Reading]

ALL: list[Read] = [uptime.read, load.read, memory.read, temperature.read, power.read]


def value(reading: Reading) -> dict[str, Any]:
    assert reading.quality == "good", reading.reason
    assert reading.value is not None
    return reading.value


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    return plant(tmp_path, PI_4)


def test_a_raspberry_pi_tells_all_of_it(pi: Path) -> None:
    assert value(uptime.read(pi, 7.0)) == {"seconds": 35043.16}
    assert value(load.read(pi, 7.0)) == {"1m": 0.52, "5m": 0.61, "15m": 0.58, "cores": 4}
    assert value(memory.read(pi, 7.0)) == {
        "total": 3882636 * 1024,
        "available": 3235668 * 1024,
        "swap_total": 102396 * 1024,
        "swap_free": 102396 * 1024,
    }
    assert value(temperature.read(pi, 7.0)) == {
        "celsius": 48.686,
        "zones": {"cpu-thermal": 48.686},
        "unread": 0,
    }
    assert {name for name, held in value(power.read(pi, 7.0)).items() if held} == {
        "under_voltage_since_start",
        "throttled_since_start",
    }
    assert uptime.read(pi, 7.0).at == 7.0


@pytest.mark.parametrize("read", ALL)
def test_a_machine_without_the_file_is_never_a_zero(read: Read, tmp_path: Path) -> None:
    reading = read(tmp_path, 7.0)
    assert reading.value is None
    assert reading.quality in ("absent", "failed")
    assert reading.reason


@pytest.mark.parametrize("read", ALL)
@pytest.mark.parametrize(
    "text", ["", "\n", "nonsense", "MemTotal:\n", "1 2", "\x00\xff", "nan inf nan"]
)
def test_a_file_of_nonsense_is_a_reading_that_failed(read: Read, text: str, tmp_path: Path) -> None:
    reading = read(plant(tmp_path, dict.fromkeys(PI_4, text)), 7.0)
    # "1 2" is a fine uptime; whatever is no value says why.
    assert (reading.quality, read) == ("good", uptime.read) or reading.value is None
    assert bool(reading.reason) == (reading.value is None)


# Temperature


def test_the_hottest_zone_counts_and_zones_of_one_kind_are_told_apart(tmp_path: Path) -> None:
    files = {}
    for number, millidegrees in enumerate((40000, 71500, 55000)):
        files[f"sys/class/thermal/thermal_zone{number}/type"] = "acpitz\n"
        files[f"sys/class/thermal/thermal_zone{number}/temp"] = f"{millidegrees}\n"
    found = value(temperature.read(plant(tmp_path, files), 0.0))
    assert found["celsius"] == 71.5
    assert found["zones"] == {"acpitz": 40.0, "acpitz-1": 71.5, "acpitz-2": 55.0}


def test_a_zone_without_a_sensor_is_left_out_and_not_a_temperature(tmp_path: Path) -> None:
    files = {
        "sys/class/thermal/thermal_zone0/type": "cpu\n",
        "sys/class/thermal/thermal_zone0/temp": "50000\n",
        "sys/class/thermal/thermal_zone1/type": "iwlwifi\n",
        "sys/class/thermal/thermal_zone1/temp": "-274000\n",
    }
    found = value(temperature.read(plant(tmp_path, files), 0.0))
    assert (found["zones"], found["unread"]) == ({"cpu": 50.0}, 1)
    del files["sys/class/thermal/thermal_zone0/temp"]
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").unlink()
    assert temperature.read(tmp_path, 0.0).quality == "failed"


# Power


@pytest.mark.parametrize(
    ("bits", "held"),
    [
        (0x0, set()),
        (0x1, {"under_voltage"}),
        (0x2, {"frequency_capped"}),
        (0x4, {"throttled"}),
        (0x8, {"hot"}),
        (0x10000, {"under_voltage_since_start"}),
        (0x50005, {"under_voltage", "throttled"}
         | {"under_voltage_since_start", "throttled_since_start"}),
    ],
)  # fmt: skip
def test_the_bits_of_the_firmware(bits: int, held: set[str]) -> None:
    assert {name for name, on in power.decoded(bits).items() if on} == held


def test_the_alarm_of_hwmon_is_enough_and_what_it_cannot_know_is_not_false(
    tmp_path: Path,
) -> None:
    files = {name: text for name, text in PI_4.items() if "firmware" not in name}
    files["sys/class/hwmon/hwmon1/in0_lcrit_alarm"] = "1\n"
    found = value(power.read(plant(tmp_path, files), 0.0))
    assert found["under_voltage"] is True
    assert found["throttled"] is None
    assert found["under_voltage_since_start"] is None


def test_an_alarm_of_another_chip_is_not_ours(tmp_path: Path) -> None:
    files = {
        "sys/class/hwmon/hwmon0/name": "nct6775\n",
        "sys/class/hwmon/hwmon0/in0_lcrit_alarm": "1\n",
    }
    assert power.read(plant(tmp_path, files), 0.0).quality == "absent"


# Disk


def result(**fields: int) -> Callable[[Path], os.statvfs_result]:
    known = {"bsize": 4096, "frsize": 1024, "blocks": 1000, "bfree": 200, "bavail": 100}
    known |= {"files": 50, "ffree": 40, "favail": 30, "flag": 0, "namemax": 255}
    known |= fields
    return lambda path: os.statvfs_result(known.values())


def test_a_disk_is_counted_in_fragments_and_by_what_is_free_for_us(pi: Path) -> None:
    found = value(disk.read(pi, 0.0, "/var/lib/gateway", result()))
    assert found == {
        "path": "/var/lib/gateway",
        "type": "ext4",
        "total": 1000 * 1024,
        "free": 100 * 1024,
        "inodes": 50,
        "inodes_free": 30,
        "read_only": False,
    }
    assert value(disk.read(pi, 0.0, "/run/gateway", result()))["type"] == "tmpfs"


def test_a_folder_that_is_not_there_yet_is_judged_by_the_one_above(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    assert value(disk.read(tmp_path, 0.0, "/var/lib/gateway"))["path"] == "/var"
    assert value(disk.read(tmp_path, 0.0, "/srv/x"))["path"] == "/"


def test_a_read_only_disk_says_so(pi: Path) -> None:
    found = value(disk.read(pi, 0.0, "/var/lib/gateway", result(flag=os.ST_RDONLY)))
    assert found["read_only"] is True


def test_a_disk_that_cannot_be_asked_has_failed(pi: Path) -> None:
    def broken(path: Path) -> os.statvfs_result:
        raise OSError(5, "Input/output error")

    reading = disk.read(pi, 0.0, "/var/lib/gateway", broken)
    assert (reading.value, reading.quality) == (None, "failed")
    assert "Input/output error" in reading.reason


# Clock


def test_the_clock_is_set_where_timesyncd_or_the_kernel_says_so(
    pi: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bare = tmp_path_factory.mktemp("bare")
    assert value(clock_sync.read(pi, 0.0, lambda: 16_000_000)) == {
        "synchronized": True,
        "by": "timesyncd",
        "error_seconds": None,
    }
    assert value(clock_sync.read(bare, 0.0, lambda: 2500)) == {
        "synchronized": True,
        "by": "kernel",
        "error_seconds": 0.0025,
    }
    assert value(clock_sync.read(bare, 0.0, lambda: 16_000_000))["synchronized"] is False


def test_a_kernel_that_does_not_tell_is_no_synchronized_clock(tmp_path: Path) -> None:
    def refused() -> int:
        raise OSError(1, "not permitted")

    assert clock_sync.read(tmp_path, 0.0, refused).quality == "failed"


def test_the_kernel_of_this_machine_answers() -> None:
    assert 0 <= clock_sync.kernel_error() <= 16_000_000


# All of it


def test_this_very_machine_is_read_without_a_failure() -> None:
    readings = read_machine(Path("/"), 7.0, state="/var/lib/gateway", sockets="/run")
    assert {name for name, each in readings.items() if each.quality == "failed"} == set()
    for name in ("uptime", "load", "memory", "disk_state"):
        assert readings[name].quality == "good"


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_an_age_is_never_negative_and_an_old_reading_is_stale(at: float, now: float) -> None:
    found = aged(Reading({}, at), now, stale_after=30.0)
    assert found.age >= 0
    assert (found.quality == "stale") == (max(0.0, now - at) > 30.0)


def test_what_is_absent_does_not_become_stale() -> None:
    assert aged(Reading(None, 0.0, "absent", "no Pi"), 1e6, 30.0).quality == "absent"


def test_a_folder_that_cannot_be_looked_at_is_judged_by_the_one_above(tmp_path: Path) -> None:
    # As a card that fails answers EIO, a name that is too long is no plain "not there".
    (tmp_path / "var").mkdir()
    reading = disk.read(tmp_path, 7.0, f"/var/{'x' * 300}/gateway")
    assert value(reading)["path"] == "/var"


def test_a_file_of_timesyncd_that_cannot_be_looked_at_is_none(tmp_path: Path) -> None:
    root = tmp_path / ("x" * 300)
    assert value(clock_sync.read(root, 7.0, lambda: 16_000_000))["synchronized"] is False
