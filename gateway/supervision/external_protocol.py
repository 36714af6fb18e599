r"""What an external program and the gateway say to each other: a JSON object a line, both ways.

The program asks; each request with an ``id`` is answered, one without it only
where it failed::

    {"op":"send","id":1,"to":"wheels@serial","subject":"drive","body":{"left":10}}
    {"op":"ask","id":2,"to":"worker","subject":"question","body":6,"timeout":5}
    {"op":"reply","message_id":"…","body":42}
    {"op":"refuse","message_id":"…","reason":"not on a Sunday"}
    {"op":"publish","topic":"lidar/scan","body":[1.5,2.5],"retain":false}
    {"op":"subscribe","id":3,"pattern":"devices/#"}
    {"op":"ebrake","reason":"the arm is on fire"}
    {"op":"die"}

    {"id":1,"ok":true,"message_id":"…"}
    {"id":2,"ok":true,"body":42}
    {"id":null,"ok":false,"error":{"code":"protocol","reason":"no request: …"}}

The gateway tells::

    {"op":"hello","version":1,"name":"lidar","parameters":{}}
    {"op":"letter","message_id":"…","sender":"main","subject":"…","body":…, …}
    {"op":"publication","id":3,"topic":"…","body":…,"sender":"…","time":…,"retain":false}
    {"op":"die"}

``letter`` has the kind ``letter``, or ``reply`` and ``bounce`` with
``in_reply_to`` where somebody answered what was sent with ``send``.

Bytes within are ``{"$bytes": base64}``, times are RFC 3339, ``timeout`` is in
seconds and ``time`` in seconds since 1970. No I/O and no clock here. Refused,
as a `Refusal` that says why: what is no JSON object, unknown operations and
keys, wrong types, lines over `LONGEST` bytes. An ``ebrake`` brakes whatever
else stands in its object, and whatever its reason is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gateway.errors import BodyError
from gateway.mail import json_lines
from gateway.mail.codec import to_json
from gateway.mail.json_lines import Id, Refusal, failure
from gateway.mail.message import NORMAL, Message

VERSION = 1
"""Of this protocol; ``hello`` tells it."""

LONGEST = 1024 * 1024
"""Bytes that one line may have, either way."""

PATIENCE = 600.0
"""Seconds that a program may have a request wait."""

NO_REASON = "it says no reason"
"""Why the brake was pulled, where nobody says it."""

Seconds = Annotated[float, Meta(ge=0, le=PATIENCE)]


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: Id = None


class Send(_Request, frozen=True, tag_field="op", tag="send"):
    """Write a letter; ``timeout`` is how long it may wait before a full mailbox."""

    to: str
    subject: str
    body: Any = None
    priority: Annotated[int, Meta(ge=0, le=2)] = NORMAL
    expires_in: Seconds | None = None
    timeout: Seconds = 5.0
    receipt: bool = False
    headers: dict[str, str] | None = None


class Ask(_Request, frozen=True, tag_field="op", tag="ask"):
    """Write a letter and be told the reply to it, within ``timeout`` seconds."""

    to: str
    subject: str
    body: Any = None
    timeout: Seconds = 5.0


class Reply(_Request, frozen=True, tag_field="op", tag="reply"):
    """Answer a letter."""

    message_id: str
    body: Any = None


class Refuse(_Request, frozen=True, tag_field="op", tag="refuse"):
    """Bounce a letter, with the reason."""

    message_id: str
    reason: str


class Publish(_Request, frozen=True, tag_field="op", tag="publish"):
    """Hand a body to whoever subscribed to a topic."""

    topic: str
    body: Any = None
    retain: bool = False


class Subscribe(_Request, frozen=True, tag_field="op", tag="subscribe"):
    """Be told what is published under a pattern."""

    pattern: str


class Ebrake(_Request, frozen=True, tag_field="op", tag="ebrake"):
    """Stop the whole application at once, as failed."""

    reason: Any = NO_REASON


class Die(_Request, frozen=True, tag_field="op", tag="die"):
    """Be asked to end."""


Request = Send | Ask | Reply | Refuse | Publish | Subscribe | Ebrake | Die


def parse(line: bytes) -> Request | Refusal:
    """Return the request in ``line``, or why there is none.

    >>> parse(b'{"op":"subscribe","pattern":"devices/#","id":7}')
    Subscribe(pattern='devices/#', id=7)
    >>> parse(b"sing").error
    ProtocolError('no request: no JSON: JSON is malformed: invalid character (byte 0)')
    """
    requests: Any = Request
    found: Request | Refusal = json_lines.parse(line, requests, example='{"op":"die"}')
    if isinstance(found, Refusal) and b"ebrake" in line:
        return _brake_in(line) or found
    return found


def _brake_in(line: bytes) -> Ebrake | None:
    """Return the brake that ``line`` pulls, though no request stands in it; None for none.

    Many write the name of a file as JSON that is no Unicode, Python among them.
    """
    try:
        said = json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("op") != "ebrake":
        return None
    return Ebrake(reason=said.get("reason", NO_REASON), id=json_lines.id_of(said))


def hello(name: str, parameters: Mapping[str, Any]) -> bytes:
    """Return the first line that a program reads."""
    return _line({"op": "hello", "version": VERSION, "name": name, "parameters": dict(parameters)})


def letter(message: Message) -> bytes:
    """Return the line that hands over ``message``.

    Raises `BodyError` where no line of JSON can carry it.
    """
    fields: dict[str, Any] = {
        "op": "letter",
        "message_id": message.message_id,
        "thread_id": message.thread_id,
        "thread_index": message.thread_index,
        "time": message.time,
        "sender": message.sender,
        "recipient": message.recipient,
        "subject": message.subject,
        "kind": message.kind,
        "body": message.body,
    }
    if message.in_reply_to is not None:
        fields["in_reply_to"] = message.in_reply_to
    if message.route:
        fields["route"] = message.route
    if message.headers:
        fields["headers"] = message.headers
    return _line(fields)


def publication(id: Id, message: Message) -> bytes:
    """Return the line that tells of ``message`` to the subscription ``id``.

    Raises `BodyError` where no line of JSON can carry it.
    """
    return _line(
        {
            "op": "publication",
            "id": id,
            "topic": message.subject,
            "time": message.time,
            "sender": message.sender,
            "retain": message.retain,
            "body": message.body,
        }
    )


def done(id: Id, **told: Any) -> bytes:
    """Return the line that says that the request ``id`` was done, or that no line can say it."""
    try:
        return _bounded(json_lines.done(id, **told))
    except BodyError as error:
        return failure(id, error)


DIE = b'{"op":"die"}\n'
"""The line that asks a program to end."""


def _line(fields: dict[str, Any]) -> bytes:
    return _bounded(to_json(fields) + b"\n")


def _bounded(line: bytes) -> bytes:
    if len(line) > LONGEST:
        raise BodyError(f"that is a line of {len(line)} bytes; {LONGEST} is the most")
    return line
