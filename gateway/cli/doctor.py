"""``gateway doctor``: what keeps devices from working on this machine, and how to mend it.

Looks and changes nothing. Works whether the gateway runs or not, and sees more as root.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys

SUMMARY = "find what keeps devices from working, and say how to mend it"

EPILOG = """\
It looks at the rights of the ports and the groups of the user, at udev and the rules that
are installed, at ModemManager and brltty, which take ports for something else, at who has
a port open, at the supply and at USB devices that are put to sleep, at libusb, at the
folder of the sockets, and at what the kernel has complained of.

examples:
  sudo gateway doctor --user gateway        may the service's user do what it must?
  gateway doctor -c gateway.toml
  gateway doctor --json | jq '.findings[] | select(.verdict == "wrong")'

exit status: 0 nothing is wrong, 1 something is
"""

DEFAULT = "/etc/gateway/gateway.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.epilog = EPILOG
    parser.add_argument(
        "-c", "--config", default=DEFAULT, metavar="FILE", help=f"the configuration ({DEFAULT})"
    )
    parser.add_argument(
        "--user", metavar="NAME", help="who is to use the ports: who calls, or called sudo"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; return 1 where something is wrong."""
    from gateway import plugins
    from gateway.cli.checkup import finding
    from gateway.cli.checkup.checks import examine
    from gateway.cli.checkup.configured import Configured
    from gateway.cli.checkup.gathering import gather

    configured = Configured.read(arguments.config, plugins.find)
    findings = examine(gather(configured, arguments.user))
    report = finding.as_json(findings)
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        is_terminal = sys.stdout.isatty()
        columns = shutil.get_terminal_size().columns if is_terminal else 0
        colour = is_terminal and not os.environ.get("NO_COLOR")
        print("\n".join(finding.render(findings, columns, colour=colour)))
    return 0 if report["ok"] else 1
