r"""Lines of a declared board: which end is written, whether a checksum stands before it.

Read is every kind of end: ``\r``, ``\n`` and both. Refused by `DeviceLines.encode`:
what `gateway.framing.line` refuses, and with a checksum what `checked_line` does.
"""

from __future__ import annotations

from gateway.framing.checked_line import CheckedLine
from gateway.framing.frame import Frame, Garbage
from gateway.framing.framing import Decoder
from gateway.framing.line import Line


class DeviceLines:
    r"""Lines that are written with ``ending``; with ``*XX`` before it where ``checked``.

    >>> lines = DeviceLines("\r")
    >>> lines.encode(b"T?"), lines.decoder().feed(b"T=1\rT=2\r\n")
    (b'T?\r', [Frame(payload=b'T=1'), Frame(payload=b'T=2')])
    """

    silence: float | None = None

    def __init__(self, ending: str = "\n", *, checked: bool = False, limit: int = 256) -> None:
        self._ending = ending.encode()
        self._lines = CheckedLine(limit) if checked else Line(limit)

    def encode(self, payload: bytes) -> bytes:
        """Return the line that carries ``payload``; `ValueError` where none can."""
        return self._lines.encode(payload)[:-1] + self._ending

    def decoder(self) -> Decoder:
        """Return a decoder for one freshly opened stream."""
        return _AnyEnd(self._lines.decoder())


class _AnyEnd:
    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def feed(self, data: bytes, /) -> list[Frame | Garbage]:
        """Return what ``data`` completes."""
        # A blank line is nothing, so two ends in a row are one.
        return self._decoder.feed(data.replace(b"\r", b"\n"))

    def reset(self) -> None:
        """Forget half a line."""
        self._decoder.reset()
