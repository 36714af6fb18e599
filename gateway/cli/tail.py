"""``gateway tail``: the mail as it flows, or what is published, one line each.

Without a PATTERN it shows letters, replies, bounces and publications between
all processes, for as long as it runs; nobody pays for that when nobody
watches. With one it shows the topics under it, beginning with what is
retained. Where the output is a terminal, long bodies are wrapped to its width,
below themselves; elsewhere everything is one line. What this terminal was too
slow for is said, with its number.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from textwrap import TextWrapper
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.client import Client, Copy, Publication

SUMMARY = "print the mail as it flows, or what is published"

KINDS = ("letter", "reply", "bounce", "publication")

EPILOG = """\
The mail is shown with its bodies, shortened where they are long, and with what
is secret in them; so only root and the gateway's own user may watch it.
Observers give a PATTERN, such as '#'. What --from, --to and --subject match are
globs, as in a shell; a publication has no recipient, and its subject is its topic.

PATTERN is a topic, in which + stands for one level and # for the rest. Quote
it, since the shell has its own ideas of #. There are
  devices/<name>/state           what is connected, and why not
  devices/<name>/<measurement>   what the device says
  devices/<name>/events/<event>  connected, disconnected, comms_error, ...
  routes/<name>/state
  processes/<name>/state

examples:
  gateway tail                               all mail
  gateway tail --to '*@serial'               what the boards are told
  gateway tail --kind bounce --json          what failed, for programs
  gateway tail 'devices/+/state'             which boards come and go
  gateway tail 'devices/board/#' --json | jq .body

exit status: 1 the gateway ended or could not be asked, 130 ended by Ctrl-C
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.epilog = EPILOG
    parser.add_argument(
        "pattern", metavar="PATTERN", nargs="?", help="what is published on these topics, no mail"
    )
    mail = parser.add_argument_group("mail")
    mail.add_argument("--from", dest="sender", metavar="GLOB", help="only what these write")
    mail.add_argument("--to", dest="recipient", metavar="GLOB", help="only what is for these")
    mail.add_argument("--subject", metavar="GLOB", help="only what is about this")
    mail.add_argument(
        "--kind", action="append", choices=KINDS, help="only this kind; may be repeated"
    )
    parser.add_argument(
        "--socket", metavar="PATH", help="the gateway's socket, where it is not the usual one"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what comes until Ctrl-C, which `gateway.cli.main` turns into an exit status."""
    from gateway.client import Client
    from gateway.errors import ConfigError

    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    filters = (arguments.sender, arguments.recipient, arguments.subject, arguments.kind)
    with Client(arguments.socket) as gateway:
        if arguments.pattern is None:
            _show_mail(gateway, arguments, columns)
        elif any(filters):
            raise ConfigError("a PATTERN is for topics; --from, --to, --subject, --kind for mail")
        else:
            _show_publications(gateway, arguments, columns)
    return 0


def _show_mail(gateway: Client, arguments: argparse.Namespace, columns: int) -> None:
    with gateway.tap(
        sender=arguments.sender or "*",
        recipient=arguments.recipient or "*",
        subject=arguments.subject or "*",
        kinds=arguments.kind or (),
    ) as tap:
        for copy in tap:
            if arguments.json:
                print(as_json(copy), flush=True)
                continue
            _say_dropped(copy.dropped)
            print(mail_as_text(copy, columns), flush=True)


def _show_publications(gateway: Client, arguments: argparse.Namespace, columns: int) -> None:
    with gateway.tail(arguments.pattern) as tail:
        width = 24
        for publication in tail:
            if arguments.json:
                print(as_json(publication), flush=True)
                continue
            # Grows to the longest topic so far, that bodies may stand in a column.
            width = max(width, min(len(publication.topic), 32))
            _say_dropped(publication.dropped)
            print(as_text(publication, width, columns), flush=True)


def _say_dropped(count: int) -> None:
    if count:
        print(f"-- {count} dropped: read too slowly --")


def as_json(said: Publication | Copy) -> str:
    """Return ``said`` as one line of JSON."""
    from gateway.mail.codec import to_json

    return to_json(said._asdict()).decode()


def as_text(publication: Publication, width: int, columns: int = 0) -> str:
    """Return ``publication`` for people; its topic fills ``width``, a line ``columns`` if not 0."""
    start = f"{_clock(publication.time)}  {_shown(publication.topic).ljust(width)}  "
    return _laid_out(start, _body(publication.body), columns)


def mail_as_text(copy: Copy, columns: int = 0) -> str:
    """Return ``copy`` for people, its thread and its place in that behind it."""
    to = f" → {_shown(copy.recipient)}" if copy.recipient else ""
    who = f"{_shown(copy.sender)}{to}"
    start = f"{_clock(copy.time)}  {copy.kind:11}  {who:24}  {_shown(copy.subject):16}  "
    rest = _body(copy.body) + (" (cut)" if copy.is_cut else "")
    rest += f"  [{_shown(copy.thread_id)} {copy.thread_index}]"
    if copy.error:
        rest += f"  not delivered: {_shown(copy.error)}"
    return _laid_out(start, rest, columns)


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment)) + f".{int(moment % 1 * 1000):03}"


def _shown(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def _body(body: Any) -> str:
    from gateway.mail.codec import to_json

    text = json.dumps(json.loads(to_json(body)), ensure_ascii=False)
    return text if text.isprintable() else json.dumps(json.loads(text))


def _laid_out(start: str, body: str, columns: int) -> str:
    if not columns or len(start) + len(body) <= columns:
        return start + body
    # The body goes below, where it has as much room as the terminal gives.
    indent = " " * 14
    wrapper = TextWrapper(
        columns, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    return "\n".join([start.rstrip(), *wrapper.wrap(body)])
