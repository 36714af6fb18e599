r"""Bytes of a stream to lines, each bounded. Pure: no I/O.

Refused: a line over the limit, of which only that it came is told.
"""

from __future__ import annotations


class TooLong:
    """A line that was longer than the limit."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<too long>"


TOO_LONG = TooLong()


class Lines:
    r"""Cuts at newlines; a carriage return before one belongs to it.

    >>> lines = Lines(limit=4)
    >>> lines.feed(b"ab\r\nc")
    [b'ab']
    >>> lines.feed(b"d\n\nabcdefg"), lines.end()
    ([b'cd', b''], [<too long>])
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail = b""

    def feed(self, data: bytes) -> list[bytes | TooLong]:
        """Return the lines that ``data`` completes, in order."""
        if b"\n" not in data:
            self._keep(self._tail + data)
            return []
        *whole, tail = (self._tail + data).split(b"\n")
        self._keep(tail)
        return [self._judge(line) for line in whole]

    def end(self) -> list[bytes | TooLong]:
        """Return what the stream left without a newline, if anything."""
        tail, self._tail = self._tail, b""
        return [self._judge(tail)] if tail else []

    def _keep(self, tail: bytes) -> None:
        # One byte more than fits, and the carriage return, condemn a line when it ends.
        self._tail = tail[: self._limit + 2]

    def _judge(self, line: bytes) -> bytes | TooLong:
        line = line.removesuffix(b"\r")
        return line if len(line) <= self._limit else TOO_LONG
