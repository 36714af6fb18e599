r"""What is said at the front door: one JSON object a line, both ways.

A program outside asks, and every answer bears the ``id`` of its request::

    {"op":"hello","id":1}
    {"op":"ps","id":2}
    {"op":"send","id":3,"to":"board@serial","subject":"led","body":{"on":true},"timeout":5}
    {"op":"tail","id":4,"pattern":"devices/#"}
    {"op":"tap","id":5,"sender":"*","recipient":"*@serial","subject":"*","kinds":["letter"]}
    {"op":"log-level","id":6,"name":"serial","level":"debug"}
    {"op":"cancel","id":7,"request":3}

    {"id":3,"ok":true,"body":null}
    {"id":3,"ok":false,"error":{"code":"link_lost","reason":"…"}}

Answers come in the order in which they are there, and not in that of the requests.

A letter with ``"headers":{"solicited":"no"}`` wants no answer: its request is answered
as soon as it is delivered. An answer whose ``subject`` is ``$stream`` is the beginning of
more: its body names the ``stream``, the ``parts`` that are there, and whether there are
``more``, which a letter to the same address asks for. ``cancel`` takes a letter back that
awaits its answer, or such a stream; its body says whether there was one::

    {"id":3,"ok":true,"subject":"$stream","body":{"stream":"5f-17","parts":[0,1],"more":true}}
    {"op":"send","id":8,"to":"robot","subject":"$next","body":{"stream":"5f-17","most":64}}
    {"op":"cancel","id":9,"stream":"5f-17"}

After the answer to ``tail`` come publications, until the client goes; where
it reads too slowly the oldest are dropped, and the gap says how many::

    {"id":4,"topic":"devices/board/state","time":…,"sender":"serial","retain":true,"body":{…}}
    {"id":4,"dropped":12}

After the answer to ``tap`` come copies of the mail between all processes, and
gaps alike; a body that was too long comes with ``"cut":true``, and what could
not be delivered with its ``error``::

    {"id":5,"kind":"letter","time":…,"sender":"main","recipient":"board@serial","subject":"led",
     "message_id":"…","thread_id":"…","thread_index":1,"body":{"on":true}}

Bytes within are ``{"$bytes": base64}``; ``timeout`` is in seconds, ``time`` in
seconds since 1970. No I/O and no clock here. Refused, as a `Refusal` that says
why: what is no JSON object, unknown operations and keys, wrong types.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.errors import BodyError
from gateway.mail import json_lines
from gateway.mail.codec import to_json
from gateway.mail.json_lines import Id, Refusal, failure
from gateway.mail.message import Message

VERSION = 1
"""Of this protocol; ``hello`` tells it."""

LONGEST = 86_400.0
"""Seconds that an answer may be waited for."""

OPERATIONS = "hello, ps, send, cancel, tail, tap or log-level"


Header = Annotated[str, Meta(max_length=200)]


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="hello"):
    """Ask who is there."""

    id: Id = None


class Ps(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="ps"):
    """Ask how everybody is."""

    id: Id = None


class Send(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="op",
    tag="send",
):
    """Write a letter and wait for its answer, ``timeout`` seconds at the most."""

    to: str
    subject: str
    body: Any = None
    timeout: Annotated[float, Meta(gt=0, le=LONGEST)] = 5.0
    headers: Annotated[dict[Header, Header], Meta(max_length=16)] = {}
    id: Id = None


class Cancel(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="op",
    tag="cancel",
):
    """Take back the letter of the request ``request``, or close ``stream``."""

    request: Id = None
    stream: Annotated[str, Meta(max_length=200)] = ""
    id: Id = None


class Tail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="tail"):
    """Ask for what is published under ``pattern``, from now on, and what is retained."""

    pattern: str = "#"
    id: Id = None


Glob = Annotated[str, Meta(min_length=1, max_length=1024)]


class Tap(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="op",
    tag="tap",
):
    """Ask for copies of the mail that the globs match, of these ``kinds``, or all where empty."""

    sender: Glob = "*"
    recipient: Glob = "*"
    subject: Glob = "*"
    kinds: Annotated[
        tuple[Literal["letter", "reply", "bounce", "publication"], ...], Meta(max_length=4)
    ] = ()
    id: Id = None


class LogLevel(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="op",
    tag="log-level",
):
    """Set the level of ``name``, or of all; without ``level`` ask which levels were set."""

    name: Annotated[str, Meta(max_length=200)] = ""
    level: Annotated[str, Meta(max_length=16)] = ""
    id: Id = None


Request = Hello | Ps | Send | Cancel | Tail | Tap | LogLevel


def parse(line: bytes) -> Request | Refusal:
    """Return the request in ``line``, or why there is none.

    >>> parse(b'{"op":"tail","pattern":"devices/#","id":7}')
    Tail(pattern='devices/#', id=7)
    >>> str(parse(b'{"op":"sing","id":7}').error).partition("; ")[2]
    'op is hello, ps, send, cancel, tail, tap or log-level'
    """
    requests: Any = Request
    found: Request | Refusal = json_lines.parse(
        line, requests, example='{"op":"hello"}', operations=OPERATIONS
    )
    return found


def id_in(line: bytes) -> Id:
    """Return the id that a line begins with which is too long to be read; None for none.

    >>> id_in(b'{"id":17,"op":"send","to":"xxxxxxxx')
    17
    """
    found = _ID.match(line)
    return int(found[1]) if found else None


_ID = re.compile(rb'\{"id":(\d{1,18}),')


def answer(id: Id, body: Any, subject: str = "") -> bytes:
    r"""Return the line that answers ``id``; an error line where ``body`` fits into no JSON.

    ``subject`` is the answer's, where that is not the one of what was asked.

    >>> answer(1, {"raw": b"ok"})
    b'{"id":1,"ok":true,"body":{"raw":{"$bytes":"b2s="}}}\n'
    """
    try:
        return json_lines.done(id, **({"subject": subject} if subject else {}), body=body)
    except BodyError as error:
        return failure(id, BodyError(f"the answer cannot be written as JSON: {error}"))


def publication(message: Message) -> bytes:
    """Return the line that tells of ``message``, but for its beginning: `addressed` adds that."""
    fields = {
        "topic": message.subject,
        "time": message.time,
        "sender": message.sender,
        "retain": message.retain,
    }
    try:
        line = to_json({**fields, "body": message.body})
    except BodyError as error:
        told = {"code": error.code, "reason": json_lines.reason_of(error)}
        line = to_json({**fields, "error": told})
    return line[1:] + b"\n"


def copy_of_mail(id: Id, content: dict[str, Any]) -> bytes:
    r"""Return the line for the tap ``id`` that holds the copy of a letter.

    >>> copy_of_mail(5, {"kind": "letter", "body": float("nan")})
    b'{"id":5,"kind":"letter","body":null,"cut":true}\n'
    """
    try:
        return to_json({"id": id, **content}) + b"\n"
    except BodyError:
        return to_json({"id": id, **content, "body": None, "cut": True}) + b"\n"


def addressed(id: Id, rest: bytes) -> bytes:
    r"""Return ``rest`` of a `publication` as a whole line for the tail ``id``.

    >>> addressed("a", b'"topic":"x","body":1}\n')
    b'{"id":"a","topic":"x","body":1}\n'
    """
    return b'{"id":' + msgspec.json.encode(id) + b"," + rest


def gap(id: Id, count: int) -> bytes:
    """Return the line that says how many publications were dropped here."""
    return to_json({"id": id, "dropped": count}) + b"\n"
