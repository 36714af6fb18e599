"""``gateway send``: write one letter to anything behind the gateway, print the answer.

An answer that is text is printed as it is, where it holds nothing but text;
anything else as JSON. Refused: a BODY that begins as JSON does and is none,
which would otherwise travel as text unnoticed.
"""

from __future__ import annotations

import argparse
from typing import Any

SUMMARY = "send one letter to an address and print the answer"

EPILOG = """\
ADDRESS is a process ("main") or something behind a route ("wheels@serial");
SUBJECT is what it is to do: for a device, the name of a command. BODY is JSON;
a bare word that is no JSON is text. "gateway ps" shows who is there.

examples:
  gateway send board@serial led '{"on": true}'
  gateway send board@serial read_analogue
  gateway send patrol salutation hello
  gateway send wheels@serial stop --timeout 0.5 --json

exit status: 0 it was answered, 1 it was not; standard error says why
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.epilog = EPILOG
    parser.add_argument("address", metavar="ADDRESS", help="who is to read it")
    parser.add_argument("subject", metavar="SUBJECT", help="what it is about")
    parser.add_argument("body", metavar="BODY", nargs="?", help="what it says (default: nothing)")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=5.0,
        help="how long to wait for the answer (default: %(default)g)",
    )
    parser.add_argument(
        "--socket", metavar="PATH", help="the gateway's socket, where it is not the usual one"
    )


def run(arguments: argparse.Namespace) -> int:
    """Send it and print the answer; return 0."""
    from gateway.client import Client
    from gateway.mail.codec import to_json

    body = None if arguments.body is None else parse_body(arguments.body)
    with Client(arguments.socket) as gateway:
        answer = gateway.ask(arguments.address, arguments.subject, body, timeout=arguments.timeout)
    if arguments.json:
        print(to_json({"body": answer}).decode())
    else:
        print(readable(answer))
    return 0


def parse_body(text: str) -> Any:
    """Return what BODY stands for; raise `BodyError` where it is JSON with a mistake.

    >>> parse_body('{"on": true}'), parse_body("12"), parse_body("hello")
    ({'on': True}, 12, 'hello')
    """
    from gateway.errors import BodyError
    from gateway.mail.codec import from_json

    try:
        return from_json(text)
    except BodyError as error:
        if text.lstrip()[:1] in ("{", "[", '"') or text.removeprefix("-").isdecimal():
            raise BodyError(f"BODY is {error}; to send it as text, write it in quotes") from error
        return text


def readable(answer: Any) -> str:
    """Return ``answer`` for people, without anything that a terminal would obey.

    >>> readable(None), readable("Hello"), readable({"mv": 3})
    ('done', 'Hello', '{"mv": 3}')
    """
    import json

    from gateway.mail.codec import to_json

    if answer is None:
        return "done"
    if isinstance(answer, str):
        lines = answer.split("\n")
        return answer if all(line.isprintable() for line in lines) else ascii(answer)
    text = json.dumps(json.loads(to_json(answer)), ensure_ascii=False)
    return text if text.isprintable() else json.dumps(json.loads(text))


def seconds(text: str) -> float:
    """Return the seconds that ``text`` says, for a command line."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 600:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of seconds above 0, 600 at the most"
        )
    return found
