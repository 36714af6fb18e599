"""``gateway check FILE``: every mistake in a configuration, at once.

Looks up the routers and drivers that the file names, since they know what they take,
and starts none of them. Whether a port or a broker is there is not asked: that they are
absent is normal life.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

SUMMARY = "find every mistake in a configuration file; starts nothing"

EPILOG = """\
Files in conf.d beside FILE are laid over it in the order of their names, and checked
with it. Each mistake is a line on standard output: file, line, key, what is wrong and
what would be right. What is no mistake and yet worth a thought goes to
standard error.

examples:
  gateway check /etc/gateway/gateway.toml
  gateway check gateway.toml --json | jq '.mistakes[].key'

exit status: 0 no mistake, 2 mistakes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.epilog = EPILOG
    parser.add_argument("file", metavar="FILE", help="the TOML file to check")


def run(arguments: argparse.Namespace) -> int:
    """Print the mistakes; return 0 where there is none and 2 where there are."""
    from gateway import plugins
    from gateway.cli.memory_folder import remark_on
    from gateway.config.loading import load
    from gateway.config.mistake import ConfigErrors, Mistake

    mistakes: Sequence[Mistake] = ()
    said = remark = ""
    try:
        configuration = load(arguments.file, find=plugins.find)
    except ConfigErrors as errors:
        mistakes = errors.mistakes
    else:
        remark = remark_on(configuration.gateway.sockets)
        routes, devices = len(configuration.routes), len(configuration.devices)
        said = f"{_count(routes, 'route')}, {_count(devices, 'device')}"
        if configuration.crew:
            said += f", {_count(len(configuration.crew), 'crew member')}"
        if configuration.apis:
            said += f", {_count(len(configuration.apis), 'API')}"
    if arguments.json:
        found = [
            {name: getattr(mistake, name) for name in ("file", "line", "key", "problem", "advice")}
            for mistake in mistakes
        ]
        report = {
            "file": arguments.file,
            "ok": not mistakes,
            "mistakes": found,
            "remarks": [remark] if remark else [],
        }
        print(json.dumps(report, ensure_ascii=False, indent=2))
    elif mistakes:
        for mistake in mistakes:
            print(mistake)
        sys.stdout.flush()
        print(f"{_count(len(mistakes), 'mistake')} found", file=sys.stderr)
    else:
        print(f"{arguments.file}: fine: {said}")
        if remark:
            print(f"mind: {remark}", file=sys.stderr)
    return 2 if mistakes else 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
