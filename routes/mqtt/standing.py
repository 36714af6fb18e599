"""How long our connections stand, and whether another client takes them over.

A client that connects under an id that is in use throws the older one out
(MQTT 5.0, section 3.1.4). Two gateways of one id would do that to each other
for ever, each with success: so a connection counts as a success, and the
back-off begins anew, only once it has stood for a while; and once the session
is contested, only after it has stood longer than any other's wait may last.

A broker of MQTT 5 says what happened, if it is so kind; all others just close.
What gives it away then: closed without a word, several times in a row, and
each time the next attempt was admitted at once, so the broker itself is well.

Pure; time is handed in, in seconds. Refuses nothing.
"""

from __future__ import annotations

SETTLED = 5.0
"""Seconds that an uncontested connection must stand to count as a success."""

SUSPICIOUS = 3
"""Connections in a row that were closed without a word before we suspect somebody."""


class Standing:
    """What is known of the connections to one broker.

    >>> standing = Standing(retry_ceiling=30.0)
    >>> for now in (0.0, 1.0, 2.0):
    ...     standing.began(now)
    ...     standing.closed(now + 0.5, unanswered=False)
    >>> standing.is_contested, standing.is_quiet
    (True, True)
    """

    def __init__(self, retry_ceiling: float) -> None:
        # The other's wait, and then ours: nothing that is contested stands longer.
        self._long = 2 * retry_ceiling + SETTLED
        self._began = 0.0
        self._closed = 0
        self._told = False
        self._unanswered = False

    @property
    def closed_in_a_row(self) -> int:
        """Connections that were closed without a word, one after the other."""
        return self._closed

    @property
    def is_contested(self) -> bool:
        """Tell whether another client seems to use our client id."""
        return self._told or self._closed >= SUSPICIOUS

    @property
    def is_quiet(self) -> bool:
        """Tell whether nothing that we had sent waited for its answer at any of those ends."""
        return not self._unanswered

    def began(self, now: float) -> None:
        """The broker admitted us."""
        self._began = now

    def has_settled(self, now: float) -> bool:
        """Tell whether this connection is a success by now."""
        stood = now - self._began
        if stood >= self._long:
            self._forget()
        return stood >= (self._long if self.is_contested else SETTLED)

    def taken_over(self) -> None:
        """The broker said that another client came under our id."""
        self._told = True

    def closed(self, now: float, *, unanswered: bool) -> None:
        """The broker closed without a word; ``unanswered`` where it owed us an acknowledgement."""
        if now - self._began >= self._long:
            self._forget()
        self._closed += 1
        self._unanswered |= unanswered

    def ended_otherwise(self) -> None:
        """An attempt failed, or a connection ended, in a way that speaks against a rival."""
        self._forget()

    def _forget(self) -> None:
        self._closed, self._told, self._unanswered = 0, False, False
