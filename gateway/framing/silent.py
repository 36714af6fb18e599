r"""Frames that end where the wire falls silent, as Modbus RTU's do.

The decoder only collects; its frames come out of `SilentDecoder.expire`, which
the session calls once nothing has come for `Silent.silence` seconds. How
short a silence can be told apart depends on the port: a USB adapter delivers
its bytes in batches, some every 16 ms, unless its latency timer is set lower.

Resynchronisation: every silence. Noise that runs into a frame costs that frame
(its checksum is wrong, where it has one), and frames without silence between
them are one.

Refused by `Silent.encode`: an empty payload without a checksum, more than
``limit`` bytes. Whoever writes keeps the silence: one frame, then the answer.
"""

from __future__ import annotations

from gateway.framing.checksums import Checksum
from gateway.framing.frame import Frame, Garbage
from gateway.framing.framing import (
    ExpiringDecoder,
    check_limit,
    check_silence,
    check_size,
    too_long,
)

_BITS = 11
"""Bits of a Modbus character: start, eight, parity (or a second stop), stop."""
_FAST_BAUD = 19200
_FAST_SILENCE = 0.00175


def modbus_silence(baud: int) -> float:
    """Return the seconds between two Modbus RTU frames at ``baud``: 3.5 characters.

    Above 19200 baud it stays at 1.75 ms (Modbus over serial line V1.02, 2.5.1.1).

    >>> round(modbus_silence(9600), 6), modbus_silence(115200)
    (0.00401, 0.00175)
    """
    if baud < 1:
        raise ValueError(f"a line has a rate above 0 baud, not {baud}")
    return _FAST_SILENCE if baud > _FAST_BAUD else 3.5 * _BITS / baud


class Silent:
    r"""Frames of up to ``limit`` bytes of payload that ``silence`` seconds of silence end.

    >>> from gateway.framing import checksums
    >>> framing = Silent(modbus_silence(19200), limit=254, checksum=checksums.CRC16_MODBUS)
    >>> decoder = framing.decoder()
    >>> decoder.feed(bytes.fromhex("11 03 00 6b 00 03 76")), decoder.feed(b"\x87")
    ([], [])
    >>> decoder.expire()
    [Frame(payload=b'\x11\x03\x00k\x00\x03')]
    """

    def __init__(
        self, silence: float, *, limit: int = 256, checksum: Checksum | None = None
    ) -> None:
        """Allow payloads up to ``limit`` bytes; `ValueError` below one, or without silence."""
        check_limit(limit)
        check_silence(silence)
        self.silence: float | None = silence
        self.limit = limit
        self.checksum = checksum

    def __repr__(self) -> str:
        return f"Silent({self.silence}, limit={self.limit}, checksum={self.checksum})"

    def encode(self, payload: bytes) -> bytes:
        """Return ``payload`` with its checksum; `ValueError` where that is no frame."""
        check_size(payload, self.limit)
        if self.checksum is not None:
            return self.checksum.append(payload)
        if not payload:
            raise ValueError("an empty payload is silence, which nobody reads")
        return payload

    def decoder(self) -> ExpiringDecoder:
        """Return a decoder for one freshly opened stream."""
        return SilentDecoder(self.limit, self.checksum)


class SilentDecoder:
    """Collects bytes until it is told of silence."""

    def __init__(self, limit: int, checksum: Checksum | None) -> None:
        self._limit = limit
        self._checksum = checksum
        self._longest = limit + (0 if checksum is None else checksum.size)
        self._collected = b""
        self._skipping = False  # inside a frame that was condemned already

    def feed(self, data: bytes, /) -> list[Frame | Garbage]:
        """Collect ``data``; return garbage where that is more than a frame can be."""
        if self._skipping:
            return []
        self._collected += data
        if len(self._collected) <= self._longest:
            return []
        garbage = too_long(self._collected, self._limit)
        self._collected = b""
        self._skipping = True
        return [garbage]

    def expire(self) -> list[Frame | Garbage]:
        """Return what was collected, as a frame where its checksum is right."""
        collected = self._collected
        self.reset()
        if not collected:
            return []
        payload: bytes | None = collected
        if self._checksum is not None:
            payload = self._checksum.strip(collected)
        if payload is None:
            return [Garbage(collected[: self._limit], "wrong checksum")]
        return [Frame(payload)]

    def reset(self) -> None:
        """Forget what was collected."""
        self._collected = b""
        self._skipping = False
