"""What a check-up knows of the machine: values only, gathered elsewhere.

None stands for what could not be found out; a check then says "unknown" and why.
"""

from __future__ import annotations

import msgspec

from gateway.cli.inventory.holders import Holder


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """One serial port, or one USB device that no port stands for.

    ``mode`` are its permission bits, ``group`` the group's name (or its number, where
    it has none); ``control`` is the USB device's ``power/control`` and ``control_path``
    where it stands; ``ignored`` whether udev tells ModemManager to leave it alone;
    ``device`` is the configured device that names this port, empty where none does.
    """

    node: str
    name: str = ""
    usb_id: str = ""
    mode: int | None = None
    uid: int = 0
    group: str = ""
    control: str = ""
    control_path: str = ""
    ignored: bool = False
    is_console: bool = False
    holders: tuple[Holder, ...] = ()
    device: str = ""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to use the ports.

    ``groups`` are those that /etc/group gives him, ``session`` those that this program
    runs with; None where the check-up runs for somebody else.
    """

    name: str
    uid: int
    groups: frozenset[str] = frozenset()
    session: frozenset[str] | None = None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules file: what it should say and what it says; each None where there is none."""

    path: str
    right: str | None = None
    installed: str | None = None
    named: int = 0
    """Configured devices that are found by a match."""
    mistake: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All of it.

    ``throttled`` are the firmware's bits of a Raspberry Pi; ``brltty_ids`` the USB ids
    that its udev rules would take; ``run_type`` the file system below ``sockets``;
    ``kernel`` the newest messages of the kernel's that tell of trouble with USB or power.
    """

    user: User
    config: str
    config_problem: str = ""
    ports: tuple[Port, ...] = ()
    partial_holders: bool = False
    rules: Rules
    udevd: bool = False
    running: frozenset[str] = frozenset()
    """Names of the programs that run."""
    installed: frozenset[str] = frozenset()
    """Of ModemManager and brltty, those that are installed."""
    brltty_ids: frozenset[str] = frozenset()
    throttled: int | None = None
    is_pi: bool = False
    libusb: str | None = None
    needs_libusb: bool = False
    sockets: str = "/run/gateway"
    run_type: str | None = None
    kernel: tuple[str, ...] | None = None
