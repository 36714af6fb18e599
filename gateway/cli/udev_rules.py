"""``gateway udev-rules``: names and rights of the configured devices, for udev.

Prints the rules, writes them to a file (whole or not at all), or with ``--check``
says whether the file that is installed is what would be written now. udev itself is
not touched: what to type next is said.
"""

from __future__ import annotations

import argparse
import difflib
import grp
import json
import sys
from pathlib import Path
from typing import Any

SUMMARY = "write the udev rules of the configured devices"

EPILOG = """\
Every device with a match gets a name that stays, /dev/gateway/NAME, and a group that
may use it; ModemManager leaves it alone, it is never put to sleep, and systemd starts
the gateway for it. Rules for adapters and boards that are common, whatever they are
used for, come with the gateway in the folder udev.

examples:
  gateway udev-rules                        look at them
  sudo gateway udev-rules --output /etc/udev/rules.d/90-gateway.rules
  gateway udev-rules --check                are those that are installed the right ones?
  sudo udevadm control --reload && sudo udevadm trigger --action=add

exit status: 0 fine, 1 --check found the file absent or different, 2 a match cannot be a rule
"""

DEFAULT = "/etc/gateway/gateway.toml"
STDOUT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    from gateway.cli.rules.file import INSTALLED
    from gateway.cli.rules.options import GROUP, MODE, UNIT

    parser.epilog = EPILOG
    parser.add_argument(
        "-c", "--config", default=DEFAULT, metavar="FILE", help=f"the configuration ({DEFAULT})"
    )
    parser.add_argument(
        "--output", metavar="FILE", help="where to write them; - is standard output, the default"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"only say whether --output ({INSTALLED}) is what would be written",
    )
    parser.add_argument("--group", help=f"who may use the devices ({GROUP})")
    parser.add_argument("--mode", help=f"with which rights ({MODE})")
    parser.add_argument(
        "--unit", help=f"what systemd starts when a device appears; '' for nothing ({UNIT})"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print, write or compare; return 1 where a comparison found a difference."""
    from gateway import plugins
    from gateway.cli.rules.configured import named_devices
    from gateway.cli.rules.file import INSTALLED, rules_for
    from gateway.cli.rules.options import RuleOptions
    from gateway.cli.whole_file import write_whole
    from gateway.config.loading import load

    devices = named_devices(load(arguments.config, find=plugins.find), plugins.find)
    given = {
        name: value
        for name in ("group", "mode", "unit")
        if (value := getattr(arguments, name)) is not None
    }
    if arguments.check:
        path = Path(arguments.output or INSTALLED)
        installed = read_rules(path)
        # What was said when they were made still holds, unless it is said again.
        made_with = RuleOptions.of(installed or "") or RuleOptions()
        options = RuleOptions(**{**_as_dict(made_with), **given})
        return _compare(arguments, path, installed, rules_for(devices, options))
    options = RuleOptions(**given)
    rules = rules_for(devices, options)
    _warn_of_group(options.group)
    output = arguments.output or STDOUT
    if output != STDOUT:
        write_whole(Path(output), rules)
    if arguments.json:
        named = [device.name for device in devices if device.match]
        print(json.dumps({"output": output, "devices": named, "rules": rules}, indent=2))
    elif output == STDOUT:
        sys.stdout.write(rules)
    else:
        print(f"{output}: written. For udev to know them, type:")
        print("  sudo udevadm control --reload && sudo udevadm trigger --action=add")
    return 0


def read_rules(path: Path) -> str | None:
    """Return the rules in ``path``; None where there is no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _compare(arguments: argparse.Namespace, path: Path, installed: str | None, right: str) -> int:
    mend = f"sudo gateway udev-rules -c {arguments.config} --output {path}"
    current = installed == right
    if arguments.json:
        report: dict[str, Any] = {
            "file": str(path),
            "installed": installed is not None,
            "current": current,
        }
        print(json.dumps(report if current else {**report, "mend": mend}, indent=2))
    elif current:
        print(f"{path}: what {arguments.config} asks for")
    elif installed is None:
        print(f"{path}: not there. Install it: {mend}")
    else:
        print(f"{path}: not what {arguments.config} asks for. Write it anew: {mend}")
        lines = difflib.unified_diff(
            installed.splitlines(), right.splitlines(), "installed", "right", n=0, lineterm=""
        )
        print("\n".join(f"  {line if line.isprintable() else ascii(line)}" for line in lines))
    return 0 if current else 1


def _warn_of_group(name: str) -> None:
    try:
        grp.getgrnam(name)
    except KeyError:
        print(
            f"note: this machine has no group {name!r}, and udev passes over a group that it does"
            f" not know: make it with sudo groupadd --system {name}",
            file=sys.stderr,
        )


def _as_dict(options: Any) -> dict[str, str]:
    return {name: getattr(options, name) for name in options.__struct_fields__}
