"""One table of ``[[routes.mqtt.listen]]``: a foreign topic, and the letter that it becomes.

::

    [[routes.mqtt.listen]]
    topic = "plant/+/command"
    to = "main"
    subject = "plant"

This is the access list of topics: without a table nothing comes in, and what does
goes to that one recipient with that one subject. It opens nothing for calls, nor
for other gateways.

Refused: patterns that begin with a wildcard, or leave open which gateway's tree
they mean, since they could be our own words; ``$`` topics; what is no address.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.errors import AddressError
from gateway.mail.address import Address
from gateway.mail.topic import check_pattern
from routes.mqtt.topics import ROOT


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What comes under ``topic`` is a letter to ``to`` about ``subject``.

    Its body has the ``topic`` and the ``payload``, read as JSON or taken as text.
    ``most`` is in bytes; ``rate`` in letters a second, of which ``burst`` may come at
    once; a letter not handed over within ``fresh`` seconds is not delivered.
    ``retained`` lets in what the broker has kept from an earlier time, at each
    connection anew.
    """

    topic: Annotated[str, Meta(min_length=1, max_length=1000)]
    to: Annotated[str, Meta(min_length=1, max_length=1000, description="an address")]
    subject: Annotated[str, Meta(min_length=1, max_length=1000)]
    payload: Literal["json", "text"] = "json"
    most: Annotated[int, Meta(ge=1, le=1 << 20)] = 16 << 10
    rate: Annotated[float, Meta(gt=0, le=10_000)] = 10.0
    burst: Annotated[int, Meta(ge=1, le=10_000)] = 20
    fresh: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    retained: bool = False

    def __post_init__(self) -> None:
        check_pattern(self.topic)
        try:
            Address.parse(self.to)
        except AddressError as error:
            raise ValueError(f"to: {error}") from None
        first, *rest = self.topic.split("/")
        if first in ("+", "#") or first.startswith("$"):
            raise ValueError(f"topic is {self.topic!r}: begin it with a name, not with a $")
        if first == ROOT and (not rest or rest[0] in ("+", "#")):
            raise ValueError(
                f"topic is {self.topic!r}: name the gateway, as in {ROOT}/kitchen-pi/…"
            )
