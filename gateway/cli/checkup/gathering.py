"""Gather the facts of a check-up: reads /proc, /sys, /dev, /etc, and the configuration.

Changes nothing and starts nothing, but ``vcgencmd`` where the kernel does not tell of
the supply. ``root`` is the folder that all of those lie in, for tests. What cannot be
read is None in the facts; it is never guessed.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gateway.cli.checkup.accounts import Accounts
from gateway.cli.checkup.configured import Configured
from gateway.cli.checkup.facts import Facts, Port, Rules, User
from gateway.cli.checkup.kernel_log import complaints
from gateway.cli.inventory import sight
from gateway.cli.inventory.holders import Holder, Holders, holders
from gateway.hosting.plugged import PluggedDevice

ROOT: Final = Path("/")
_PROGRAMS: Final = {
    "ModemManager": ("usr/sbin/ModemManager",),
    "brltty": ("usr/bin/brltty", "bin/brltty", "usr/sbin/brltty", "sbin/brltty"),
}
_RULES: Final = ("etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d")
_PRODUCT: Final = re.compile(r"ENV\{PRODUCT\}==\"([0-9a-f]{1,4})/([0-9a-f]{1,4})/")
_LIBUSB: Final = ("usr/lib", "lib", "usr/local/lib")


def gather(configured: Configured, user_name: str | None, root: Path = ROOT) -> Facts:
    """Return everything that the checks ask for."""
    accounts = Accounts.read(root)
    sighting = sight.look(root)
    devices = _wanted(sighting.devices, configured)
    opened = holders([device.node for device, _ in devices], root)
    running = _running(root)
    return Facts(
        user=_user(accounts, user_name, root),
        config=configured.path,
        config_problem=configured.problem,
        ports=tuple(_port(device, name, accounts, opened, root) for device, name in devices),
        partial_holders=opened.partial,
        rules=_rules(configured, root),
        udevd=(root / "run/udev/control").exists(),
        running=running,
        installed=frozenset(
            name
            for name, paths in _PROGRAMS.items()
            if any((root / path).exists() for path in paths)
        ),
        brltty_ids=_brltty_ids(root),
        throttled=_throttled(root),
        is_pi="Raspberry Pi" in _read(root / "proc/device-tree/model"),
        libusb=_libusb(root),
        needs_libusb=configured.needs_libusb,
        sockets=configured.sockets,
        run_type=_file_system(configured.sockets, root),
        kernel=complaints(root / "dev/kmsg"),
    )


def _wanted(
    devices: Iterable[PluggedDevice], configured: Configured
) -> list[tuple[PluggedDevice, str]]:
    """Return what a gateway may want, each with the configured device that it is.

    That is every port of an adapter, and of the rest (a UART, a USB device without a
    port) what is configured: nobody is to be told about his keyboard.
    """
    found = [(device, configured.device_at(device)) for device in devices if device.node]
    return [
        (device, name)
        for device, name in sorted(found, key=lambda each: each[0].node)
        if name or (device.subsystem == "tty" and sight.usb_device_of(device) is not None)
    ]


def _user(accounts: Accounts, name: str | None, root: Path) -> User:
    """Return who is to use the ports: ``name``, or who called sudo, or who calls."""
    name = name or os.environ.get("SUDO_USER")
    uid = os.geteuid() if name is None else accounts.uid_of(name)
    own = uid == os.geteuid() and root == ROOT
    name = name or accounts.name_of(uid)
    session = frozenset(accounts.group_of(gid) for gid in (os.getegid(), *os.getgroups()))
    return User(
        name=name,
        uid=uid,
        groups=accounts.groups_of(name),
        session=session if own else None,
    )


def _port(
    device: PluggedDevice,
    name: str,
    accounts: Accounts,
    opened: Holders,
    root: Path,
) -> Port:
    usb = sight.usb_device_of(device)
    control_path = f"{usb.sys_path}/power/control" if usb else ""
    try:
        about = (root / device.node.lstrip("/")).stat()
    except OSError:
        about = None
    consoles = _read(root / "sys/class/tty/console/active").split()
    ignoring = {**(usb.properties if usb else {}), **device.properties}
    return Port(
        node=device.node,
        name=sight.name_of(device),
        usb_id=sight.id_of(device),
        mode=None if about is None else stat.S_IMODE(about.st_mode),
        uid=0 if about is None else about.st_uid,
        group="" if about is None else accounts.group_of(about.st_gid),
        control=_read(root / control_path.lstrip("/")).strip() if control_path else "",
        control_path=control_path,
        ignored="1" in (ignoring.get("ID_MM_DEVICE_IGNORE"), ignoring.get("ID_MM_PORT_IGNORE")),
        is_console=device.node.removeprefix("/dev/") in consoles,
        holders=tuple(
            each for each in opened.of.get(device.node, ()) if not _is_gateway(each, root)
        ),
        device=name,
    )


def _is_gateway(holder: Holder, root: Path) -> bool:
    """Whether a program is a gateway: then the port is in good hands."""
    words = _read(root / f"proc/{holder.pid}/cmdline").split("\0")
    return any(os.path.basename(word) == "gateway" for word in words)


def _rules(configured: Configured, root: Path) -> Rules:
    path = root / configured.rules_path.lstrip("/")
    installed = _read(path) if path.exists() else None
    right, mistake = configured.rules(installed)
    return Rules(
        path=configured.rules_path,
        right=right,
        installed=installed,
        named=configured.named,
        mistake=mistake,
    )


def _running(root: Path) -> frozenset[str]:
    try:
        pids = [name for name in os.listdir(root / "proc") if name.isdecimal()]
    except OSError:
        return frozenset()
    return frozenset(_read(root / f"proc/{pid}/comm").strip() for pid in pids)


def _brltty_ids(root: Path) -> frozenset[str]:
    files: Iterable[Path] = (
        file for folder in _RULES for file in (root / folder).glob("*brltty*.rules")
    )
    return frozenset(
        f"{vendor.zfill(4)}:{product.zfill(4)}"
        for file in files
        for vendor, product in _PRODUCT.findall(_read(file))
    )


def _throttled(root: Path) -> int | None:
    for path in (root / "sys/devices/platform/soc").glob("*firmware/get_throttled"):
        return _hexadecimal(_read(path))
    program = shutil.which("vcgencmd") if root == ROOT else None
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "get_throttled"],
            capture_output=True,
            text=True,
            timeout=5.0,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _hexadecimal(done.stdout.partition("=")[2])


def _hexadecimal(text: str) -> int | None:
    try:
        return int(text.strip(), 16)
    except ValueError:
        return None


def _libusb(root: Path) -> str | None:
    for folder in _LIBUSB:
        for pattern in ("libusb-1.0.so.0", "*/libusb-1.0.so.0"):
            for path in sorted((root / folder).glob(pattern)):
                return f"/{path.relative_to(root)}"
    return None


def _file_system(folder: str, root: Path) -> str | None:
    """Return the type of the file system that ``folder`` lies on, or would."""
    found, longest = None, -1
    for line in _read(root / "proc/mounts").splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        place = fields[1].rstrip("/")
        if f"{folder}/".startswith(f"{place}/") and len(place) >= longest:
            found, longest = fields[2], len(place)
    return found


def _read(path: Path) -> str:
    """Return what stands in a file; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
