from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway import plugins
from gateway.cli.simulation.plan import Planned, in_words, plan, why_not_at
from gateway.config.loading import load
from gateway.config.mistake import ConfigErrors
from gateway.config.schema import Configuration

HEAD = "[routes.serial]\n[routes.usb]\n"
BENCH = "drivers.bench_board.simulator:SimulatedBoard"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "links").mkdir()
    return tmp_path / "links"


def loaded(folder: Path, text: str) -> Configuration:
    file = folder.parent / "gateway.toml"
    file.write_text(HEAD + text.replace("HERE", str(folder.parent)))
    return load(file, find=plugins.find)


def planned(folder: Path, text: str, *only: str) -> list[Planned]:
    return plan(loaded(folder, text), folder, plugins.find, only)


def test_a_device_stands_at_its_own_port_where_nothing_is(folder: Path) -> None:
    (made,) = planned(folder, '[devices.bench]\ndriver = "bench_board"\nport = "HERE/bench"\n')
    link = str(folder.parent / "bench")
    assert made == Planned("bench", "bench_board", BENCH, link, "port", True)
    assert list(in_words([made])) == [f"bench  {link}"]


@pytest.mark.parametrize(
    ("where", "key", "why"),
    [
        ('match = { ID_VENDOR_ID = "1546" }', "port", "it is found by a match"),
        ('port = "socket://plant:4000"', "port", "socket://plant:4000 is on another machine"),
        ('port = "/no/such/folder/tty"', "port", "there is no folder /no/such/folder"),
        ('port = "/dev/null"', "port", "something is at /dev/null"),
    ],
)
def test_where_it_cannot_it_stands_in_the_folder_and_says_what_to_write(
    folder: Path, where: str, key: str, why: str
) -> None:
    (made,) = planned(folder, f'[devices.bench]\ndriver = "bench_board"\n{where}\n')
    link = str(folder / "bench")
    assert made == Planned("bench", "bench_board", BENCH, link, key, False, why)
    assert list(in_words([made])) == [f'bench  {link}  ({why}: write port = "{link}")']


def test_a_usb_device_stands_behind_a_socket(folder: Path) -> None:
    text = '[devices.{0}]\ndriver = "barcode_scanner"\nroute = "usb"\n{1}\n'
    first, second = planned(
        folder,
        text.format("till", 'match = { idVendor = "05e0" }')
        + text.format("desk", 'simulated = "HERE/desk"'),
    )
    assert (first.key, first.link, first.is_in_place) == ("simulated", f"{folder}/till", False)
    assert (second.link, second.is_in_place) == (f"{folder.parent}/desk", True)


def test_only_those_that_are_named_are_planned(folder: Path) -> None:
    text = "".join(
        f'[devices.{name}]\ndriver = "bench_board"\nport = "HERE/{name}"\n' for name in "abc"
    )
    assert [each.name for each in planned(folder, text, "c", "a")] == ["a", "c"]
    with pytest.raises(ConfigErrors, match="there is no device 'd'; one of: a, b, c"):
        planned(folder, text, "d")


def mistakes(folder: Path, text: str, find: Any = plugins.find) -> list[str]:
    configuration = loaded(folder, text)
    with pytest.raises(ConfigErrors) as refusal:
        plan(configuration, folder, find)
    return [str(mistake).removeprefix(f"{folder.parent}/") for mistake in refusal.value.mistakes]


def test_a_driver_without_a_simulator_is_told_with_its_line(folder: Path) -> None:
    class Bare:
        """A driver that ships none."""

    def find(group: str, name: str) -> Any:
        return Bare

    text = '[devices.a]\ndriver = "bench_board"\nport = "/x/a"\n[devices.b]\n'
    text += 'driver = "nmea_gps"\nport = "/x/b"\n'
    others = "simulate the others: --only NAME, once for each"
    assert mistakes(folder, text, find) == [
        f"gateway.toml:4: devices.a.driver: the driver 'bench_board' ships no simulator; {others}",
        f"gateway.toml:7: devices.b.driver: the driver 'nmea_gps' ships no simulator; {others}",
    ]


def test_a_route_that_takes_no_simulated_device_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from routes.usb.settings import UsbSettings

    monkeypatch.setattr(UsbSettings, "simulated_by", "")
    text = '[devices.till]\ndriver = "barcode_scanner"\nroute = "usb"\nsimulated = "/x"\n'
    (mistake,) = mistakes(folder, text)
    assert mistake.startswith(
        "gateway.toml:5: devices.till.route: nothing on the route 'usb' can be simulated; simulate"
    )


def test_two_devices_at_one_port_are_told(folder: Path) -> None:
    text = "".join(
        f'[devices.{name}]\ndriver = "bench_board"\nport = "HERE/port"\n' for name in "ab"
    )
    (mistake,) = mistakes(folder, text)
    assert mistake.startswith("gateway.toml:8: devices.b.port: 'a' is at ")
    assert mistake.endswith("already; give it a port of its own")


def test_without_devices_there_is_nothing_to_simulate(folder: Path) -> None:
    assert mistakes(folder, "") == ["no devices are configured; add some"]


# What is there is not touched


def test_what_an_earlier_simulation_left_behind_is_nothing(tmp_path: Path) -> None:
    link, path = tmp_path / "link", tmp_path / "socket"
    link.symlink_to("/dev/pts/no-such")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        assert why_not_at(path) == f"something is at {path}"
    assert why_not_at(path) == ""
    assert why_not_at(link) == ""
    path.unlink()


def test_what_leads_somewhere_may_be_real(tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to("/dev/null")
    file.touch()
    assert why_not_at(link) == f"something is at {link}"
    assert why_not_at(file) == f"something is at {file}"


def test_a_folder_that_is_not_ours_to_write_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert why_not_at(tmp_path / "port") == f"this user may not write in {tmp_path}"
    assert why_not_at(Path("/proc/self/status/x")) == "/proc/self/status/x: Not a directory"
