"""``gateway health``: is it well, what is not, and what is to be done about it.

Asks the running gateway over its socket, for the same report that goes out over
MQTT. Who may only look, and not write letters, gets the last one that was
published. With ``--watch`` it shows each report as it comes, on a terminal in
place of the one before.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.client import Client

SUMMARY = "say whether the gateway is well, and what to do where it is not"

EPILOG = """\
STATE is fine, WARNING or CRITICAL. What this machine cannot know is unknown, what
could not be read is unread, and what has not been read for long is stale: none of
those is fine. The thresholds stand under [health] in the configuration.

examples:
  gateway health
  gateway health --watch
  gateway health --json | jq -r '.problems[] | .what'

exit status: 0 it was told, whatever it says, 1 the gateway could not be asked
"""

_TOPIC = "health/whole"

_CLEAR, _HOME, _TO_THE_END, _BELOW = "\x1b[2J", "\x1b[H", "\x1b[K", "\x1b[J"
"""Wipe the terminal; put the cursor up; wipe what is right of it, and what is below."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.epilog = EPILOG
    parser.add_argument("--watch", action="store_true", help="show each report as it comes")
    parser.add_argument(
        "--socket", metavar="PATH", help="the gateway's socket, where it is not the usual one"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the report; with ``--watch`` each one, until Ctrl-C."""
    from gateway.client import Client

    with Client(arguments.socket) as gateway:
        if not arguments.watch:
            _show(_ask(gateway), arguments)
            return 0
        _check_reporting(gateway)
        if sys.stdout.isatty() and not arguments.json:
            print(_CLEAR, end="")
        with gateway.tail(_TOPIC) as tail:
            for publication in tail:
                _show(publication.body, arguments)
    return 0


def _ask(gateway: Client) -> Any:
    """Return the report as it is now, or, for an observer, as it was published last."""
    from gateway.errors import (
        AddressError,
        CallTimeoutError,
        RecipientGoneError,
        RefusedError,
    )

    try:
        return gateway.ask("health", "report")
    except (AddressError, RecipientGoneError) as error:
        raise _silent(gateway) from error
    except RefusedError:
        with gateway.tail(_TOPIC, patience=5.0) as tail:
            try:
                return next(tail).body
            except CallTimeoutError as error:
                raise _silent(gateway) from error


def _check_reporting(gateway: Client) -> None:
    """Raise where nobody would publish a report, so that nobody waits for one."""
    if _reporter(gateway).get("state") in (None, "degraded"):
        raise _silent(gateway)


def _reporter(gateway: Client) -> dict[str, Any]:
    """Return how the process is that reports; empty where there is none."""
    processes: list[dict[str, Any]] = gateway.ps().get("processes", [])
    return next((each for each in processes if each.get("name") == "health"), {})


def _silent(gateway: Client) -> Exception:
    """Return why there is no report, and what to do about it."""
    from gateway.cli.table import text
    from gateway.errors import AddressError, RecipientGoneError

    reporter = _reporter(gateway)
    if not reporter:
        return AddressError(
            "this gateway does not report how it is: say enabled = true under [health] in its"
            " configuration, and restart it"
        )
    state, cause = text(reporter.get("state")), text(reporter.get("cause"))
    start = "this gateway does not report how it is: its process 'health' "
    if state == "degraded":
        return RecipientGoneError(
            f"{start}has failed too often ({cause}), and is tried again once a minute or so:"
            " mend that; the gateway's log says more"
        )
    if state == "living":
        return RecipientGoneError(f"{start}lives and has told nothing yet: ask again")
    return RecipientGoneError(
        f"{start}is {state} ({cause}): ask again; the gateway's log says more"
    )


def _show(report: dict[str, Any], arguments: argparse.Namespace) -> None:
    from gateway.cli.health_page import render

    if arguments.json:
        indent = None if arguments.watch else 2
        print(json.dumps(report, ensure_ascii=False, indent=indent), flush=True)
        return
    is_terminal = sys.stdout.isatty()
    columns, rows = shutil.get_terminal_size() if is_terminal else (0, 0)
    lines = render(report, columns, colour=is_terminal and not os.environ.get("NO_COLOR"))
    if not arguments.watch:
        print("\n".join(lines), flush=True)
    elif is_terminal:
        page = "".join(f"{line}{_TO_THE_END}\n" for line in _cut(lines, rows))
        # No more line ends: on a full screen one would push the first line, the verdict, out.
        print(_HOME + page + _BELOW, end="", flush=True)
    else:
        print("\n".join([*lines, ""]), flush=True)


def _cut(lines: list[str], rows: int) -> list[str]:
    """Return as many of ``lines`` as fit, since what comes first is what matters."""
    room = max(rows - 2, 3)
    if len(lines) <= room:
        return lines
    return [*lines[:room], f"… {len(lines) - room} more lines: 'gateway health' shows them all"]
