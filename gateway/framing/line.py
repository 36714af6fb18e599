r"""Frame payloads as lines: ``payload\n``, and ``payload\r\n`` is read as well.

A blank line is no frame and no noise: boards send one to clear a terminal.
A line longer than the limit becomes one `Garbage` the moment it is too long,
and the rest of it is skipped unread, so that a board without line ends costs
``limit`` bytes of memory and not one more.

Refused by `Line.encode`: an empty payload (it would be a blank line), a line
end within the payload, more than ``limit`` bytes.
"""

from __future__ import annotations

from gateway.framing.frame import Frame, Garbage
from gateway.framing.framing import Decoder

# Numbers, since to look for one in bytes costs a tenth of looking for bytes.
LINE_FEED, RETURN = b"\n\r"


class Line:
    r"""Lines of 1 to ``limit`` bytes, end of line not counted.

    >>> line = Line(limit=8)
    >>> line.encode(b"LED 1")
    b'LED 1\n'
    >>> decoder = line.decoder()
    >>> decoder.feed(b"LED")
    []
    >>> decoder.feed(b" ok\r\nfar too long a line\n")
    [Frame(payload=b'LED ok'), Garbage(raw=b'far too ', reason='longer than 8 bytes')]
    """

    silence: float | None = None

    def __init__(self, limit: int = 256) -> None:
        """Allow payloads up to ``limit`` bytes; `ValueError` below one."""
        if limit < 1:
            raise ValueError(f"a line needs a limit of at least 1 byte, not {limit}")
        self.limit = limit

    def __repr__(self) -> str:
        return f"Line(limit={self.limit})"

    def encode(self, payload: bytes) -> bytes:
        r"""Return ``payload\n``; `ValueError` where that is no single line."""
        if not payload:
            raise ValueError("an empty payload makes a blank line, which nobody reads")
        check_payload(payload, self.limit)
        return payload + b"\n"

    def decoder(self) -> Decoder:
        """Return a decoder for one freshly opened stream."""
        return LineDecoder(self.limit)


class LineDecoder:
    """Cuts a stream into lines; `judge` decides what a whole line is worth."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail = b""
        self._skipping = False  # inside a line that was condemned already

    def feed(self, data: bytes, /) -> list[Frame | Garbage]:
        """Return the frames and the noise that ``data`` completes, in wire order."""
        # Most reads bring one whole line, and nothing came before it.
        line, end, rest = data.partition(b"\n")
        whole = line and end and not rest and len(line) <= self._limit and line[-1] != RETURN
        if whole and not self._tail and not self._skipping:
            return [self.judge(line)]
        lines = (self._tail + data).split(b"\n")
        tail = lines.pop()
        events: list[Frame | Garbage] = []
        for line in lines:
            if self._skipping:
                self._skipping = False
                continue
            if line.endswith(b"\r"):
                line = line[:-1]
            if len(line) > self._limit:
                events.append(self._too_long(line))
            elif line:
                events.append(self.judge(line))
        # One byte over the limit may still be the \r of a line that is just
        # long enough; two condemn it, and from there on nothing is kept.
        if not self._skipping and len(tail) > self._limit + 1:
            events.append(self._too_long(tail))
            self._skipping = True
        self._tail = b"" if self._skipping else tail
        return events

    def reset(self) -> None:
        """Forget a half-read line."""
        self._tail = b""
        self._skipping = False

    def judge(self, line: bytes) -> Frame | Garbage:
        """Return what ``line`` is: here, any line that is not blank is a frame."""
        return Frame(line)

    def _too_long(self, line: bytes) -> Garbage:
        return Garbage(line[: self._limit], f"longer than {self._limit} bytes")


def check_payload(payload: bytes, limit: int) -> None:
    """Raise `ValueError` where ``payload`` cannot stand in one line of ``limit`` bytes."""
    if len(payload) > limit:
        raise ValueError(f"a payload of {len(payload)} bytes; the limit is {limit}")
    if LINE_FEED in payload or RETURN in payload:
        raise ValueError(f"a line end within the payload {payload[:40]!r}")
