r"""What waits to be read by one client: bounded, answers first.

Answers are never dropped: where too many wait, the client reads nothing and
is to be let go. Publications give way, the oldest first, and where some are
missing a line says how many. Pure: whoever moves the bytes asks for `head`
and tells what was `wrote`. A line that was begun is always finished.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Outbox:
    r"""The lines for one client, ``limit`` bytes of answers and as many of publications.

    >>> outbox = Outbox(limit=10, gap=lambda count: b"%d gone\n" % count)
    >>> outbox.add_publication(b"first\n")
    >>> outbox.add_publication(b"second\n")
    >>> outbox.head()
    b'1 gone\n'
    """

    def __init__(self, limit: int, *, gap: Callable[[int], bytes]) -> None:
        self.dropped = 0
        """Publications that gave way."""
        self._limit = limit
        self._gap = gap
        self._untold = 0
        self._head = b""
        self._answers: deque[bytes] = deque()
        self._answers_size = 0
        self._publications: deque[bytes] = deque()
        self._publications_size = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self._head or self._answers or self._publications or self._untold)

    def add(self, line: bytes) -> bool:
        """Queue an answer; False where too much waits already to take it."""
        if self._answers_size + len(line) > self._limit:
            return False
        self._answers.append(line)
        self._answers_size += len(line)
        return True

    def add_publication(self, line: bytes) -> None:
        """Queue a publication, at the cost of the oldest where there is no room."""
        if len(line) > self._limit:
            self.lose(1)
            return
        while self._publications_size + len(line) > self._limit:
            oldest = self._publications.popleft()
            self._publications_size -= len(oldest)
            self.lose(1)
        self._publications.append(line)
        self._publications_size += len(line)

    def head(self) -> bytes:
        """Return what is to be written next; empty where there is nothing."""
        if not self._head:
            self._head = self._next()
        return self._head

    def wrote(self, count: int) -> None:
        """Forget the first ``count`` bytes of `head`: they have been written."""
        self._head = self._head[count:]

    def _next(self) -> bytes:
        if self._answers:
            line = self._answers.popleft()
            self._answers_size -= len(line)
        elif self._untold:
            count, self._untold = self._untold, 0
            return self._gap(count)
        elif self._publications:
            line = self._publications.popleft()
            self._publications_size -= len(line)
        else:
            return b""
        return line

    def lose(self, count: int) -> None:
        """Count publications that are missing, here or before they came here; a line says so."""
        self.dropped += count
        self._untold += count
