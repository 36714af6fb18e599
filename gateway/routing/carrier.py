"""A router that also brings and takes the mail of other gateways.

`carry` has the bus hand it every letter for ``name@node``, where no mailbox here
is called ``node``. `bring` puts a letter from another gateway onto the bus: its
sender is ``name@node``, so a plain `reply` finds the way back through whichever
life of the router is there by then; `bring_answer` does so for an answer.

Refused, with `RefusedError`: a sender that would look as if it were from here, and
letters that are for a third gateway, which this one does not pass on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from gateway.errors import RefusedError
from gateway.mail.address import Address
from gateway.mail.body import checked
from gateway.mail.message import CANCEL, NORMAL, UNSOLICITED, Message, reply_to
from gateway.routing.router import Router
from gateway.timeout import in_seconds

AT_ONCE = 0.2
"""Seconds that one who reads nothing may hold up the mail of all others."""


AGAIN = 1.0
"""Seconds until it may do so again."""

READERS = 64
"""Mailboxes at the most that are remembered as full."""


class Patience:
    """How long the mail of all waits for one mailbox: `AT_ONCE`, but not for each letter to it.

    >>> patience = Patience()
    >>> patience.found_full("cook", now=5.0)
    >>> patience.left("cook", now=5.5), patience.left("cook", now=6.0), patience.left("main", 5.5)
    (0.0, 0.2, 0.2)
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def left(self, recipient: str, now: float) -> float:
        """Return the seconds that a letter to ``recipient`` may wait for room."""
        return AT_ONCE if now >= self._until.get(recipient, 0.0) else 0.0

    def found_full(self, recipient: str, now: float) -> None:
        """Note that there was no room, at ``now`` in monotonic seconds."""
        self._until = {**dict(list(self._until.items())[1 - READERS :]), recipient: now + AGAIN}


class Foreign(msgspec.Struct, frozen=True, kw_only=True):
    """A letter as another gateway wrote it; ``expires_in`` is in seconds from now."""

    message_id: str
    thread_id: str
    thread_index: int
    sender: str
    recipient: str
    subject: str
    body: Any = None
    priority: int = NORMAL
    expires_in: float | None = None
    receipt: bool = False
    headers: Mapping[str, str] | None = None


class Carrier(Router):
    """The contract of routers, and the mail for nodes."""

    def carry(
        self,
        letter: Callable[[Message], None],
        answer: Callable[[Message], None],
        *,
        timeout: float = 5.0,
    ) -> None:
        """Take the mail for other gateways from now on.

        ``letter`` is called with each letter for one of them, ``answer`` with each
        reply or bounce to what `bring` brought in; both may raise a `GatewayError`,
        which bounces a letter. Raises `RefusedError` where another router of this
        gateway does it already.
        """
        timeout = in_seconds(timeout)
        # What comes from here on is handled once this has returned.
        self._box.wait_for(self._tell_boss("carry", None), timeout)
        elsewhere = rf"@(?!{re.escape(self.name)}\Z)[^@]+\Z"
        self.add_filter(
            callback=letter,
            id="to-nodes",
            description="mail for other gateways",
            recipient=elsewhere,
            kind="^letter$",
        )
        self.add_filter(
            callback=answer,
            id="answers-to-nodes",
            description="answers to what came from other gateways",
            recipient=elsewhere,
            kind="^(reply|bounce)$",
        )
        self._bounces_for_others = True

    @property
    def memory_folder(self) -> Path:
        """Where the route may keep what is to outlive it: in memory, beside the sockets."""
        return self._office.spool_folder(f"{self.name}.mail")

    def bring(self, letter: Foreign, *, timeout: float = AT_ONCE) -> Message:
        """Deliver a letter of another gateway, as the access list has allowed; return it.

        Raises what `send` raises besides.
        """
        node = self._node_of(letter.sender)
        self._refuse_passing_on(letter.recipient, node)
        target = self._office.target(letter.recipient)
        body, body_type = checked(letter.body)
        lasts = letter.expires_in
        message = Message(
            letter.message_id,
            letter.thread_id,
            letter.thread_index,
            self._clock.time(),
            letter.sender,
            letter.recipient,
            letter.subject,
            body,
            letter.priority,
            None if lasts is None else self._clock.monotonic() + lasts,
            None,
            "letter",
            target.incarnation,
            # No life of ours wrote it: its answer is for whichever carries it back.
            0,
            letter.receipt,
            False,
            self._route or self.name,
            body_type,
            dict(letter.headers) if letter.headers else None,
        )
        target.deliver(message, timeout)
        return message

    def take_back(self, sender: str, recipient: str, id: str) -> None:
        """Tell ``recipient`` that ``sender``, elsewhere, wants no answer to its letter ``id``.

        Raises what `bring` raises; who has answered it already passes it over.
        """
        self._refuse_passing_on(recipient, self._node_of(sender))
        target = self._office.target(recipient)
        own = self._office.new_id()
        message = Message(
            own,
            own,
            1,
            self._clock.time(),
            sender,
            recipient,
            CANCEL,
            id,
            # As it is inside: it overtakes letters, and goes no further than a process.
            kind="letter" if "@" in recipient else "control",
            incarnation=target.incarnation,
            route=self._route or self.name,
            headers=UNSOLICITED,
        )
        target.deliver(message, 0.0)

    def bring_answer(
        self,
        asked: Message,
        message_id: str,
        subject: str,
        body: Any,
        *,
        timeout: float = AT_ONCE,
    ) -> Message:
        """Deliver the reply of another gateway to the letter ``asked``; return it.

        Raises `RecipientGoneError` where whoever asked is gone.
        """
        body, body_type = checked(body)
        answer = reply_to(asked, message_id, self._clock.time(), body, "reply", subject, body_type)
        self._office.answer(self._as_foreign(answer), timeout)
        return answer

    def bring_bounce(
        self, asked: Message, bounce: Mapping[str, str], *, timeout: float = AT_ONCE
    ) -> Message:
        """Tell who wrote ``asked`` that it failed: ``bounce`` has the code and the reason."""
        told = reply_to(
            asked, self._office.new_id(), self._clock.time(), dict(bounce), kind="bounce"
        )
        self._office.answer(self._as_foreign(told), timeout)
        return told

    def is_here(self, name: str) -> bool:
        """Tell whether a mailbox of this gateway is called ``name``."""
        return name in self._office.book.incarnations

    def hint(self, name: str) -> str:
        """Return which mailbox here may have been meant by ``name``; empty for none."""
        hint = self._office.book.hint(name)
        return hint if hint.startswith(": did you mean") else ""

    def _as_foreign(self, answer: Message) -> Message:
        return msgspec.structs.replace(answer, route=self._route or self.name, sender_incarnation=0)

    def _node_of(self, sender: str) -> str:
        node = Address.parse(sender).route
        if not node or node == self.node or self.is_here(node):
            raise RefusedError(f"{sender!r} cannot write from outside: it would look local")
        return node

    def _refuse_passing_on(self, recipient: str, node: str) -> None:
        address = Address.parse(recipient)
        if address.route and not self.is_here(recipient) and not self.is_here(address.route):
            raise RefusedError(
                f"{self.node!r} passes no mail on from {node!r} to {address.route!r}:"
                f" write to {recipient!r} yourself"
            )
