"""``gateway call``: call what a process, a device or another gateway can do.

What can be called, and with what, the other side says: its map tells how words of the
command line are meant. Where it has none to show, a word that is JSON is that, and any
other is text. What is yielded is printed as it comes; Ctrl-C takes it back.

Refused: a word that begins as JSON does and is none, where a text is not what is wanted.
"""

from __future__ import annotations

import argparse
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.client import Client
    from gateway.rpc.api_map import Entry

SUMMARY = "call what a process, a device or another gateway can do"

EPILOG = """\
ADDRESS is a process ("robot"), something behind a route ("wheels@serial") or on another
gateway ("robot@kitchen-pi"). Without METHOD it lists what can be called there; with the
beginning of one ("arm") what stands below it. Arguments come in their order or by name.
What is listed without parentheses is read, or set with an argument. A word is text where
text is wanted; else it is JSON, or, where it is none, text.

examples:
  gateway call robot                              what can it do?
  gateway call robot arm.grip force=3
  gateway call wheels@serial drive 100 100
  gateway call robot speed 7                      sets it; "speed" alone reads it
  gateway call robot arm.scan most=20             prints each part as it comes
  gateway call robot plan '{"from": [0, 0]}' --timeout 60 --json
  gateway call robot --stub > robot_api.py        types for editors and type checkers

exit status: 0 it was answered, 1 it was not; standard error says why
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    from gateway.cli.send import seconds

    parser.epilog = EPILOG
    parser.add_argument("address", metavar="ADDRESS", help="whom to call")
    parser.add_argument("method", metavar="METHOD", nargs="?", help="what, such as arm.grip")
    # With a default of its own it is not named among those that are required.
    parser.add_argument(
        "words", metavar="ARG", nargs="*", default=[], help="a value, or name=value"
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=5.0,
        help="how long to wait for an answer, or for the next part (default: %(default)g)",
    )
    parser.add_argument(
        "--stub", action="store_true", help="print a Python module that types what is there"
    )
    parser.add_argument(
        "--socket", metavar="PATH", help="the gateway's socket, where it is not the usual one"
    )


def run(arguments: argparse.Namespace) -> int:
    """Call, list or write a stub; return 0."""
    from gateway.client import Client
    from gateway.errors import UnknownApiError
    from gateway.mail.message import MAP
    from gateway.rpc.api_map import read_map

    address, method = arguments.address, arguments.method
    with Client(arguments.socket) as gateway:
        if method is None or arguments.stub:
            told = gateway.ask(address, MAP, timeout=arguments.timeout)
            return _show(arguments, told, "")
        told = _map_of(gateway, address, arguments.timeout)
        entry = read_map(told).get(method)
        if entry is None and not arguments.words and _below(told, method):
            return _show(arguments, told, method)
        if not all(name.isidentifier() and name[0] != "_" for name in method.split(".")):
            raise UnknownApiError(f"{method!r} is nothing to call: write names, as in arm.grip")
        _call(gateway, arguments, entry)
    return 0


def _map_of(gateway: Client, address: str, timeout: float) -> Any:
    from gateway.errors import RefusedError
    from gateway.mail.message import MAP

    try:
        return gateway.ask(address, MAP, timeout=timeout)
    except RefusedError:
        # It has none, or we may not see it: the call itself is another matter.
        return {}


def _call(gateway: Client, arguments: argparse.Namespace, entry: Entry | None) -> None:
    from gateway.errors import RemoteError, remote_error
    from gateway.mail.codec import to_json
    from gateway.rpc.stream import Stream
    from gateway.rpc.tree import Remote, remote, using

    args, kwargs = parse_words(arguments.words, entry)
    found: Remote = using(remote(gateway, arguments.address), timeout=arguments.timeout)
    for name in arguments.method.split("."):
        found = getattr(found, name)
    try:
        answer = found(*args, **kwargs)
        if not isinstance(answer, Stream):
            print(to_json({"body": answer}).decode() if arguments.json else _readable(answer))
            return
        for part in answer:
            line = to_json({"part": part}).decode() if arguments.json else _readable(part)
            print(line, flush=True)
        if answer.returned is not None:
            said = to_json({"returned": answer.returned}).decode()
            print(said if arguments.json else _readable(answer.returned))
    except RemoteError as error:
        reason = f"{arguments.method} raised {error.remote_type or 'an error'}: {error}"
        raise remote_error(error.remote_type, reason) from error


def _readable(answer: Any) -> str:
    from gateway.cli.send import readable

    return readable(answer)


def parse_words(words: list[str], entry: Entry | None) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments without and with a name that ``words`` stand for.

    >>> parse_words(["3", "hard=true", "note=12"], None)
    ([3], {'hard': True, 'note': 12})
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        named = re.match(r"([A-Za-z_]\w*)=", word)
        if named:
            name = named[1]
            kwargs[name] = value_of(word[named.end() :], entry.takes(name) if entry else "", name)
        else:
            place = len(args)
            wanted = entry.takes(place) if entry else ""
            args.append(value_of(word, wanted, f"argument {place + 1}"))
    return args, kwargs


def value_of(word: str, wanted: str, name: str = "") -> Any:
    """Return the value that ``word`` stands for where a ``wanted`` is taken.

    >>> value_of("12", "str"), value_of("12", "int"), value_of("on", "bool")
    ('12', 12, True)
    """
    from gateway.errors import BodyError
    from gateway.mail.codec import from_json

    kinds = {kind.strip() for kind in wanted.split("|")}
    is_text = kinds <= {"str", "None"} and "str" in kinds
    if is_text and not word.startswith('"') and not ("None" in kinds and word == "null"):
        return word
    if "bool" in kinds and word.lower() in _SWITCHES:
        return _SWITCHES[word.lower()]
    try:
        found = from_json(word)
    except BodyError as error:
        if not is_text and "bytes" not in kinds and word.lstrip()[:1] in ("{", "[", '"'):
            raise BodyError(f"{name} is {error}; to send it as text, write it in quotes") from error
        return word.encode() if "bytes" in kinds else word
    return found if not is_text or found is None or isinstance(found, str) else word


_SWITCHES = {"on": True, "yes": True, "off": False, "no": False}


def _below(told: Any, method: str) -> bool:
    return any(str(path).startswith(f"{method}.") for path in told)


def _show(arguments: argparse.Namespace, told: Any, below: str) -> int:
    """Print what can be called, or the module that types it."""
    from gateway.rpc.api_map import read_map
    from gateway.rpc.stubs import stub_of

    if arguments.stub:
        print(stub_of(arguments.address, told), end="")
        return 0
    if below:
        told = {path: each for path, each in told.items() if path.startswith(f"{below}.")}
    if arguments.json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return 0
    entries = read_map(told)
    for entry in entries.values():
        print(_safe(str(entry)))
        for line in entry.description.splitlines():
            print(_safe(f"    {line}" if line.strip() else ""))
    if not entries:
        print(f"{arguments.address} has nothing to call")
    return 0


def _safe(text: str) -> str:
    return text if text.isprintable() else ascii(text)
