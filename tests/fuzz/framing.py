"""Random and mutated inputs into every framing: nothing raises, grows, or hides a frame.

    python -m tests.fuzz.framing                       a million inputs a framing
    python -m tests.fuzz.framing --inputs 20000 --only cobs --seed 7

An input is noise, of random bytes or of frames damaged as a wire damages them,
with up to three valid frames embedded as the framing's promise has it (see
`tests.fuzz.specimens`). One decoder reads them all, in random slices, and so
carries over whatever state the last noise left it in. After each input:

- every embedded frame has come out, in order. Only where a framing knows its
  frames by their checksum may another frame have taken the place of one: it
  stands in the input byte for byte, begins before the one that is lost and ends
  within it or behind it, so that whoever reads what was sent like that, and no
  byte twice, loses it too (docs/decisions/0011-a-frame-by-chance.md). These
  are counted apart. Where frames may overlap no such excuse is taken, and
  whatever came out stands in the input byte for byte;
- no `Garbage` is longer than the limit, and the decoder keeps no more bytes
  than its longest frame and its noise can have.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from random import Random, SystemRandom
from time import perf_counter
from typing import NamedTuple

from gateway.framing import Decoder, ExpiringDecoder, Frame, Garbage
from gateway.framing.noise import Noise
from tests.fuzz.specimens import FILLER, LIMIT, SPECIMENS, Specimen

MILLION = 1_000_000


class Span(NamedTuple):
    """A stretch of the stream."""

    begin: int
    end: int


class Embedded(NamedTuple):
    """A frame that was put in, and where it stands in the stream."""

    payload: bytes
    span: Span


@dataclass
class Tally:
    """What went in and what came out."""

    inputs: int = 0
    octets: int = 0
    embedded: int = 0
    recovered: int = 0
    impostors: int = 0
    """Frames that nobody put in: noise that a framing cannot tell from one."""
    replaced: int = 0
    """Embedded frames whose place an impostor took."""
    completed: int = 0
    """Of these: by a damaged frame that lacked what they happen to begin with, one byte."""
    carried: int = 0
    """Of these: by a frame that goes on behind them, as one that carries a frame does."""
    garbage: int = 0
    most_kept: int = 0
    read: bytes = b""
    """The stream of this input, and the end of the one before."""
    seconds: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        return (
            f"{self.inputs:>9,} inputs {self.octets:>12,} bytes {self.embedded:>9,} embedded, "
            f"{self.recovered:>9,} recovered, {self.replaced} replaced by chance "
            f"({self.completed} by one byte, {self.carried} within one), "
            f"{self.impostors:,} noise believed, {self.garbage:,} garbage, "
            f"at most {self.most_kept} bytes kept, {self.inputs / self.seconds:,.0f} inputs/s"
        )


def soak(specimen: Specimen, inputs: int, seed: int) -> Tally:
    """Feed ``inputs`` inputs; `AssertionError` with the seed where one shows a fault."""
    random = Random(f"{seed} {specimen.stream}")
    decoder = specimen.framing.decoder()
    tally = Tally()
    began = perf_counter()
    for number in range(inputs):
        if specimen.settle is None:  # the silence behind the last one has cleared the decoder
            tally.read = b""
        sent, events = one_input(specimen, decoder, random, tally)
        where = f"{specimen}, seed {seed}, input {number}"
        judge(specimen, sent, events, tally, where)
        tally.read = tally.read[-len(FILLER) :]
        kept = bytes_kept(decoder)
        assert kept <= specimen.bound, f"{where}: {kept} bytes kept"
        tally.most_kept = max(tally.most_kept, kept)
    tally.inputs = inputs
    tally.seconds = perf_counter() - began
    return tally


def one_input(
    specimen: Specimen, decoder: Decoder, random: Random, tally: Tally
) -> tuple[list[Embedded], list[Frame | Garbage]]:
    """Feed one input; return the frames that were in it, and what came out."""
    sent: list[Embedded] = []
    events: list[Frame | Garbage] = []
    stream = b""

    def pass_over(clearing: bytes | None) -> None:
        nonlocal stream
        if clearing is not None and specimen.sliced:
            stream += clearing
            return
        for piece in slices(stream, random) if specimen.sliced else [stream]:
            events.extend(decoder.feed(piece))
        tally.octets += len(stream)
        tally.read += stream
        stream = b""
        if clearing is None:
            assert isinstance(decoder, ExpiringDecoder)
            events.extend(decoder.expire())

    for _ in range((0, 1, 1, 1, 2, 3)[int(random.random() * 6)]):
        stream += specimen.make_noise(random)
        pass_over(specimen.clear)
        payload = specimen.make_payload(random)
        raw = specimen.framing.encode(payload)
        begin = len(tally.read) + len(stream)
        sent.append(Embedded(payload, Span(begin, begin + len(raw))))
        stream += raw
        if specimen.clear is None or not specimen.sliced:
            pass_over(specimen.clear)
    stream += specimen.make_noise(random)
    pass_over(specimen.settle)
    for piece in slices(stream, random):
        events.extend(decoder.feed(piece))
    tally.octets += len(stream)
    tally.read += stream
    return sent, events


def slices(data: bytes, random: Random) -> list[bytes]:
    """Return ``data`` in one to six pieces."""
    pieces = []
    for _ in range(int(random.random() * 6)):
        cut = int(random.random() * (len(data) + 1))
        pieces.append(data[:cut])
        data = data[cut:]
    return [*pieces, data]


def judge(
    specimen: Specimen,
    sent: list[Embedded],
    events: list[Frame | Garbage],
    tally: Tally,
    where: str,
) -> None:
    """Check what came out of one input against what went in."""
    frames = []
    for event in events:
        if isinstance(event, Garbage):
            assert len(event.raw) <= LIMIT + len("*XX"), f"{where}: {event}"
            assert event.reason, f"{where}: {event}"
            tally.garbage += 1
        else:
            frames.append(event.payload)
    found = longest_common([each.payload for each in sent], frames)
    if found < len(sent):
        assert specimen.by_chance, f"{where}: {sent} went in, {events} came out"
        found = len(sent) - count_replaced(specimen, sent, frames, tally, where)
    if specimen.overlapping:
        for payload in frames:
            raw = specimen.framing.encode(payload)
            assert raw in tally.read, f"{where}: {payload!r} came out, and is not in {tally.read!r}"
    tally.embedded += len(sent)
    tally.recovered += found
    tally.impostors += len(frames) - found


def count_replaced(
    specimen: Specimen, sent: list[Embedded], frames: list[bytes], tally: Tally, where: str
) -> int:
    """Count and return those of ``sent`` that were lost; each needs its impostor."""
    came = spans(specimen, frames, tally.read, where)
    lost = [each for each in sent if each.span not in came]
    for each in lost:
        begin, end = each.span
        over = [span for span in came if span.begin < begin < span.end]
        assert over, f"{where}: {each} is lost; there came {frames} at {came}"
        tally.completed += over[0].end - begin == 1
        tally.carried += over[0].end > end
    tally.replaced += len(lost)
    return len(lost)


def spans(specimen: Specimen, frames: list[bytes], stream: bytes, where: str) -> list[Span]:
    """Return where each of ``frames`` stands in ``stream``, byte for byte, one behind the other."""
    found: list[Span] = []
    at = 0
    for payload in frames:
        raw = specimen.framing.encode(payload)
        begin = stream.find(raw, at)
        assert begin >= 0, f"{where}: {payload!r} came out, and is not in {stream!r}"
        at = begin + len(raw)
        found.append(Span(begin, at))
    return found


def longest_common(sent: list[bytes], frames: list[bytes]) -> int:
    """Return how many of ``sent`` are among ``frames`` in order, at the most."""
    lengths = [0] * (len(sent) + 1)
    for frame in frames:
        before = 0
        for at, payload in enumerate(sent, 1):
            before, lengths[at] = (
                lengths[at],
                before + 1 if payload == frame else max(lengths[at], lengths[at - 1]),
            )
    return lengths[-1]


def bytes_kept(decoder: Decoder) -> int:
    """Return how many bytes ``decoder`` remembers of its stream."""
    return sum(
        len(value)
        for name, value in vars(decoder).items()
        if isinstance(value, bytes | bytearray | Noise) and name != "_mark"
    )


def main() -> None:
    """Soak every framing, or those whose names contain ``--only``."""
    parser = argparse.ArgumentParser(description="Random and mutated inputs into every framing.")
    parser.add_argument("--inputs", type=int, default=MILLION, help="a framing")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", default="", help="a specimen's name, or part of some")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}, {chosen.inputs:,} inputs a framing", flush=True)
    exact = [each for each in SPECIMENS if each.name == chosen.only]
    for specimen in exact or SPECIMENS:
        if chosen.only in specimen.name:
            print(f"{specimen!s:<50} {soak(specimen, chosen.inputs, chosen.seed)}", flush=True)


if __name__ == "__main__":
    main()
