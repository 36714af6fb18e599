"""``gateway tail``: what is published, one line each, as it comes.

Begins with what is retained under the pattern, then follows until Ctrl-C.
Where the output is a terminal, long bodies are wrapped to its width, below
themselves; elsewhere every publication is one line. What this terminal was
too slow for is said, with its number.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from textwrap import TextWrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.client import Publication

SUMMARY = "print what is published, as it comes"

EPILOG = """\
PATTERN is a topic, in which + stands for one level and # for the rest. Quote
it, since the shell has its own ideas of #. There are
  devices/<name>/state           what is connected, and why not
  devices/<name>/<measurement>   what the device says
  devices/<name>/events/<event>  connected, disconnected, comms_error, ...
  routes/<name>/state
  processes/<name>/state

examples:
  gateway tail                          everything
  gateway tail 'devices/+/state'        which boards come and go
  gateway tail 'devices/board/#' --json | jq .body

exit status: 1 the gateway ended or could not be asked, 130 ended by Ctrl-C
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.epilog = EPILOG
    parser.add_argument(
        "pattern", metavar="PATTERN", nargs="?", default="#", help="which topics (default: all)"
    )
    parser.add_argument(
        "--socket", metavar="PATH", help="the gateway's socket, where it is not the usual one"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print publications until Ctrl-C, which `gateway.cli.main` turns into an exit status."""
    from gateway.client import Client

    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    with Client(arguments.socket) as gateway, gateway.tail(arguments.pattern) as tail:
        width = 24
        for publication in tail:
            if arguments.json:
                print(as_json(publication), flush=True)
                continue
            # Grows to the longest topic so far, that bodies may stand in a column.
            width = max(width, min(len(publication.topic), 32))
            if publication.dropped:
                print(f"-- {publication.dropped} dropped: read too slowly --")
            print(as_text(publication, width, columns), flush=True)
    return 0


def as_json(publication: Publication) -> str:
    """Return ``publication`` as one line of JSON."""
    from gateway.mail.codec import to_json

    return to_json(publication._asdict()).decode()


def as_text(publication: Publication, width: int, columns: int = 0) -> str:
    """Return ``publication`` for people; its topic fills ``width``, a line ``columns`` if not 0."""
    from gateway.mail.codec import to_json

    moment = time.localtime(publication.time)
    clock = time.strftime("%H:%M:%S", moment) + f".{int(publication.time % 1 * 1000):03}"
    topic = publication.topic if publication.topic.isprintable() else ascii(publication.topic)
    body = json.dumps(json.loads(to_json(publication.body)), ensure_ascii=False)
    if not body.isprintable():
        body = json.dumps(json.loads(body))
    start = f"{clock}  {topic.ljust(width)}  "
    if not columns or len(start) + len(body) <= columns:
        return start + body
    # The body goes below, where it has as much room as the terminal gives.
    indent = " " * 14
    wrapper = TextWrapper(
        columns, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    return "\n".join([start.rstrip(), *wrapper.wrap(body)])
