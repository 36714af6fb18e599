"""Asking a gateway that runs, and one that does not."""

from __future__ import annotations

from pathlib import Path

from gateway.cli.inventory.house import House, HousedDevice, ask
from tests.gateway.cli.conftest import house, running_house
from tests.gateway.cli.house import INFO
from tests.gateway.cli.house import House as RunningHouse

__all__ = ["house", "running_house"]


def test_all_that_is_retained_of_each_device_is_brought(house: RunningHouse) -> None:
    known = ask(None)
    assert known.trouble == ""
    assert list(known.devices) == ["board", "scanner"]
    board, scanner = known.devices.values()
    assert board.state["state"] == "healthy"
    assert (board.claim, board.info, board.node) == (None, None, "")
    assert scanner.node == "/dev/ttyACM7"
    assert scanner.info == INFO
    assert scanner.moves is not None
    assert scanner.moves["counts"] == {"absent": 1}


def test_a_gateway_that_does_not_run_is_an_answer(tmp_path: Path) -> None:
    known = ask(str(tmp_path / "no.sock"))
    assert known.devices == {}
    assert "is the gateway running?" in known.trouble


def test_a_holder_is_known_by_its_node_or_its_folder() -> None:
    board = HousedDevice(name="b", state={}, claim={"node": "/dev/x", "path": "/sys/x"})
    network = HousedDevice(name="n", state={})
    known = House(devices={"n": network, "b": board})
    assert known.holder("/dev/x", "") is board
    assert known.holder("", "/sys/x") is board
    assert known.holder("", "") is None
    assert known.holder("/dev/y", "/sys/y") is None
