"""What ``[routes.mqtt.discovery]`` may hold.

Without the table nothing is announced and nothing is subscribed to for it: an
announcement leaves this gateway's own tree, and puts switches for its devices
before everybody who sees that Home Assistant. With ``enabled = false`` what an
earlier run announced is taken back.

Refused: prefixes and topics that nobody can publish below.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.mail.topic import check_topic

Glob = Annotated[str, Meta(min_length=1, max_length=200)]


class DiscoverySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How devices are announced to Home Assistant.

    ``prefix`` is its discovery prefix, ``status_topic`` where it says that it is
    ``online``; all is announced again then, within ``spread`` seconds, so that a
    thousand gateways do not do it at once. ``leave_out`` are globs of
    ``<device>/<publication>/<field>`` and ``<device>/<command>``. ``id`` stands for
    the node in whatever Home Assistant remembers; set to the old name, it keeps
    the history of a node that is renamed.
    """

    enabled: bool = True
    prefix: Annotated[str, Meta(min_length=1, max_length=200)] = "homeassistant"
    status_topic: Annotated[str, Meta(min_length=1, max_length=200)] = "homeassistant/status"
    spread: Annotated[float, Meta(ge=0, le=600)] = 5.0
    leave_out: Annotated[tuple[Glob, ...], Meta(max_length=1000)] = ()
    id: Annotated[str, Meta(max_length=63)] = ""

    def __post_init__(self) -> None:
        for name, topic in (("prefix", self.prefix), ("status_topic", self.status_topic)):
            try:
                check_topic(topic)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            if topic.startswith("$") or not all(topic.split("/")):
                raise ValueError(
                    f"{name} is {topic!r}: write levels between slashes, none of them empty,"
                    " and no $ in front"
                )
