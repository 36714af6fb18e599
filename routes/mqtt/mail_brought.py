"""The letters from other gateways that may still be asked about: whose they are, for whom.

Whoever wrote a letter may take it back, and may read on in what it opened, until it has
its answer. Bounded: beyond `MOST` those that nobody has asked about for longest are
forgotten, and their streams end.

Refused (`RefusedError`): what was never let in, what is over, and what somebody else wrote.
"""

from __future__ import annotations

from gateway.errors import RefusedError

MOST = 10_000
"""Letters that are remembered at the most."""


class Brought:
    """Letters by the ids that they have here.

    >>> brought = Brought()
    >>> brought.note("living-pi/3f-7", "main@living-pi", "robot")
    >>> brought.check("living-pi/3f-7", "main@living-pi", "robot")
    'living-pi/3f-7'
    """

    def __init__(self) -> None:
        self._letters: dict[str, tuple[str, str]] = {}

    def note(self, id: str, sender: str, recipient: str) -> None:
        """Remember a letter that is delivered."""
        self._letters[id] = sender, recipient
        if len(self._letters) > MOST:
            del self._letters[next(iter(self._letters))]

    def check(self, id: str, sender: str, recipient: str) -> str:
        """Return ``id`` where it is of ``sender`` to ``recipient``, which keeps it; or raise."""
        if self._letters.get(id) != (sender, recipient):
            raise RefusedError("there is no such call of yours here: it ended, or was never made")
        self._letters[id] = self._letters.pop(id)
        return id

    def forget(self, id: object) -> None:
        """Forget a letter that has its answer; whatever is no id is fine."""
        if isinstance(id, str):
            self._letters.pop(id, None)
