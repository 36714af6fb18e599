"""``gateway ps``: who is there, how each is, and which boards are connected.

Asks the running gateway over its socket. A process that does not answer in
time is shown as such; the rest is shown all the same. Where the output is a
terminal, long causes are wrapped to its width.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable
from typing import Any

from gateway.cli.table import count, hanging, since, table, text

SUMMARY = "list the processes and devices of the running gateway"

EPILOG = """\
UP is how long a process has been in its state; AGAIN, how often it had to be
started again. Of the MAIL that it was sent, in this life and those before, READ was
handed to it, it sent BACK what it refused or nobody there took, WAITS is still in
its mailbox, and LOST was too late, too much, or died with it: MAIL = READ + BACK +
WAITS + LOST, to the letter in --json. Of a process that was killed one letter may
be in doubt, and is under LOST. What gave way to newer mail on its way to another OS
process is counted by its writer: publications_dropped in --json. A forked process
counts its mail as it takes that in: what lies before one that is stuck is in no
column until it goes on, or is dead. One that is not answering is busy or stuck; its
mail waits.

examples:
  gateway ps
  gateway ps --json | jq '.devices[] | select(.connected | not) | .name'

exit status: 0 it was told, 1 the gateway could not be asked
"""

_MAIL = {
    "READ": ("delivered",),
    "BACK": ("bounced",),
    "WAITS": ("queued",),
    "LOST": ("dropped", "expired", "lost_with_reader", "in_doubt"),
}
"""What became of the mail: each count of the ledger's equation is in one column."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.epilog = EPILOG
    parser.add_argument(
        "--socket", metavar="PATH", help="the gateway's socket, where it is not the usual one"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what the gateway says of itself; return 0."""
    from gateway.client import Client

    with Client(arguments.socket) as gateway:
        report = gateway.ps()
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
        return 0
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    print("\n".join(render(report, columns)))
    return 0


def render(report: dict[str, Any], columns: int = 0) -> list[str]:
    """Return ``report`` as lines for people, wrapped to ``columns`` where that is not 0."""
    now = float(report.get("time", 0.0))
    processes = [_process(process, now) for process in report.get("processes", ())]
    header = ("PROCESS", "MODE", "STATE", "UP", "AGAIN", "PID", "MAIL", *_MAIL)
    lines = [f"node {text(report.get('node'))}, version {text(report.get('version'))}", ""]
    lines += table(header, processes, right=frozenset(range(3, len(header))))
    lines += _troubles(report.get("processes", ()), columns)
    for title in ("routes", "devices"):
        states = report.get(title, ())
        rows = [
            (text(state.get("name")), text(state.get("state")), since(state, now))
            for state in states
        ]
        if not rows:
            lines += ["", f"no {title}"]
            continue
        head, *rest = table((title[:-1].upper(), "STATE", "SINCE"), rows, right=frozenset({2}))
        lines += ["", f"{head}  CAUSE"]
        for line, state in zip(rest, states, strict=True):
            lines += hanging(f"{line}  ", text(state.get("cause")), columns)
    return lines


def _process(process: dict[str, Any], now: float) -> tuple[str, ...]:
    mail = process.get("ledger") or {}
    # What is in doubt was sent, and is not among what was accepted.
    sent = mail.get("accepted", 0) + mail.get("in_doubt", 0)
    became = (sum(mail.get(name, 0) for name in column) for column in _MAIL.values())
    return (
        text(process.get("name")),
        text(process.get("mode")),
        text(process.get("state")),
        since(process, now),
        str(process.get("restarts", 0)),
        str(process.get("pid") or "-"),
        *map(count, (sent, *became)),
    )


def _is_silent(process: dict[str, Any]) -> bool:
    return process.get("state") == "living" and not process.get("answers")


def _troubles(processes: Iterable[dict[str, Any]], columns: int) -> list[str]:
    """Return what is to be known of those processes that are not there, or do not answer."""
    lines = []
    for process in processes:
        if _is_silent(process):
            start = f"{text(process.get('name'))} is not answering: "
            lines += hanging(start, "it is busy or stuck, and its mail waits", columns)
        elif process.get("state") != "living":
            start = f"{text(process.get('name'))} {text(process.get('state'))}: "
            lines += hanging(start, text(process.get("cause")), columns)
    return ["", *lines] if lines else []
