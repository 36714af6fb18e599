#!/usr/bin/env python3
"""Install the Debian packages that the tests need, where that is allowed.

As root, or through a sudo that asks nothing, apt installs what is missing. Where
neither is at hand this names what is missing, what to type, and which tests are
left out; under ``CI=true`` that is a failure, elsewhere it is not. What counts is
what lies on the machine afterwards, never apt's word: a broker whose service did
not start is good enough, since the tests start their own.

Refuses to ask for a password and to touch anything when all is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

APT_SECONDS = 1200.0
"""How long apt may take, its wait for another apt included."""

SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
"""Debian keeps servers where only root's PATH looks; anybody may start them."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something outside Python that tests work with: ``pytest.mark.needs(name)``."""

    name: str
    tests: str
    packages: tuple[str, ...]
    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    trial: tuple[str, ...] = ()
    """A command that must do well, with whatever rights there are."""

    def missing(self) -> list[str]:
        """Return the programs, files and rights that are not on this machine."""
        programs = [name for name in self.programs if not shutil.which(name, path=SEARCH_PATH)]
        absent = programs + [name for name in self.files if not Path(name).exists()]
        if not absent and self.trial and not succeeds(self.trial):
            absent.append(f"the right to {' '.join(self.trial)}")
        return absent

    @property
    def remedy(self) -> str:
        """The line to type."""
        return f"sudo apt install {' '.join(self.packages)}"


NEEDS = {
    need.name: need
    for need in (
        Need(
            name="mosquitto",
            tests="the MQTT route against a real broker",
            packages=("mosquitto", "mosquitto-clients"),
            programs=("mosquitto", "mosquitto_pub", "mosquitto_sub"),
        ),
        Need(
            name="simavr",
            tests="the real firmware in an emulated ATmega328P",
            packages=(
                *("gcc", "libc6-dev", "make"),
                *("gcc-avr", "avr-libc", "simavr", "libsimavr-dev", "libelf-dev"),
            ),
            programs=("gcc", "make", "avr-gcc", "avr-objcopy"),
            files=(
                "/usr/lib/avr/include/avr/io.h",
                "/usr/include/simavr/sim_avr.h",
                "/usr/include/libelf.h",
            ),
        ),
        Need(
            name="umockdev",
            tests="USB devices and hot-plug events under the real libusb and libudev",
            packages=("umockdev", "gir1.2-umockdev-1.0", "python3-gi", "libusb-1.0-0"),
            programs=("umockdev-wrapper",),
            files=("/usr/lib/python3/dist-packages/gi/__init__.py",),
        ),
        Need(
            name="socat",
            tests="the Modbus driver against pymodbus's server on a pair of terminals",
            packages=("socat",),
            programs=("socat",),
        ),
        Need(
            name="udev",
            tests="the udev rules, by the real systemd-udevd in a network namespace",
            packages=("udev", "iproute2"),
            programs=("udevadm", "ip"),
            files=("/lib/systemd/systemd-udevd",),
            trial=("unshare", "--mount", "--net", "true"),
        ),
        Need(
            name="systemd",
            tests="the gateway's unit, by the real systemd in namespaces of its own",
            packages=("systemd", "iproute2"),
            programs=("systemd-analyze", "systemd-sysusers", "systemctl", "nsenter", "ip"),
            files=("/lib/systemd/systemd",),
            trial=("unshare", "--mount", "--pid", "--net", "--cgroup", "--fork", "true"),
        ),
        Need(
            name="ser2net",
            tests="rfc2217:// ports against the server that people have",
            packages=("ser2net",),
            programs=("ser2net",),
        ),
    )
}
"""What tests may name, and what brings it."""


def is_ci() -> bool:
    """Return whether a build server runs this: then nothing may be left out."""
    return os.environ.get("CI", "").lower() in ("true", "1", "yes")


def rights() -> list[str] | None:
    """Return what to put before a command that needs root; None where we may not."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and run([sudo, "-n", "true"], quiet=True):
        return [sudo, "-n"]
    return None


@cache
def succeeds(trial: tuple[str, ...]) -> bool:
    """Return whether a command does well, as root where that may be; it is run once."""
    return run([*(rights() or []), *trial], quiet=True)


def install(packages: list[str], prefix: list[str]) -> None:
    """Let apt install ``packages``; refresh its lists only if it cannot find them."""
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
    apt += ["-o", "DPkg::Lock::Timeout=300"]
    get = [*apt, "install", "--no-install-recommends", *packages]
    if not run(get):
        run([*apt, "update"])
        run(get)


def run(command: list[str], *, quiet: bool = False) -> bool:
    """Run ``command`` with no input; return whether it did well."""
    output = subprocess.DEVNULL if quiet else None
    try:
        code = subprocess.call(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=APT_SECONDS
        )
    except subprocess.TimeoutExpired:
        print(f"gave up after {APT_SECONDS:.0f} s: {' '.join(command)}", file=sys.stderr)
        return False
    return code == 0


def main() -> int:
    """Bring what is missing; return 1 where something still is and must not be."""
    absent = [need for need in NEEDS.values() if need.missing()]
    if absent and shutil.which("apt-get"):
        prefix = rights()
        if prefix is not None:
            packages = [package for need in absent for package in need.packages]
            print(f"installing what the tests need: {' '.join(packages)}", flush=True)
            install(packages, prefix)
            absent = [need for need in absent if need.missing()]
    for need in absent:
        print(f"{need.name} is missing ({', '.join(need.missing())}).")
        print(f"    Left out: {need.tests}. To have them, type: {need.remedy}")
    if absent and is_ci():
        print("CI=true: nothing may be left out.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
