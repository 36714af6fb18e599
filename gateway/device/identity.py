"""Who a board says it is."""

from __future__ import annotations

import msgspec


class Identity(msgspec.Struct, frozen=True):
    """What a handshake brings back; ``firmware`` is the version, as the board writes it."""

    firmware: str
    model: str = ""
    serial_number: str = ""
