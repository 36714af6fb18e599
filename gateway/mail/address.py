"""Addresses: ``name``, ``local@route``, ``name@node``.

The part after the last ``@`` names a route (a router on this machine) or a
node (another gateway); the part before it is that route's own business:
``wheels@serial``, ``/cmd_vel@ros``, ``plant/soil@mqtt``. Which of the two it
is, the directory knows; this module only cuts and checks.

Refused: empty parts, control characters, more than 255 bytes of UTF-8.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.errors import AddressError

LIMIT = 255
"""Bytes of UTF-8 that an address may have."""


class Address(NamedTuple):
    """An address, cut in two.

    >>> Address.parse("plant/soil@mqtt")
    Address(local='plant/soil', route='mqtt')
    >>> Address.parse("patrol")
    Address(local='patrol', route='')
    """

    local: str
    route: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Cut ``text``; raise `AddressError` where it cannot be an address."""
        if not isinstance(text, str):
            raise AddressError(f"an address is text like 'wheels@serial', not {text!r}")
        local, at, route = text.rpartition("@")
        if not at:
            local, route = route, ""
        if not local or (at and not route):
            raise AddressError(f"{text!r} is no address: write 'name' or 'local@route'")
        if not text.isprintable():
            raise AddressError(f"{text!r} is no address: it holds a control character")
        if len(text.encode("utf-8", "surrogatepass")) > LIMIT:
            raise AddressError(f"{text[:40]!r}… is no address: longer than {LIMIT} bytes")
        return cls(local, route)

    @property
    def mailbox(self) -> str:
        """The mailbox that takes this mail: the router's, or the name itself."""
        return self.route or self.local

    def __str__(self) -> str:
        return f"{self.local}@{self.route}" if self.route else self.local
