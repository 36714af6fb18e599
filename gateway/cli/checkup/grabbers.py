"""Programs that take serial ports for something they are not: ModemManager, brltty.

ModemManager writes modem commands to every new port that nobody has told it to leave
alone; brltty takes common adapters (CH340, CP210x, FTDI) for Braille displays, and the
port is gone. Pure: facts in, findings out.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.cli.checkup.facts import Facts, Port
from gateway.cli.checkup.finding import Finding, fine, wrong


def modem_manager(facts: Facts) -> Iterator[Finding]:
    """Say whether ModemManager would probe a port."""
    check = "ModemManager"
    if check not in facts.running:
        there = check in facts.installed
        yield fine(check, "it is installed and does not run" if there else "it does not run here")
        return
    probed = [port for port in facts.ports if _is_usb_port(port) and not port.ignored]
    if not probed:
        yield fine(check, "it runs, and leaves the ports that are plugged in alone")
        return
    nodes = ", ".join(port.node for port in probed)
    yield wrong(
        check,
        f"it runs, and writes modem commands to {nodes} each time that is plugged in",
        "install the rules: gateway udev-rules for configured devices, those of the folder udev for"
        " common adapters\n"
        "or, where the machine has no modem: sudo systemctl disable --now ModemManager",
    )


def brltty(facts: Facts) -> Iterator[Finding]:
    """Say whether brltty takes an adapter away."""
    check = "brltty"
    if check not in facts.installed and check not in facts.running:
        yield fine(check, "it is not installed")
        return
    taken = [port for port in facts.ports if port.usb_id in facts.brltty_ids]
    if not taken:
        yield fine(check, "it is installed, and takes nothing that is plugged in")
        return
    things = ", ".join(f"{port.node} ({port.usb_id})" for port in taken)
    yield wrong(
        check,
        f"it takes {things} for a Braille display: the port comes and is gone a second later",
        "where nobody here reads Braille: sudo apt remove brltty\n"
        "else: sudo systemctl mask brltty-udev.service",
    )


def _is_usb_port(port: Port) -> bool:
    return bool(port.usb_id) and port.node.startswith(("/dev/ttyUSB", "/dev/ttyACM"))
