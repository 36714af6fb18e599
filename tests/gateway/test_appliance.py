"""The application that a configuration describes, and what it hands to its routes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway import plugins
from gateway.appliance import MOVES, Appliance
from gateway.config.loading import load
from gateway.config.provenance import Provenance
from gateway.config.schema import Configuration, DeviceConfig, GatewaySettings, NoSettings
from gateway.device import Driver, Heartbeat, Identity
from gateway.framing import Line


class PatienceSettings(msgspec.Struct, frozen=True):
    """How long to bear with it."""

    patience: float


class Patient(Driver):
    """A driver whose class depends on its settings."""

    framing = Line()
    Settings = PatienceSettings

    @classmethod
    def configured(cls, settings=None) -> type[Driver]:
        return type("Patient", (cls,), {"heartbeat": Heartbeat(patience=settings.patience)})

    def handshake(self) -> Identity:
        return Identity(firmware="1")


def test_each_device_of_a_route_gets_the_class_that_its_settings_make(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(plugins, "find", lambda group, name: Patient)
    devices = {
        name: DeviceConfig(
            name=name,
            driver="patient",
            route=route,
            link=msgspec.defstruct("Link", [])(),
            settings=PatienceSettings(patience),
        )
        for name, route, patience in [
            ("quick", "serial", 1.0),
            ("slow", "serial", 9.0),
            ("other", "usb", 5.0),
        ]
    }
    configuration = Configuration(
        gateway=GatewaySettings(sockets=str(tmp_path)),
        routes={},
        devices=devices,
        provenance=Provenance(),
    )
    hosted = Appliance(configuration)._devices_of("serial")
    assert [each.name for each in hosted] == ["quick", "slow"]
    assert [each.driver.heartbeat for each in hosted] == [
        Heartbeat(patience=1.0),
        Heartbeat(patience=9.0),
    ]
    assert all(issubclass(each.driver, Patient) for each in hosted)


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


def test_a_route_that_is_born_again_reads_what_was_changed_once_it_is_told_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "gateway.toml"
    text = f"""
[gateway]
sockets = "{tmp_path / "run"}"
[routes.serial]
[devices.bench]
driver = "bench_board"
port = "/dev/ttyUSB0"
"""
    (tmp_path / "run").mkdir()
    file.write_text(text)
    appliance = Appliance(load(file, find=plugins.find), file=str(file))
    appliance.build()

    def ports() -> list[str]:
        devices = appliance.renewed_parameters("serial").get("devices", ())
        return [device.link.port for device in devices]

    file.write_text(text.replace("ttyUSB0", "ttyUSB1"))
    assert ports() == []
    appliance.renew()
    assert ports() == ["/dev/ttyUSB1"]
    assert appliance.renewed_parameters("nobody") == {}
    file.write_text("[routes")
    assert ports() == []
    assert "serial goes on as it was" in caplog.text
    file.write_text(text)
    # A new start has read the newest as it is.
    Appliance(load(file, find=plugins.find), file=str(file)).build()
    assert ports() == []
