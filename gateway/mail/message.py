"""The letter: what is written, never how it is carried.

A `Message` is immutable and knows no mailbox. `gateway.bus.office` fills in
ids and time when it is sent; `reply_to` and `bounce_of` answer one, keeping
the thread and raising its index.

This module refuses nothing: bodies are checked in `gateway.mail.body`,
addresses in `gateway.mail.address`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from gateway.errors import GatewayError, described, error_from

Kind = Literal["letter", "reply", "bounce", "publication", "control"]

URGENT, NORMAL, BULK = 0, 1, 2
"""Priorities: among what has been drained, a lower number goes first."""


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One letter.

    ``sender`` and ``recipient`` are addresses as text. ``time`` is in seconds
    since 1970 (UTC). ``expiry`` is in seconds of the monotonic clock, which all
    processes of a machine share, and which a clock that is set does not move: a
    letter whose expiry has passed when its turn comes is not delivered.
    ``thread_id`` is the message id of the first letter of the thread and
    ``thread_index`` counts from 1.

    ``incarnation`` and ``sender_incarnation`` say which life of the recipient
    the letter is for and which life of the sender wrote it, so that neither a
    letter nor its reply slips into a successor's hands. ``receipt`` asks for
    a bounce should anything go wrong after `send` has returned. ``route`` is
    set by the bus on what a router brought in from outside.

    A publication's subject is its topic. What is retained has a higher
    ``thread_index`` than whatever its owner retained before; other
    publications have 1.
    """

    message_id: str
    thread_id: str
    thread_index: int
    time: float
    sender: str
    recipient: str
    subject: str
    body: Any = None
    priority: int = NORMAL
    expiry: float | None = None
    in_reply_to: str | None = None
    kind: Kind = "letter"
    incarnation: int = 0
    sender_incarnation: int = 0
    receipt: bool = False
    retain: bool = False
    route: str = ""
    body_type: str = ""
    headers: dict[str, str] | None = None

    def header(self, name: str) -> str:
        """Return the header ``name`` as text; an absent one is empty.

        >>> Message("1", "1", 1, 0.0, "main", "worker", "hello").header("subject")
        'hello'
        """
        if name in HEADERS:
            value = getattr(self, name)
            return value if type(value) is str else "" if value is None else str(value)
        return self.headers.get(name, "") if self.headers else ""


HEADERS = frozenset(Message.__struct_fields__) - {"body", "headers"}
"""The names that `Message.header` reads from the letter itself."""


UNSOLICITED = {"solicited": "no"}
"""The headers of a letter to which no answer is wanted, whatever becomes of it."""


MAP = "$api"
"""The subject to which whoever serves an API answers with its map."""


CANCEL = "$cancel"
"""The subject of what takes a call or a stream back: its body is the id of the letter."""


def is_solicited(message: Message) -> bool:
    """Tell whether whoever wrote ``message`` wants an answer."""
    return message.headers is None or message.headers.get("solicited") != "no"


def reply_to(
    message: Message,
    message_id: str,
    time: float,
    body: Any,
    kind: Kind = "reply",
    subject: str = "",
    body_type: str = "",
) -> Message:
    """Return the answer to ``message``: same thread, index one higher."""
    return Message(
        message_id,
        message.thread_id,
        message.thread_index + 1,
        time,
        message.recipient,
        message.sender,
        subject or message.subject,
        body,
        message.priority,
        None,
        message.message_id,
        kind,
        message.sender_incarnation,
        message.incarnation,
        False,
        False,
        "",
        body_type,
    )


def bounce_of(
    message: Message,
    message_id: str,
    time: float,
    error: GatewayError,
    *,
    headers: dict[str, str] | None = None,
) -> Message:
    """Return the letter that tells the sender why ``message`` failed.

    To who is inside it tells where it happened as well. With the ``headers`` `UNSOLICITED`
    it is for who waits for an answer, and for nobody else.
    """
    body = described(error, inside=not message.route)
    bounce = reply_to(message, message_id, time, body, kind="bounce")
    return bounce if headers is None else replace(bounce, headers=headers)


def error_in(bounce: Message) -> GatewayError:
    """Return the error that a bounce tells of; a malformed one is a plain `GatewayError`.

    >>> letter = Message("1", "1", 1, 0.0, "main", "worker", "lift")
    >>> error_in(bounce_of(letter, "2", 0.0, GatewayError("too heavy")))
    GatewayError('too heavy')
    """
    return error_from(bounce.body)
