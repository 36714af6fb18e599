"""The unit at work: the real systemd boots, restarts, kills, ends and boots once more.

The machine's gateway is this project, seen read-only; a meter of the crew counts on a
topic. There is no broker until the second boot.
"""

from __future__ import annotations

import json
import secrets
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.lab.machine import DEADLINE, Machine
from tests.lab.os_processes import until
from tests.system.conftest import Measured

pytestmark = [
    pytest.mark.paced,
    pytest.mark.needs("systemd", "mosquitto"),
    pytest.mark.timeout(240),
]

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy/systemd/gateway.service"
USERS = ROOT / "deploy/systemd/gateway.sysusers"
GATEWAY = "gateway.service"
TOPIC = "gateway/unit-pi/devices/meter/reading"

COMMAND = f"""\
#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib \\
    PYTHONPATH=/opt/project:/opt/packages:/opt/robot PYTHONDONTWRITEBYTECODE=1
exec /opt/python/bin/python{sys.version_info[0]}.{sys.version_info[1]} -m gateway "$@"
"""

CONFIGURATION = """
[gateway]
node = "unit-pi"

[routes.unix_socket]

[routes.mqtt]
broker = "mqtt://127.0.0.1:1883"
username = "gateway"
password_credential = "mqtt-password"
telemetry_qos = 1

[crew.meter]
process = "meter:Meter"
frequency = 20
depends = ["mqtt"]
"""

METER = """
from pathlib import Path
from time import time_ns

from gateway.process.process import Process

SAID = Path("/var/said")


class Meter(Process):
    def birth(self):
        self.run, self.count = time_ns(), 0

    def life(self):
        self.count += 1
        self.publish("devices/meter/reading", [self.run, self.count])
        with SAID.open("a") as said:
            said.write(f"{self.run} {self.count}\\n")
"""

BROKER = """
[Service]
Type=notify
ExecStart=mosquitto -c /etc/broker/broker.conf
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine on which the gateway was installed as docs/service.md says."""
    own, robot = tmp_path / "gateway/bin", tmp_path / "robot"
    own.mkdir(parents=True)
    robot.mkdir()
    (own / "gateway").write_text(COMMAND)
    (own / "gateway").chmod(0o755)
    (robot / "meter.py").write_text(METER)
    see = {
        ROOT: "/opt/project",
        Path(sys.base_prefix): "/opt/python",
        Path(site.getsitepackages()[0]): "/opt/packages",
        own.parent: "/opt/gateway",
        robot: "/opt/robot",
    }
    with Machine(tmp_path / "machine", see=see) as machine:
        shutil.copy(UNIT, machine.units)
        subprocess.run(["systemd-sysusers", f"--root={machine.folder}", USERS], check=True)
        configuration = machine.etc / "gateway"
        (configuration / "secrets").mkdir(parents=True)
        (configuration / "gateway.toml").write_text(CONFIGURATION)
        password = secrets.token_urlsafe()
        (configuration / "secrets/mqtt-password").write_text(password)
        (configuration / "secrets").chmod(0o700)
        drop_in = machine.units / "gateway.service.d"
        drop_in.mkdir()
        (drop_in / "local.conf").write_text(
            "[Service]\nLoadCredential=mqtt-password:/etc/gateway/secrets/mqtt-password\n"
            # Nobody waits for half a minute here.
            "WatchdogSec=10\n"
            "ReadWritePaths=/var/said\n"
        )
        (machine.var / "said").touch()
        (machine.var / "said").chmod(0o666)
        broker = machine.etc / "broker"
        broker.mkdir()
        (broker / "broker.conf").write_text(
            "listener 1883 127.0.0.1\nallow_anonymous false\npassword_file /etc/broker/passwords\n"
            "user root\nmax_queued_messages 0\n"
        )
        subprocess.run(
            ["mosquitto_passwd", "-b", "-c", broker / "passwords", "gateway", password], check=True
        )
        (machine.units / "broker.service").write_text(BROKER)
        yield machine


def said(machine: Machine) -> list[tuple[int, int]]:
    """Return what the meter has published so far, by its own account."""
    lines = (machine.var / "said").read_text().splitlines()
    return [(int(run), int(count)) for run, count in map(str.split, lines)]


def shows(machine: Machine, what: str, value: str) -> bool:
    """Tell whether that is what systemd says of the gateway's unit."""
    return machine.show(GATEWAY, what) == value


def wait_for_life(machine: Machine, number: int) -> None:
    """Wait until the meter has counted to ten in its ``number``-th life."""

    def has_counted() -> bool:
        published = said(machine)
        lives = {run for run, _ in published}
        return len(lives) == number and published[-1][1] >= 10

    assert until(has_counted, DEADLINE), machine.journal(GATEWAY)


def test_systemd_has_nothing_to_say_against_the_unit(machine: Machine) -> None:
    machine.boot()
    assert machine.run("systemd-analyze", "verify", "--man=no", GATEWAY) == ""
    # 10 is what a unit may do that says nothing; 2.5 is what systemd calls OK.
    machine.run("systemd-analyze", "security", "--threshold=25", GATEWAY)


def test_a_credential_that_is_not_there_is_named(machine: Machine) -> None:
    (machine.units / "gateway.service.d/local.conf").unlink()
    machine.boot(GATEWAY)
    told = "password_credential 'mqtt-password': systemd gave this process no credentials"
    assert until(lambda: told in machine.journal(GATEWAY), DEADLINE), machine.journal(GATEWAY)
    assert machine.show(GATEWAY, "ActiveState") == "active", "the rest works on"


def test_what_waits_outlives_every_way_of_restarting(machine: Machine, measured: Measured) -> None:
    machine.boot(GATEWAY)
    wait_for_life(machine, 1)
    is_active = partial(shows, machine, "ActiveState", "active")
    assert until(is_active, DEADLINE), machine.journal(GATEWAY)
    assert machine.run("stat", "-c", "%U %a", "/run/gateway", "/var/lib/gateway") == (
        "gateway 700\ngateway 700\n"
    )
    first = machine.run("sh", "-c", "ls /run/gateway/bus/spool/mqtt/*.spool").strip()
    main = machine.show(GATEWAY, "MainPID")

    machine.run("kill", "-KILL", main)
    wait_for_life(machine, 2)
    assert machine.show(GATEWAY, "MainPID") != main
    machine.run("test", "-e", first)

    machine.run("systemctl", "restart", GATEWAY)
    wait_for_life(machine, 3)

    machine.run("kill", "-STOP", machine.show(GATEWAY, "MainPID"))
    wait_for_life(machine, 4)
    assert "Watchdog timeout" in machine.journal(GATEWAY)
    assert until(is_active, DEADLINE), machine.journal(GATEWAY)

    machine.power_off()
    published = said(machine)
    assert len({run for run, _ in published}) == 4

    machine.boot("broker.service")
    password = (machine.etc / "gateway/secrets/mqtt-password").read_text()
    listen = ["mosquitto_sub", "-h", "127.0.0.1", "-u", "gateway", "-P", password]
    listen += ["-i", "listener", "-c", "-q", "1", "-t", TOPIC]
    machine.run(*listen, "-E")
    machine.run("systemctl", "start", GATEWAY)
    heard = machine.run(*listen, "-C", str(len(published) + 10), "-W", f"{DEADLINE:.0f}")
    arrived = [tuple(json.loads(line)) for line in heard.splitlines()]
    once = list(dict.fromkeys(arrived))
    # Who was killed between the two had no time to note what it had published.
    noted = set(published)
    assert [each for each in once if each in noted] == published, "lost, or out of order"
    measured("letters that outlived SIGKILL, restart, watchdog and reboot", len(published), unit="")
