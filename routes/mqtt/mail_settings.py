"""What ``[routes.mqtt.mail]`` may hold: whom this gateway writes to, and who may write here.

Without that table no mail goes between gateways. Refused: unknown keys, numbers out of
their bounds, names that no gateway can have.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.config.crew import Name

Offline = Literal["bounce", "spool"]

Glob = Annotated[str, Meta(min_length=1, max_length=255)]


class MailRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Mail of ``from`` to ``to`` with ``subject`` may come in; all three are globs."""

    sender: Annotated[Glob, Meta(description="a sender or a glob, like '*@kitchen-pi'")] = (
        msgspec.field(name="from")
    )
    to: Annotated[Glob, Meta(description="an address here or a glob, like 'wheels@serial'")]
    subject: Annotated[Glob, Meta(description="a subject or a glob")] = "*"


class PeerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is special about one gateway; None is as for all."""

    offline: Offline | None = None


class MailSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of ``[routes.mqtt.mail]``.

    ``allow`` says what mail may come in; without a rule, none but the answers to our
    own. ``offline`` says what becomes of mail for a gateway that is away: it bounces at
    once, or waits in a spool until that is back, the letter has expired or
    ``spool_seconds`` are over; ``peers.<node>.offline`` says so of one of them.

    With ``only_peers`` mail is exchanged with the ``peers`` and nobody else, and nobody
    else's status is subscribed to: among a thousand gateways that is the way.

    ``patience`` (s) is how long a letter that was published is repeated until the other
    side confirms it; at the most `routes.mqtt.mail_memory.REPEATED`, since that is how
    long the other side is sure to know it again. ``queue_size`` (letters) and
    ``queue_bytes`` bound what waits.
    """

    allow: tuple[MailRule, ...] = ()
    offline: Offline = "bounce"
    peers: dict[Name, PeerSettings] = {}
    only_peers: bool = False
    patience: Annotated[float, Meta(ge=0.5, le=120)] = 20.0
    spool_seconds: Annotated[float, Meta(ge=1, le=30 * 86_400)] = 86_400.0
    queue_size: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    queue_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 4 << 20

    def __post_init__(self) -> None:
        if self.only_peers and not self.peers:
            raise ValueError("only_peers without peers: name them, as [….mail.peers.kitchen-pi]")

    def when_offline(self, node: str) -> Offline:
        """Return what becomes of mail for ``node`` while that is away."""
        special = self.peers.get(node)
        return (special.offline if special else None) or self.offline


class MailAccess:
    """Who may write to whom from another gateway. Without rules, nobody.

    >>> access = MailAccess((MailRule(sender="*@kitchen-pi", to="main"),))
    >>> access.allows("cook@kitchen-pi", "main", "hello")
    True
    >>> access.allows("cook@kitchen-pi", "wheels@serial", "drive")
    False
    """

    def __init__(self, rules: tuple[MailRule, ...] = ()) -> None:
        self._rules = [(_of_sender(rule.sender), _of(rule.to), _of(rule.subject)) for rule in rules]

    def allows(self, sender: str, recipient: str, subject: str) -> bool:
        """Tell whether ``sender``, with its node, may write to ``recipient``."""
        return any(by(sender) and to(recipient) and about(subject) for by, to, about in self._rules)


_Matches = Callable[[str], object]


def _of(glob: str) -> _Matches:
    return re.compile(translate(glob)).match


def _of_sender(glob: str) -> _Matches:
    """Return what matches name and node each by itself, where ``glob`` tells them apart.

    The name is whatever the other gateway says: ``main@kitchen-1`` of another node is not
    to pass for one of ``main@kitchen-*``.
    """
    name, at, node = glob.rpartition("@")
    if not at:
        return _of(glob)
    by, of = _of(name), _of(node)

    def matches(sender: str) -> bool:
        name, _, node = sender.rpartition("@")
        return bool(by(name) and of(node))

    return matches
