"""The rules file for the devices of a configuration, as text.

Each device that is found by its ``match`` gets a stable name, ``/dev/gateway/<name>``;
then all of them get the group, the mode and whatever else keeps others' hands off:
ModemManager does not probe them, the kernel does not put them to sleep, and systemd
knows them and starts the gateway for them.

Pure; the same devices give the same text. A device with a ``port`` of its own needs no
rule and gets none: a comment says so. Refused, all at once, with the file and line:
matches that no rule can say (`ConfigErrors`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from gateway.cli.rules.match import steps
from gateway.cli.rules.options import RuleOptions
from gateway.cli.rules.quoting import RuleError, assigned, compared
from gateway.config.mistake import ConfigErrors, Mistake

INSTALLED: Final = "/etc/udev/rules.d/90-gateway.rules"
"""After the rules that find out who a device is, before systemd's own (99)."""

SUBSYSTEMS: Final[Mapping[str, str]] = {
    "tty": 'SUBSYSTEM=="tty"',
    "usb": 'SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device"',
    "hidraw": 'SUBSYSTEM=="hidraw"',
    "input": 'SUBSYSTEM=="input", KERNEL=="event*"',
}
"""A subsystem, and what a rule compares to mean its devices."""


class NamedDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One device of a configuration; ``match`` is empty where it has a port of its own.

    ``place`` is the file and line of its match, for a mistake; None where nobody knows.
    """

    name: str
    subsystems: tuple[str, ...]
    match: dict[str, str]
    place: tuple[str, int] | None = None


def rules_for(devices: Sequence[NamedDevice], options: RuleOptions) -> str:
    """Return the whole file; `ConfigErrors` with every match that cannot be said."""
    mistakes: list[Mistake] = []
    lines = [
        "# Names and rights of the gateway's devices, made of its configuration: change that, then",
        f"#   gateway udev-rules --output {INSTALLED}",
        f"# {options}",
        "",
        'ACTION=="remove", GOTO="gateway_end"',
        "",
    ]
    for device in devices:
        try:
            lines += [*_named(device), ""]
        except RuleError as error:
            file, line = device.place or ("", None)
            key = f"devices.{device.name}.match"
            mistakes.append(Mistake(problem=str(error), key=key, file=file, line=line))
    if mistakes:
        raise ConfigErrors(mistakes)
    lines += [*_for_all(options), "", 'LABEL="gateway_end"']
    return "\n".join(lines) + "\n"


def _named(device: NamedDevice) -> Iterable[str]:
    if not device.match:
        yield f"# {device.name} has a port of its own, which is opened as it is"
        return
    first, *rest = steps(device.match)
    yield f"# {device.name}"
    name = assigned(f"gateway/{device.name}")
    named = f"SYMLINK+={name}, ENV{{GATEWAY_DEVICE}}={assigned(device.name)}"
    for subsystem in device.subsystems:
        kind = SUBSYSTEMS.get(subsystem) or f"SUBSYSTEM=={compared(subsystem)}"
        here = f"{kind}, {first}"
        # One ancestor after the other: `gateway.cli.rules.match` tells why.
        for number, more in enumerate(rest, 1):
            reached = f'ENV{{.GATEWAY_STEP}}="{device.name}:{number}"'
            yield f"{here}, {reached}"
            here = f'{kind}, ENV{{.GATEWAY_STEP}}=="{device.name}:{number}", {more}'
        yield f"{here}, {named}"


def _for_all(options: RuleOptions) -> Iterable[str]:
    yield 'ENV{GATEWAY_DEVICE}=="", GOTO="gateway_end"'
    yield f'GROUP="{options.group}", MODE="{options.mode}"'
    yield 'ENV{ID_MM_DEVICE_IGNORE}="1", ENV{ID_MM_PORT_IGNORE}="1"'
    # The USB device itself, however many steps above its port it is.
    yield 'SUBSYSTEM=="usb", TEST=="power/control", ATTR{power/control}="on"'
    for kernel, above in _ABOVE.items():
        control = f"{above}/power/control"
        yield f'SUBSYSTEMS=="usb", KERNEL=="{kernel}", TEST=="{control}", ATTR{{{control}}}="on"'
    wants = f", ENV{{SYSTEMD_WANTS}}+={assigned(options.unit)}" if options.unit else ""
    yield f'TAG+="systemd"{wants}'


_ABOVE: Final = {
    "ttyACM*": "device/..",
    "ttyUSB*": "device/../..",
    "hidraw*": "device/../..",
    "event*": "device/../../../..",
}
