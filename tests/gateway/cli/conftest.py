"""A running gateway for the commands, one a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.cli.house import House


@pytest.fixture(scope="module")
def running_house(
    tmp_path_factory: pytest.TempPathFactory, private_temporary_folder: object
) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture
def house(running_house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """The gateway that ``GATEWAY_SOCKET`` points to, as for a user."""
    monkeypatch.setenv("GATEWAY_SOCKET", str(running_house.socket))
    return running_house
