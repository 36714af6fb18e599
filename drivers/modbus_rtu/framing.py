"""Modbus RTU answers out of bytes: each says by itself how long it is.

The standard ends a frame by silence, which no USB adapter passes on faithfully.
An answer's function code and byte count tell its length as well, so it is handed
on with its last byte, and its CRC has the last word. Silence serves to come back
to order: what noise has swallowed is searched once the line has been still. With
``overlapping`` it is found at once, and noise with a right CRC hides no answer
(`gateway.framing.overlapping_decoder`).

The payload is slave number and PDU. Refused by `RtuAnswers.encode`: payloads
longer than 254 bytes or too short for both. Not taken for frames: answers to
functions that the driver does not use, and requests, which other masters send.

Reference: Modbus over serial line V1.02, 2.5.1; application protocol V1.1b3, 6.
"""

from __future__ import annotations

from gateway.framing.checksums import CRC16_MODBUS
from gateway.framing.framing import ExpiringDecoder
from gateway.framing.overlapping_decoder import OverlappingDecoder
from gateway.framing.scanning_decoder import ScanningDecoder
from gateway.framing.shape import NONE, UNKNOWN, Shape

LONGEST = 254
"""Bytes of slave number and PDU; the CRC makes them 256."""
_CRC = 2
_COUNTED = frozenset({1, 2, 3, 4})
"""Functions whose answers have a byte count in their third byte."""
_SHORT = frozenset({5, 6, 15, 16})
"""Functions whose answers repeat address and value, or address and count."""
_EXCEPTION = 0x80


class RtuAnswers:
    r"""What a master reads; ``silence`` seconds without a byte end what was begun.

    >>> decoder = RtuAnswers().decoder()
    >>> decoder.feed(bytes.fromhex("01 03 02 00 2a 39 9b"))
    [Frame(payload=b'\x01\x03\x02\x00*')]
    """

    def __init__(self, silence: float = 0.05, *, overlapping: bool = False) -> None:
        """USB adapters deliver in batches, some every 16 ms: be well above that.

        ``overlapping`` hands on answers that share bytes with others as well.
        """
        self.silence: float | None = silence
        self.overlapping = overlapping

    def __repr__(self) -> str:
        return f"RtuAnswers({self.silence}, overlapping={self.overlapping})"

    def encode(self, payload: bytes) -> bytes:
        """Return ``payload`` with its CRC; `ValueError` where that is no frame."""
        if not 2 <= len(payload) <= LONGEST:
            raise ValueError(f"a frame holds 2 to {LONGEST} bytes before its CRC")
        return CRC16_MODBUS.append(payload)

    def decoder(self) -> ExpiringDecoder:
        """Return a decoder for one freshly opened stream."""
        shape = RtuShape()
        return OverlappingDecoder(shape) if self.overlapping else ScanningDecoder(shape)


class RtuShape(Shape):
    """Slave number, PDU and CRC, as long as function code and byte count say."""

    def __init__(self) -> None:
        super().__init__(b"", limit=LONGEST, longest=LONGEST + _CRC)

    @property
    def misfit(self) -> str:
        """Why a candidate is none."""
        return "no answer to what is asked here"

    def measure(self, held: bytes, at: int) -> int:
        """Return how long the answer at ``at`` is."""
        if len(held) - at < 3:
            return UNKNOWN
        function, count = held[at + 1], held[at + 2]
        if function in _COUNTED:
            return NONE if not count or count > LONGEST - 3 else 3 + count + _CRC
        if function in _SHORT:
            return 6 + _CRC
        if function & ~_EXCEPTION in _COUNTED | _SHORT:
            return 3 + _CRC
        return NONE

    def unpack(self, candidate: bytes) -> bytes | None:
        """Return slave number and PDU, or None where the CRC is wrong."""
        return CRC16_MODBUS.strip(candidate)
