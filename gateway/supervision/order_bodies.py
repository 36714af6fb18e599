"""What may stand in a control letter to the boss: the shape of each subject's body.

The boss is one thread that everybody depends on. What a process writes to it by
mistake is that process's mistake, and is bounced; it is no bug of the boss's.

Pure. Refused, with a `ProtocolError` that names the subject: a body of another
shape, and subjects that are none.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

import msgspec

from gateway.bus.spool_terms import SpoolTerms
from gateway.bus.tapping import Tap
from gateway.errors import ProtocolError
from gateway.mail.message import Message
from gateway.mail.topic import check_pattern, check_topic
from gateway.process.context import RunLevel
from gateway.process.log_stream import LogStream


class Ended(TypedDict):
    """A life is over: what went wrong, and how many letters to whom its OS process dropped."""

    error: str
    dropped: NotRequired[dict[str, int]]


class Retain(TypedDict):
    """A publication to be kept, packed, and the version of the book when it was written."""

    message: bytes
    version: int


class Subscribing(TypedDict):
    """A pattern, and on which terms publications wait for the subscriber in files, if any do."""

    pattern: str
    spool: SpoolTerms | None


class Will(TypedDict):
    """What is to be published should the writer's life end badly."""

    topic: str
    body: Any


class Errand(TypedDict):
    """A function that a forked child is to call with a letter, packed.

    ``is_counted`` says that its process counts the letter itself, or counts it not at all.
    """

    function: str
    letter: bytes
    is_counted: bool


class Pill(TypedDict):
    """Whose end is wanted, and in which life; whoever comes after that is not meant."""

    name: str
    life: int


class NewTap(TypedDict):
    """A tap on the mail, by a name that its owner gives it."""

    id: str
    tap: Tap


class LogLevel(TypedDict):
    """The level of a process or a logger; both empty to ask."""

    name: str
    level: str


class NewLogStream(TypedDict):
    """What is to be streamed of the log, and for how many seconds."""

    stream: LogStream
    seconds: float


BODIES: dict[str, Any] = {
    "register": int,
    "level": RunLevel,
    "pid": int,
    "ended": Ended,
    # The brake works, whatever is said of why.
    "ebrake": Any,
    "progress": None,
    "shutdown": None,
    "start": str,
    "stop": str,
    "restart": str,
    "poison_pill": str | Pill,
    "give-up": str,
    "add": dict[str, Any],
    "run": Errand,
    "sent-back": str,
    "subscribe": Subscribing,
    "unsubscribe": str,
    "retain": Retain,
    "will": Will,
    "open": str,
    "close": str,
    "carry": None,
    "log-level": LogLevel,
    "tap": NewTap,
    "untap": str | None,
    "renew": None,
    "log-stream": NewLogStream,
}
"""By subject, what `msgspec.convert` takes for the type of its body."""


def check(message: Message) -> None:
    """Raise `ProtocolError` where the body of an order to the boss has not the shape it needs.

    >>> check(Message("1", "1", 1, 0.0, "main", "boss", "start", ["arm"], kind="control"))
    Traceback (most recent call last):
    gateway.errors.ProtocolError: the boss can do nothing with this 'start': Expected `str`, got \
`array`
    """
    subject, body = message.subject, message.body
    try:
        msgspec.convert(body, BODIES[subject])
        if subject == "subscribe":
            check_pattern(body["pattern"])
        elif subject == "will":
            check_topic(body["topic"])
    except KeyError:
        raise ProtocolError(f"the boss obeys no {subject!r}") from None
    except ValueError as error:
        # msgspec's own is one as well.
        raise ProtocolError(f"the boss can do nothing with this {subject!r}: {error}") from error
