"""The `Link`: an open byte channel to one device.

A link moves bytes and knows neither frames nor states. It exists only while
it is open: an `Opener` makes one, `Link.close` ends it, and a link that has
broken is closed and never used again. Everything that a dead port can raise
comes out of it as `LinkLostError`.

Where it is not known how a board is spoken to (at which rate, say), a link may
have several ways to try, and the handshake proves one of them.

Refused: a read that waits (whoever waits, waits on `fileno`), and a write
that does so for ever.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable


class Link(ABC):
    """An open byte channel to one device; used by one thread, its owner."""

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor that turns readable when bytes arrive or the link dies."""

    @abstractmethod
    def read(self) -> bytes:
        """Return the bytes that are there now, or ``b""`` where there are none.

        Never waits. Raises `LinkLostError` where the channel has broken; an
        end of file is a broken channel.
        """

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Write the whole of ``data``.

        Raises `LinkLostError` where the channel has broken, or has not taken
        everything within the link's write timeout.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the descriptor back. Never raises; a second time does nothing."""

    @property
    def ways(self) -> int:
        """In how many ways the board may be spoken to; one, unless it has to be found out."""
        return 1

    @property
    def tried(self) -> str:
        """The ways that were tried since the opening, for a person; empty where one is known."""
        return ""

    def try_next_way(self) -> None:  # noqa: B027  most links have one way
        """Go on to the next way, after a handshake that failed; raises `LinkLostError`."""

    def proven(self) -> None:  # noqa: B027  most links have nothing to remember
        """Remember that this way was right: the board has identified itself."""


Opener = Callable[[], Link]
"""Opens the link of one device, or raises within a bounded time.

`LinkAbsentError` where nothing is there, and `LinkTakenError` where somebody
else was given it for a while: both are normal states. `LinkLostError` where
something is there and cannot be opened (no permission, busy): its text says
what to do about it.
"""
