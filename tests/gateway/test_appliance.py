"""The application that a configuration describes."""

from __future__ import annotations

import pytest

from gateway.appliance import MOVES, Appliance
from gateway.config.provenance import Provenance
from gateway.config.schema import Configuration, DeviceConfig, GatewaySettings, NoSettings


@pytest.mark.parametrize(("devices", "size"), [(0, 256), (1, 256), (200, 200 * MOVES)])
def test_mailboxes_have_room_for_what_every_device_tells_at_the_start(
    devices: int, size: int
) -> None:
    configuration = Configuration(
        gateway=GatewaySettings(),
        routes={},
        devices={
            f"d{number}": DeviceConfig(
                name=f"d{number}", driver="x", route="y", link=NoSettings(), settings=NoSettings()
            )
            for number in range(devices)
        },
        provenance=Provenance(),
    )
    assert Appliance(configuration).mailbox_size == size
