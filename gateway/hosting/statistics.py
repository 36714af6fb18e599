"""What a driver thread has counted; nothing that is dropped goes uncounted."""

from __future__ import annotations

import msgspec


class Statistics(msgspec.Struct):
    """Counts since the start of one driver thread.

    ``accepted = answered + told + bounced + queued``, and one more while a command
    is being carried out. What waits in the socket of the mailbox is not accepted
    yet. A `Statistics` that you were handed is a copy.
    """

    openings: int = 0
    """Links opened."""
    connections: int = 0
    """Handshakes that succeeded."""
    losses: int = 0
    """Links that broke."""
    failures: int = 0
    """Ports that could not be opened or proven, and bugs of the driver."""
    frames: int = 0
    """Valid frames read."""
    noise: int = 0
    """Stretches of bytes that made no frame."""
    dropped: int = 0
    """Valid frames that came during an `ask` and were more than could be kept."""
    late: int = 0
    """Answers that came after their question had been given up."""
    nonsense: int = 0
    """Frames for which the driver's `received` raised a `GatewayError`, and ticks that did."""
    pings: int = 0
    pongs: int = 0
    accepted: int = 0
    """Letters that the mailbox took in."""
    refused: int = 0
    """Letters that the mailbox turned away at the door: too many waiting."""
    queued: int = 0
    """Letters waiting now."""
    answered: int = 0
    told: int = 0
    """Letters to which nobody wanted an answer, and which had none."""
    bounced: int = 0
    """Letters answered with an error, such as that the device is not connected."""
    unheard: int = 0
    """Answers, states and events that the house could not take."""
