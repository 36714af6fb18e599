"""``gateway fleet``: the gateways that a broker knows, and how each of them is.

Asks the broker alone, and so works from any machine; no gateway need run here. What a
gateway retains at the broker is all that is known of it. With ``--watch`` the list
stays and is shown anew whenever something changes; for programs each change is a line.

How a broker is talked to is the mqtt route's business: it is found by its name among
the plug-ins.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.cli.table import coloured, hanging, since, table, text

SUMMARY = "list the gateways that a broker knows, and how they are"

DEFAULT = "/etc/gateway/gateway.toml"

EPILOG = """\
The broker, and who we are there, is what [routes.mqtt] says in the configuration file,
unless --broker names another. SINCE is for how long a gateway has been online; since
when it is offline no broker tells. DEVICES is how many of its devices are connected.

examples:
  gateway fleet
  gateway fleet --broker mqtt://broker.local --watch
  gateway fleet --json | jq -r '.nodes[] | select(.online | not) | .node'

exit status: 0 it was told, 1 the broker could not be asked, 130 ended by Ctrl-C
"""

BETWEEN = 0.5
"""Seconds at the least between two pictures."""

LOOK = 3600.0
"""Seconds that may pass without news."""

_OPTIONS = ("username", "password_file", "ca_file", "cert_file", "key_file")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.epilog = EPILOG
    parser.add_argument(
        "-c", "--config", default=DEFAULT, metavar="FILE", help=f"the configuration ({DEFAULT})"
    )
    parser.add_argument("--broker", metavar="URL", help="such as mqtt://broker.local:1883")
    parser.add_argument("--username", metavar="NAME", help="with --broker: who we are there")
    for option in _OPTIONS[1:]:
        named = f"--{option.replace('_', '-')}"
        parser.add_argument(named, metavar="FILE", help="with --broker: as under [routes.mqtt]")
    parser.add_argument("--watch", action="store_true", help="go on, and show what changes")


def run(arguments: argparse.Namespace) -> int:
    """Print the list; with ``--watch`` until Ctrl-C, which `gateway.cli.main` deals with."""
    fleet_at, settings = _broker(arguments)
    with fleet_at(settings) as fleet:
        fleet.settle()
        if not arguments.watch:
            _show(fleet, arguments)
            return 0
        shown = None
        while True:
            nodes = fleet.listing.nodes()
            if nodes != shown:
                _show(fleet, arguments)
                shown = nodes
            fleet.turn(LOOK)
            # What comes together is shown together.
            began = time.monotonic()
            while (left := BETWEEN - (time.monotonic() - began)) > 0:
                fleet.turn(left)


def _broker(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """Return what listens at brokers, and the settings by which it finds one."""
    import msgspec

    from gateway import plugins
    from gateway.config.loading import load
    from gateway.errors import ConfigError

    given = {name: value for name in _OPTIONS if (value := getattr(arguments, name))}
    router: Any = plugins.find(plugins.ROUTES, "mqtt")
    fleet_at = getattr(router, "Fleet", None)
    if fleet_at is None:
        raise ConfigError("the mqtt route that is installed knows no fleets: update it")
    if arguments.broker is not None:
        try:
            return fleet_at, msgspec.convert({"broker": arguments.broker, **given}, router.Settings)
        except msgspec.ValidationError as error:
            raise ConfigError(str(error)) from error
    if given:
        raise ConfigError(f"--{next(iter(given)).replace('_', '-')} is of use with --broker alone")
    configuration = load(arguments.config, find=plugins.find)
    for route in configuration.routes.values():
        if route.type == "mqtt":
            return fleet_at, route.settings
    raise ConfigError(f"{arguments.config} has no route to a broker: give one with --broker")


def _show(fleet: Any, arguments: argparse.Namespace) -> None:
    nodes = fleet.listing.nodes()
    now = time.time()
    if arguments.json:
        report = {"time": now, "nodes": nodes}
        print(json.dumps(report, ensure_ascii=False, indent=None if arguments.watch else 2))
        sys.stdout.flush()
        return
    terminal = sys.stdout.isatty()
    columns = shutil.get_terminal_size().columns if terminal else 0
    lines = render(nodes, now, columns=columns, colours=terminal)
    if arguments.watch:
        # Home, and clear: the picture takes the place of the last one.
        lines = ["\x1b[H\x1b[2J" + lines[0], *lines[1:]] if terminal else [*lines, ""]
    print("\n".join(lines), flush=True)


def render(
    nodes: Sequence[Mapping[str, Any]], now: float, *, columns: int = 0, colours: bool = False
) -> list[str]:
    """Return the list as lines for people, wrapped to ``columns`` where that is not 0."""
    if not nodes:
        return ["no gateway has ever been at this broker"]
    rows = [
        (
            text(node["node"]),
            "online" if node["online"] else "offline",
            since(dict(node), now),
            text(node["version"] or None),
            f"{text(node['devices']['connected'])}/{node['devices']['total']}",
        )
        for node in nodes
    ]
    words = ["healthy" if node["online"] else "failed" for node in nodes]

    def paint(row: int, column: int, cell: str) -> str:
        return coloured(cell, words[row], on=colours) if column == 1 else cell

    header = ("NODE", "STATE", "SINCE", "VERSION", "DEVICES")
    head, *rest = table(header, rows, right=frozenset({2, 4}), paint=paint)
    lines = [f"{head}  REMARKS"]
    for line, node in zip(rest, nodes, strict=True):
        lines += hanging(f"{line}  ", _remarks(node), columns)
    online = sum(bool(node["online"]) for node in nodes)
    return [*lines, "", f"{online} of {len(nodes)} online"]


def _remarks(node: Mapping[str, Any]) -> str:
    """Return what there is to say: why it is away, or what is not well."""
    if not node["online"]:
        return text(node["cause"] or "nobody says why")
    return "; ".join(text(problem["what"]) for problem in node["problems"])
