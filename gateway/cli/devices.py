"""``gateway devices``: what is plugged in, who has it, how it is, and what a stranger is.

Works without a running gateway as well, and says so. Reads only, except with
``--probe``, which opens a port that nobody has and lets every driver shake hands.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

SUMMARY = "list what is plugged in, who claims it, and how it is"

EPILOG = """\
NAME is a device of the configuration, or a port such as /dev/ttyUSB0. Of a device it
tells state and cause, who it is, what it can be told and what it says, its last moves
and its counters. For a port that nobody has it writes what to put into the
configuration: the shortest match that means it and nothing else that is plugged in.

--probe listens to a port and then lets each driver that is installed shake hands with
it, at the usual rates. It writes nothing else, and the port has its settings back in
the end; a board that restarts when its port is opened will restart.

examples:
  gateway devices
  gateway devices wheels
  gateway devices /dev/ttyUSB0
  gateway devices --probe /dev/ttyUSB0 --baud 9600
  gateway devices --json | jq '.plugged[] | select(.device == null) | .node'

exit status: 0 it was told, 1 there is no such device, or no driver was identified
"""


LONGEST = 600.0
"""Seconds that a probe may be given."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.epilog = EPILOG
    parser.add_argument("name", metavar="NAME", nargs="?", help="a device, or a port of /dev")
    parser.add_argument("--probe", metavar="PORT", help="find out which driver a port is for")
    parser.add_argument(
        "--baud", type=int, action="append", metavar="RATE", help="probe at this rate only"
    )
    parser.add_argument(
        "--deadline", type=float, default=40.0, metavar="SECONDS", help="of a probe (40)"
    )
    parser.add_argument(
        "--socket", metavar="PATH", help="the gateway's socket, where it is not the usual one"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the list, one device, one stranger, or what a probe has found."""
    from gateway.cli.inventory import house, listing, sight
    from gateway.errors import ConfigError

    if arguments.probe and arguments.name:
        raise ConfigError("either NAME or --probe PORT: a device of the gateway's is not probed")
    if not 0 < arguments.deadline <= LONGEST:
        raise ConfigError(f"--deadline is in seconds, up to {LONGEST:g}")
    known = house.ask(arguments.socket)
    seen = sight.look()
    if arguments.probe:
        return _probe(arguments, seen, known)
    if arguments.name:
        return _one(arguments, seen, known)
    if arguments.json:
        _print_json(listing.as_json(seen, known))
    else:
        _print(listing.render(seen, known, _columns(), colour=_colour()))
    return 0


def _one(arguments: argparse.Namespace, seen: Any, known: Any) -> int:
    from gateway.cli.inventory import page, sight, stranger
    from gateway.cli.inventory.likely import installed, likely
    from gateway.cli.inventory.suggestion import suggest

    plugged = sight.find(seen.devices, _node(arguments.name))
    device = known.devices.get(arguments.name)
    if device is None and plugged is not None:
        device = known.holder(plugged.node, plugged.sys_path)
    if device is not None:
        plugged = next(
            (each for each in seen.devices if known.holder(each.node, each.sys_path) is device),
            plugged,
        )
        if arguments.json:
            _print_json(page.as_json(device, plugged))
        else:
            _print(page.render(device, plugged, known.time, _columns(), colour=_colour()))
        return 0
    if plugged is None:
        raise _unknown(arguments.name, seen, known)
    suggestion = suggest(plugged, seen.devices)
    drivers = likely(plugged, installed().classes)
    if arguments.json:
        _print_json(stranger.as_json(plugged, suggestion, drivers))
    else:
        _print(stranger.render(plugged, suggestion, drivers, _columns()))
    return 0


def _probe(arguments: argparse.Namespace, seen: Any, known: Any) -> int:
    from gateway.cli.inventory import sight
    from gateway.cli.inventory.holders import holders
    from gateway.cli.inventory.likely import installed, likely
    from gateway.cli.inventory.suggestion import Suggestion, suggest
    from gateway.cli.probing import findings
    from gateway.cli.probing.evidence import ranked
    from gateway.cli.probing.probe import BAUDS, Probe, check_free, line_settings_kept
    from gateway.clock import RealClock
    from gateway.errors import LinkAbsentError

    node = _node(arguments.probe)
    if not os.path.exists(node):
        raise LinkAbsentError(f"{arguments.probe} is not there: 'gateway devices' lists what is")
    plugged = sight.find(seen.devices, node)
    check_free(node, plugged.sys_path if plugged else "", known, holders([node]))
    drivers = installed()
    classes = findings.serial_drivers(drivers.classes)
    probe = Probe(
        classes,
        likely(plugged, classes) if plugged else {},
        findings.opener(node),
        RealClock(),
        bauds=arguments.baud or BAUDS,
        deadline=arguments.deadline,
        progress=_progress,
    )
    with line_settings_kept(node):
        try:
            probe.run()
        finally:
            _progress("")
    found = ranked(probe.found.values())
    # What udev does not see is named by its path, a link that stays the same as it was given.
    unseen = Suggestion(route="serial", port=os.path.abspath(arguments.probe))
    suggestion = suggest(plugged, seen.devices) if plugged else unseen
    if arguments.json:
        _print_json(findings.as_json(node, found, probe.heard, suggestion, drivers.broken))
    else:
        _print(findings.render(node, found, probe.heard, suggestion, drivers.broken, _columns()))
    return 0 if any(each.identity is not None for each in found) else 1


def _node(name: str) -> str:
    """Return the file that a name in /dev leads to, as udev calls it."""
    return os.path.realpath(name) if name.startswith("/") else name


def _unknown(name: str, seen: Any, known: Any) -> Exception:
    from difflib import get_close_matches

    from gateway.errors import AddressError, LinkAbsentError

    if name.startswith("/"):
        there = "" if Path(name).exists() else ": it is not there"
        return LinkAbsentError(f"nothing is plugged in at {name}{there}; 'gateway devices' lists")
    if known.trouble:
        return AddressError(f"whether there is a device {name!r} is not known: {known.trouble}")
    close = get_close_matches(name, known.devices, n=1)
    meant = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known.devices)}"
    return AddressError(
        f"there is no device {name!r}; {meant if known.devices else 'there is none'}"
    )


def _progress(said: str) -> None:
    """Show how far a probe is, on one line, where somebody watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{said}" if said else "\r\x1b[K")
        sys.stderr.flush()


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _columns() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def _print(lines: list[str]) -> None:
    print("\n".join(lines))


def _print_json(report: Any) -> None:
    print(json.dumps(report, ensure_ascii=False, indent=2))
