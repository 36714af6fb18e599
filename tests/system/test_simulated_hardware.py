"""``gateway run`` against ``gateway simulate``: nobody notices that the hardware is software."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.gateway_process import GatewayProcess
from tests.lab.os_processes import until
from tests.lab.simulated_hardware import SimulatedHardware

SOON = 10.0

CONFIGURATION = """
[gateway]
node = "lab"
sockets = "{folder}/run"

[routes.serial]
[routes.usb]
[routes.unix_socket]

[devices.bench]
driver = "bench_board"
port = "{folder}/bench"
settings = {{ stream_hz = 10 }}

[devices.gps]
driver = "nmea_gps"
match = {{ ID_VENDOR_ID = "1546" }}
baud = 9600

[devices.pump]
driver = "line_device"
port = "{folder}/pump"

[devices.pump.settings]
ending = "\\r\\n"

[devices.pump.settings.handshake]
ask = '*IDN?'
answer = '^ACME,(?P<model>[^,]+),(?P<serial_number>[^,]*),(?P<firmware>.+)$'

[devices.till]
driver = "barcode_scanner"
route = "usb"
match = {{ idVendor = "05e0" }}
"""


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """The configuration of the real hardware."""
    file = tmp_path / "real.toml"
    file.write_text(CONFIGURATION.format(folder=tmp_path))
    return file


@pytest.fixture
def hardware(real: Path, tmp_path: Path) -> Iterator[SimulatedHardware]:
    with SimulatedHardware(real, "--write", str(tmp_path / "gateway.toml")) as hardware:
        yield hardware


@pytest.fixture
def gateway(hardware: SimulatedHardware, tmp_path: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path, (tmp_path / "gateway.toml").read_text()) as gateway:
        gateway.start()
        yield gateway


def device(gateway: GatewayProcess, name: str) -> dict[str, Any]:
    devices: list[dict[str, Any]] = gateway.ask({"op": "ps"})["devices"]
    return next((each for each in devices if each["name"] == name), {})


def is_told(gateway: GatewayProcess, name: str, **expected: Any) -> bool:
    return until(lambda: expected.items() <= device(gateway, name).items(), SOON)


def test_every_device_comes_up_and_goes_and_comes_with_its_cable(
    hardware: SimulatedHardware, gateway: GatewayProcess
) -> None:
    for name in ("bench", "gps", "pump", "till"):
        assert is_told(gateway, name, connected=True), gateway.log
    assert is_told(gateway, "bench", state="healthy")
    for name in ("bench", "gps", "till"):
        hardware.call(name, "unplug")
        assert is_told(gateway, name, connected=False, state="absent")
        hardware.call(name, "plug")
        assert is_told(gateway, name, connected=True)
    assert is_told(gateway, "pump", connected=True), "nobody touched it"


def test_a_board_that_hangs_is_stale_and_recovers(
    hardware: SimulatedHardware, gateway: GatewayProcess
) -> None:
    assert is_told(gateway, "bench", state="healthy")
    hardware.type("hang bench")
    hardware.wait_for("status", device="bench", hung=True)
    assert is_told(gateway, "bench", state="stale")
    hardware.call("bench", "mend")
    assert is_told(gateway, "bench", state="healthy")


def test_the_drivers_survive_a_noisy_line(
    hardware: SimulatedHardware, gateway: GatewayProcess
) -> None:
    assert is_told(gateway, "bench", state="healthy")
    hardware.call("bench", "noise", 0.05)
    assert until(lambda: hardware.call("bench", "status")["counts"]["garbled"] > 20, SOON)
    hardware.call("bench", "mend")
    assert is_told(gateway, "bench", state="healthy")
