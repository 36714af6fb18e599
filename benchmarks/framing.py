"""What it costs to find frames that overlap, against finding each behind the one before.

Microseconds a byte of LengthPrefixed with 255 bytes of payload, fed in reads of 64,
and the ratio of the two decoders in the same turns:

``hostile``           each byte says that a frame of the longest kind begins there
``noise``             random bytes
``frames``            valid frames of random payloads, one behind the other
``frames, marked``    the same, with a start mark of one byte
"""

from __future__ import annotations

from random import Random
from time import perf_counter
from typing import Any

from benchmarks.measure import arguments, pinned, ratio, show
from gateway.framing import Checksum, LengthPrefixed, checksums

LIMIT = 255
OCTETS = 20_000
READ = 64
TURNS = 5
MARK = b"\xaa"


def streams(checksum: Checksum) -> dict[str, tuple[bytes, bytes]]:
    """Return each kind of stream, with the start mark of its frames."""
    random = Random(checksum.name)
    found = {"hostile": (bytes([LIMIT]) * OCTETS, b""), "noise": (random.randbytes(OCTETS), b"")}
    for kind, mark in (("frames", b""), ("frames, marked", MARK)):
        framing = LengthPrefixed(LIMIT, start=mark, checksum=checksum)
        stream = b""
        while len(stream) < OCTETS:
            stream += framing.encode(random.randbytes(random.randint(1, LIMIT)))
        found[kind] = (stream, mark)
    return found


def seconds(framing: LengthPrefixed, stream: bytes) -> float:
    """Return the seconds that one byte of ``stream`` takes."""
    decoder = framing.decoder()
    began = perf_counter()
    for at in range(0, len(stream), READ):
        decoder.feed(stream[at : at + READ])
    return (perf_counter() - began) / len(stream)


def measure(checksum: Checksum) -> dict[str, Any]:
    """Return the figures of frames with ``checksum``."""
    figures: dict[str, Any] = {}
    for kind, (stream, mark) in streams(checksum).items():
        apart = LengthPrefixed(LIMIT, start=mark, checksum=checksum)
        across = LengthPrefixed(LIMIT, start=mark, checksum=checksum, overlapping=True)
        turns = [([seconds(apart, stream)], [seconds(across, stream)]) for _ in range(TURNS)]
        baseline, job = ([list(each) for each in side] for side in zip(*turns, strict=True))
        figures[f"{kind}, us a byte"] = round(min(job)[0] * 1e6, 2)
        figures[f"{kind}, ratio"] = ratio(job, baseline)
    return figures


def main() -> None:
    """Measure and print."""
    chosen = arguments("Frames that overlap, against frames that do not.")
    result: dict[str, Any] = {}
    with pinned():
        for checksum in (checksums.SUM8, checksums.CRC32, checksums.CRC16_MODBUS):
            result[checksum.name] = measure(checksum)
    show(result, as_json=chosen.json)


if __name__ == "__main__":
    main()
