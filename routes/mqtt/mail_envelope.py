"""How mail travels between gateways: envelopes of JSON, and the topics they go by.

What ``living-pi`` writes to ``kitchen-pi`` goes to ``gateway/kitchen-pi/mail/living-pi``:
the sending node stands in the topic, where a broker's access list can hold it to the
truth (``pattern write gateway/+/mail/%u``), and not in the envelope. There are four::

    {"v": 1, "kind": "letter", "id": "3f-7", "sender": "main", "recipient": "wheels@serial",
     "subject": "drive", "body": {"left": 100}, "thread": "3f-7", "index": 1,
     "time": 1767225600.0, "ttl": 5.0, "priority": 1, "receipt": true, "headers": {}}
    {"v": 1, "kind": "taken", "to": "3f-7"}
    {"v": 1, "kind": "reply", "to": "3f-7", "id": "a0-4", "subject": "drive", "body": null}
    {"v": 1, "kind": "bounce", "to": "3f-7", "code": "refused", "reason": "the arm is loose"}

A bounce with the code ``remote`` has the ``type`` of what was raised besides.

``ttl`` is how many seconds the letter has left when it is published: two machines
need not agree on what time it is. ``time`` tells people when it was written. Bodies
are as `gateway.mail.codec` writes them: bytes as ``{"$bytes": base64}``.

A gateway that finds another version than its own says so in a bounce, where it can
tell whom. Keys that it does not know it leaves alone.

Pure. Refused: what is no envelope (`EnvelopeError`), bodies that JSON cannot hold
(`BodyError`), topics that are none (`ValueError`).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.config.crew import NAME
from gateway.errors import BodyError, GatewayError, ProtocolError, described
from gateway.mail.codec import from_json, to_json
from routes.mqtt.topics import ROOT, to_level

VERSION = 1

Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-.0-~]+\Z")]
"""Printable, without a space or a slash."""
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Line = Annotated[str, Meta(max_length=1000)]
Seconds = Annotated[float, Meta(ge=0, le=1e11)]


class _Envelope(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    v: int = VERSION


class Letter(_Envelope, frozen=True, kw_only=True, tag="letter"):
    """A letter, to ``recipient`` on the other side."""

    id: Id
    sender: Name
    recipient: Name
    subject: Line
    body: Any = None
    thread: Id
    index: Annotated[int, Meta(ge=1, le=1 << 31)] = 1
    time: Seconds = 0.0
    ttl: Seconds | None = None
    priority: Annotated[int, Meta(ge=0, le=2)] = 1
    receipt: bool = False
    headers: Annotated[dict[Line, Line], Meta(max_length=32)] = {}


class Taken(_Envelope, frozen=True, kw_only=True, tag="taken"):
    """The letter ``to`` is in its recipient's mailbox."""

    to: Id


class Reply(_Envelope, frozen=True, kw_only=True, tag="reply"):
    """The answer to the letter ``to``."""

    to: Id
    id: Id
    subject: Line
    body: Any = None


class Bounce(_Envelope, frozen=True, kw_only=True, tag="bounce"):
    """The letter ``to`` failed; ``code`` is one of `gateway.errors`.

    Where that is ``remote``, ``type`` is the class of what was raised.
    """

    to: Id
    code: Annotated[str, Meta(max_length=64)]
    reason: Line
    type: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET


Envelope = Letter | Taken | Reply | Bounce


class EnvelopeError(ProtocolError):
    """No envelope, or one of another version; ``id`` is its letter's where that can be told."""

    def __init__(self, why: str, kind: str = "no_envelope", id: str = "") -> None:
        super().__init__(why)
        self.kind = kind
        self.id = id


def write(envelope: Envelope) -> bytes:
    """Return ``envelope`` as it is published."""
    try:
        return to_json(envelope)
    except (TypeError, ValueError) as error:
        raise BodyError(f"the letter cannot be written as JSON: {error}") from error


def read(payload: bytes) -> Envelope:
    """Return the envelope in ``payload``; nothing but `EnvelopeError` is raised."""
    try:
        said = from_json(payload)
        # Half a surrogate pair can be escaped in JSON, and be written nowhere.
        to_json(said)
    except (GatewayError, ValueError) as error:
        raise EnvelopeError(f"no envelope: {_first_line(error)}") from error
    if not isinstance(said, dict):
        raise EnvelopeError("no envelope: it is no JSON object")
    if said.get("v") != VERSION or type(said["v"]) is not int:
        version = str(said.get("v"))[:20]
        why = f"mail of version {version}, where {VERSION} is understood"
        raise EnvelopeError(why, "version", _letter_id(said))
    try:
        return _decoded(said)
    except msgspec.ValidationError as error:
        why = f"no envelope: {_first_line(error)}"
        raise EnvelopeError(why, id=_letter_id(said)) from error


def bounce(to: str, error: GatewayError) -> Bounce:
    """Return what says that the letter ``to`` failed with ``error``."""
    return bounce_from(to, described(error))


def bounce_from(to: str, told: object) -> Bounce:
    """Return what says that the letter ``to`` failed, as the body of a bounce tells it."""
    words = told if isinstance(told, dict) else {}
    # What is quoted from outside may hold half a surrogate pair, which is no UTF-8.
    code, reason, kind = (
        str(words.get(word, unless)).encode("utf-8", "replace").decode()
        for word, unless in (("code", "error"), ("reason", "no reason given"), ("type", ""))
    )
    return Bounce(to=to, code=code[:64], reason=reason[:1000], type=kind[:200] or UNSET)


class MailTopics(NamedTuple):
    """Where the mail of ``node`` comes in, and where it goes.

    >>> topics = MailTopics("living-pi")
    >>> topics.to("kitchen-pi")
    'gateway/kitchen-pi/mail/living-pi'
    >>> topics.sender("gateway/living-pi/mail/kitchen-pi")
    'kitchen-pi'
    """

    node: str

    @property
    def incoming(self) -> str:
        """What is subscribed to."""
        return f"{ROOT}/{to_level(self.node)}/mail/+"

    def to(self, node: str) -> str:
        """Return the topic by which we write to ``node``."""
        return f"{ROOT}/{to_level(node)}/mail/{to_level(self.node)}"

    def sender(self, topic: str) -> str:
        """Return the node that writes by ``topic``; `ValueError` where that is no node's."""
        *_, node = topic.split("/")
        if not _NODE.match(node) or node == self.node:
            raise ValueError(f"{node[:80]!r} is no other gateway's name")
        return node


def is_node(name: str) -> bool:
    """Tell whether a gateway may be called ``name``."""
    return _NODE.match(name) is not None


_NODE = re.compile(NAME)


def _decoded(said: dict[str, Any]) -> Envelope:
    envelope: Envelope = msgspec.convert(said, Envelope)
    return envelope


def _letter_id(said: dict[str, Any]) -> str:
    try:
        return msgspec.convert(said.get("id"), Id) if said.get("kind") == "letter" else ""
    except msgspec.ValidationError:
        return ""


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
