"""The application that a configuration describes, and what it hands to its routes."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import plugins
from gateway.appliance import MOVES, Appliance
from gateway.config.loading import load
from gateway.config.provenance import Provenance
from gateway.config.schema import (
    Configuration,
    DeviceConfig,
    GatewaySettings,
    HealthSettings,
    NoSettings,
    RouteConfig,
)
from gateway.device import Driver, Heartbeat, Identity
from gateway.framing import Line
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.routing.router import Router


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
    # A new start has read the newest as it is, and leaves one that runs as it was.
    newer = Appliance(load(file, find=plugins.find), file=str(file))
    newer.build()
    assert newer.renewed_parameters("serial") == {}
    assert ports() == ["/dev/ttyUSB0"]


def test_a_router_that_hangs_is_ended_and_begins_anew(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f"""
[gateway]
sockets = "{tmp_path / "run"}"
[routes.serial]
stuck_after = 1.0
""")
    seen: list[str] = []

    class Main(Process):
        def birth(self) -> None:
            self.subscribe("processes/serial/state", self.on_state)
            self.call_later(30.0, self.die)

        def on_state(self, message: Message) -> None:
            state, cause = message.body["state"], message.body["cause"]
            if state == "failed":
                seen.append(cause)
            elif state == "living" and seen:
                self.die()
            elif state == "living":
                os.kill(self.active_subprocesses()["serial"], signal.SIGSTOP)

    assert Appliance(load(file, find=plugins.find), main=Main).run() == 0
    assert seen
    assert re.match(r"it made no progress for \d+\.\d s", seen[0])


def test_all_but_the_functions_of_others_are_watched(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[routes.serial]\n[routes.unix_socket]\nstuck_after = 0\n")
    appliance = Appliance(load(file, find=plugins.find))
    appliance.build()
    watched = {name: (s.stuck_after, s.when_stuck) for name, s in appliance._specs.items()}
    assert watched["serial"] == (30.0, "restart")
    assert watched["unix_socket"][0] is None
    assert watched["health"] == (30.0, "report"), "nothing but its report hangs on it"


@pytest.mark.parametrize("enabled", [True, False])
def test_health_is_a_thread_of_the_main_process_unless_it_is_switched_off(
    monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    monkeypatch.setattr(plugins, "find", lambda group, name: Router)
    settings = HealthSettings(enabled=enabled)
    configuration = Configuration(
        gateway=GatewaySettings(node="lab", sockets="/run/lab"),
        health=settings,
        routes={"x": RouteConfig(name="x", type="x", settings=NoSettings())},
        devices={},
        provenance=Provenance(),
    )
    appliance = Appliance(configuration)
    appliance.build()
    health = appliance._specs.get("health")
    if not enabled:
        assert health is None
        return
    assert health is not None
    assert health.mode == "thread"
    assert health.find_class().__name__ == "Health"
    assert health.parameters == {"settings": settings, "node": "lab", "sockets": "/run/lab"}


def test_every_route_knows_all_devices_that_are_configured(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(plugins, "find", lambda group, name: Router)
    configuration = Configuration(
        gateway=GatewaySettings(sockets=str(tmp_path)),
        routes={"mqtt": RouteConfig(name="mqtt", type="mqtt", settings=NoSettings())},
        devices={
            name: DeviceConfig(
                name=name, driver="x", route="serial", link=NoSettings(), settings=NoSettings()
            )
            for name in ("quick", "slow")
        },
        provenance=Provenance(),
    )
    added: dict[str, Any] = {}
    appliance = Appliance(configuration)
    monkeypatch.setattr(
        appliance, "add_process", lambda name, kind, **options: added.update({name: options})
    )
    appliance.build()
    parameters = added["mqtt"]["parameters"]
    assert parameters["configured"] == ("quick", "slow")
    assert parameters["devices"] == []
