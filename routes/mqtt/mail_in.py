"""Letters from other gateways: judged, delivered once, confirmed; and the answers to them.

Each letter is written down before it is delivered and what became of it after, so that
one that comes again is not delivered again but answered again, also by the next life of
a route that was killed. Where it was killed in between, the one that comes again is
bounced: whether it was delivered is not known.

What takes a call back, or reads on in a stream, needs no rule where the call was let in,
and is refused where it was another's (`routes.mqtt.mail_brought`).

Belongs to the route's thread. Refused, with a bounce to the other side: what the access
list does not allow, what the bus refuses. Left without an answer: one letter too many,
which the other side will repeat.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, Protocol

from gateway.clock import Clock
from gateway.errors import (
    BodyError,
    CallTimeoutError,
    GatewayError,
    MailboxFullError,
    RefusedError,
    SpoolError,
)
from gateway.mail.address import Address
from gateway.mail.message import CANCEL, Message
from gateway.routing.carrier import Foreign, Patience
from gateway.rpc.stream import Stream
from routes.mqtt.inlet import Outlet
from routes.mqtt.mail_brought import Brought
from routes.mqtt.mail_envelope import (
    Bounce,
    Letter,
    MailTopics,
    Reply,
    Taken,
    bounce,
    bounce_from,
    write,
)
from routes.mqtt.mail_memory import MailMemory
from routes.mqtt.mail_settings import MailAccess, MailSettings

log = logging.getLogger(__name__)


class Bus(Protocol):
    """Where letters are delivered: `gateway.routing.carrier.Carrier`."""

    def bring(self, letter: Foreign, *, timeout: float) -> Message:
        """Deliver a letter, or raise."""
        ...

    def take_back(self, sender: str, recipient: str, id: str) -> None:
        """Tell ``recipient`` that ``sender`` wants no answer to the letter ``id``."""
        ...


class MailIn:
    """Takes letters in, and their answers back; see the module's head."""

    def __init__(
        self,
        settings: MailSettings,
        topics: MailTopics,
        memory: MailMemory,
        *,
        clock: Clock,
        bus: Bus,
        say: Outlet,
        max_payload: int,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._memory = memory
        self._clock = clock
        self._bus = bus
        self._say = say
        self._max_payload = max_payload
        self._access = MailAccess(settings.allow)
        self._patience = Patience()
        self._brought = Brought()
        self.counts: Counter[str] = Counter()

    def take(self, node: str, letter: Letter) -> None:
        """Deliver a letter of ``node``, unless that has been done, and say what became of it."""
        sender = f"{letter.sender}@{node}"
        key = f"{node}/{letter.id}"
        try:
            if letter.subject in (CANCEL, Stream.NEXT):
                # Who may call may read what comes of it, and take it back; and nobody else's.
                called = self._brought.check(_called(letter, node), sender, letter.recipient)
                if letter.subject == CANCEL:
                    self.counts["taken_back"] += 1
                    self._bus.take_back(sender, letter.recipient, called)
                    self._answer(node, Taken(to=letter.id))
                    return
            else:
                self._ask_access(node, sender, letter)
            known = self._memory.begin(key, self._clock.monotonic())
        except SpoolError as error:
            if not self.counts["put_off"]:
                log.error("letters are put off, beginning with one of %s: %s", sender, error)
            self.counts["put_off"] += 1
            return
        except GatewayError as error:
            self.counts["not_allowed"] += 1
            self._answer(node, bounce(letter.id, error))
            return
        if known is not None:
            self.counts["repeated"] += 1
            self._answer(node, known or bounce(letter.id, _in_doubt(self._topics.node)))
            return
        said: Taken | Bounce
        now = self._clock.monotonic()
        try:
            self._bus.bring(
                Foreign(
                    message_id=key,
                    thread_id=letter.thread,
                    thread_index=letter.index,
                    sender=sender,
                    recipient=letter.recipient,
                    subject=letter.subject,
                    body=letter.body,
                    priority=letter.priority,
                    expires_in=letter.ttl,
                    receipt=letter.receipt,
                    headers={**letter.headers, "written": f"{letter.time:.3f}"},
                ),
                timeout=self._patience.left(letter.recipient, now),
            )
        except GatewayError as error:
            if isinstance(error, MailboxFullError):
                self._patience.found_full(letter.recipient, now)
            self.counts["undeliverable"] += 1
            said = bounce(letter.id, error)
        else:
            self.counts["delivered"] += 1
            self._brought.note(key, sender, letter.recipient)
            said = Taken(to=letter.id)
        packed = write(said)
        try:
            self._memory.end(key, packed)
        finally:
            # Told even where it cannot be noted: only who repeats it then is told of a doubt.
            self._answer(node, packed)

    def refuse(self, node: str, id: str, error: GatewayError) -> None:
        """Tell ``node`` that its letter ``id`` cannot be read."""
        self._answer(node, bounce(id, error))

    def answer(self, message: Message) -> None:
        """Take a reply or a bounce to where its letter came from."""
        node, _, id = (message.in_reply_to or "").partition("/")
        if not id or Address.parse(message.recipient).route != node:
            self.counts["unasked"] += 1
            return
        if message.kind == "bounce":
            self._answer(node, bounce_from(id, message.body))
            self._brought.forget(message.in_reply_to)
            return
        self._note_end(message)
        try:
            reply = Reply(
                to=id, id=message.message_id, subject=message.subject[:1000], body=message.body
            )
            packed = write(reply)
            if len(packed) > self._max_payload:
                raise BodyError(
                    f"the answer has {len(packed)} bytes, more than max_payload ="
                    f" {self._max_payload}"
                )
        except BodyError as error:
            packed = write(bounce(id, error))
        self._answer(node, packed)

    def _note_end(self, answer: Message) -> None:
        """Forget the letter that has its answer, but for one that has opened a stream."""
        body = answer.body if answer.subject == Stream.SUBJECT else None
        words = body if isinstance(body, dict) else {}
        stream, more = words.get("stream"), words.get("more") is True
        if not (more and stream == answer.in_reply_to):
            self._brought.forget(answer.in_reply_to)
        if not more:
            self._brought.forget(stream)

    def statistics(self) -> dict[str, Any]:
        """Return what became of what came in, and of the answers."""
        return dict(self.counts)

    def _ask_access(self, node: str, sender: str, letter: Letter) -> None:
        settings = self._settings
        stranger = settings.only_peers and node not in settings.peers
        if stranger or not self._access.allows(sender, letter.recipient, letter.subject):
            raise RefusedError(
                f"{self._topics.node!r} lets {sender!r} not write {letter.subject!r} to"
                f" {letter.recipient!r}: allow it there under mail"
            )

    def _answer(self, node: str, said: bytes | Taken | Bounce) -> None:
        packed = said if isinstance(said, bytes) else write(said)
        if not self._say(self._topics.to(node), packed, qos=1, urgent=True):
            self.counts["answers_lost"] += 1


def _called(letter: Letter, node: str) -> str:
    """Return the id by which the call is known here that ``letter`` is about."""
    body = letter.body
    id = str(body.get("stream", "") if isinstance(body, dict) else body)
    # A stream is known by the id that its letter has here, a call by the one that it has there.
    return id if "/" in id else f"{node}/{id}"


def _in_doubt(node: str) -> GatewayError:
    return CallTimeoutError(
        f"{node!r} was killed while it delivered this: whether it was delivered is not known"
    )
