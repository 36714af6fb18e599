"""What a card that fails or is full has to say: borne with, and said once."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from gateway.errors import SpoolError

log = logging.getLogger(__name__)


class Complaints:
    """Those of one spool.

    >>> complaints = Complaints()
    >>> with complaints.heard():
    ...     raise SpoolError("no room")
    >>> complaints.latest
    'no room'
    """

    def __init__(self) -> None:
        self.latest = ""
        """Empty where all is well."""
        self._said: set[str] = set()

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Bear with a `SpoolError` of what is inside; log it, unless that was done."""
        try:
            yield
        except SpoolError as error:
            self.latest = str(error)
            if self.latest not in self._said:
                self._said.add(self.latest)
                log.error("%s", error)

    def end(self) -> bool:
        """All is well again; tell whether it was not."""
        were = bool(self.latest)
        self.latest = ""
        self._said.clear()
        return were
