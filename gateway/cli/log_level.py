"""``gateway log-level``: what is logged, changed while the gateway runs.

Holds for every process at once, also for those that are restarted, until it is
taken back with "default" or the gateway ends. Where it is to last, it stands in the
configuration as ``log_level``.
"""

from __future__ import annotations

import argparse
import json

SUMMARY = "say what is logged, of everything, a process or a logger"

LEVELS = ("debug", "info", "warning", "error", "critical", "default")

EPILOG = """\
examples:
  gateway log-level                     which levels were set
  gateway log-level debug               everything, of every process
  gateway log-level serial debug        the process "serial" alone
  gateway log-level routes.mqtt error    the logger "routes.mqtt" and those below it
  gateway log-level serial default      as it was at the start

exit status: 1 the gateway could not be asked, or has nothing of that name
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.epilog = EPILOG
    parser.add_argument(
        "words",
        metavar="[NAME] LEVEL",
        nargs="*",
        help=f"a process or a logger, and one of {', '.join(LEVELS)}",
    )
    parser.add_argument(
        "--socket", metavar="PATH", help="the gateway's socket, where it is not the usual one"
    )


def run(arguments: argparse.Namespace) -> int:
    """Set a level, and print those that have been set."""
    from gateway.client import Client
    from gateway.errors import ConfigError

    *names, level = arguments.words or [""]
    if len(names) > 1:
        raise ConfigError("one name and one level, such as: gateway log-level serial debug")
    if level and level not in LEVELS:
        raise ConfigError(f"{level!r} is no level: use {', '.join(LEVELS)}")
    with Client(arguments.socket) as gateway:
        levels = gateway.log_level(level, *names)
    print(json.dumps(levels, ensure_ascii=False) if arguments.json else as_text(levels))
    return 0


def as_text(levels: dict[str, object]) -> str:
    """Return the levels that were set, one a line.

    >>> print(as_text({"default": "info", "processes": {"serial": "debug"}, "loggers": {}}))
    everything  info
    serial      debug
    """
    rows = [("everything", str(levels.get("default") or "as configured"))]
    for kind in ("processes", "loggers"):
        table = levels.get(kind)
        rows += table.items() if isinstance(table, dict) else ()
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {level}" for name, level in rows)
