"""A session on a wire that ends its frames by silence.

The framing says how long a silence is (`Framing.silence`), the decoder what it
ends (`ExpiringDecoder.expire`), and here is the clock: each read sets the
moment at which the wire will have been silent, and every wait ends there.

What lay unread when a late thread woke is no silence: it is read first, and
counts as part of the frame before it. So a thread that is held up may run two
frames into one, which a checksum shows, and never cuts one in two.

It is a class of its own so that a wire without silences pays nothing for it.
"""

from __future__ import annotations

from math import inf

from gateway.framing.framing import ExpiringDecoder
from gateway.hosting.session import Session
from gateway.mail.message import Message


class TimedSession(Session):
    """A `Session` that tells its decoder of silence."""

    _silent_at = inf
    """Monotonic seconds when the wire will have been silent for long enough."""

    def wait_in_mailbox(self, seconds: float | None) -> Message | None:
        """Sleep as `Session.wait_in_mailbox` does, no longer than until the wire is silent."""
        if self._silent_at != inf:
            left = max(0.0, self._silent_at - self._monotonic())
            seconds = left if seconds is None else min(left, seconds)
        message = super().wait_in_mailbox(seconds)
        self.arrived += self._after_silence()
        return message

    def wait(self, seconds: float) -> list[bytes]:
        """Sleep as `Session.wait` does, no longer than until the wire is silent."""
        left = self._silent_at - self._monotonic()
        frames = super().wait(min(left, seconds))
        return frames + self._after_silence()

    def _read(self, events: int) -> list[bytes]:
        frames = super()._read(events)
        silence = self._framing.silence
        self._silent_at = self._monotonic() + silence if silence is not None else inf
        return frames

    def _after_silence(self) -> list[bytes]:
        if self._monotonic() < self._silent_at or not isinstance(self._decoder, ExpiringDecoder):
            return []
        self._silent_at = inf
        return self._sorted(self._decoder.expire())
