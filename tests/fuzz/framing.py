"""Random and mutated inputs into every framing: nothing raises, nothing grows, nothing valid is lost.

    python -m tests.fuzz.framing                       a million inputs a framing
    python -m tests.fuzz.framing --inputs 20000 --only cobs --seed 7

An input is noise, of random bytes or of frames damaged as a wire damages them,
with up to three valid frames embedded as the framing's promise has it (see
`tests.fuzz.specimens`). One decoder reads them all, in random slices, and so
carries over whatever state the last noise left it in. After each input:

- every embedded frame has come out, in order. Only where a framing looks for
  frames by a checksum of 8 or 16 bits may noise that has a right one by chance
  take a frame's place; that noise came out of the same input, and is counted;
- no `Garbage` is longer than the limit, and the decoder keeps no more bytes
  than its longest frame and its noise can have.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from random import Random, SystemRandom
from time import perf_counter

from gateway.framing import Decoder, ExpiringDecoder, Frame, Garbage
from tests.fuzz.specimens import LIMIT, SPECIMENS, Specimen

MILLION = 1_000_000


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
    garbage: int = 0
    most_kept: int = 0
    seconds: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        return (
            f"{self.inputs:>9,} inputs {self.octets:>12,} bytes {self.embedded:>9,} embedded, "
            f"{self.recovered:>9,} recovered, {self.replaced} replaced by chance, "
            f"{self.impostors:,} noise believed, {self.garbage:,} garbage, "
            f"at most {self.most_kept} bytes kept, {self.inputs / self.seconds:,.0f} inputs/s"
        )


def soak(specimen: Specimen, inputs: int, seed: int) -> Tally:
    """Feed ``inputs`` inputs; `AssertionError` with the seed where one shows a fault."""
    random = Random(f"{seed} {specimen.name}")
    decoder = specimen.framing.decoder()
    tally = Tally()
    began = perf_counter()
    for number in range(inputs):
        sent, events = one_input(specimen, decoder, random, tally)
        where = f"{specimen}, seed {seed}, input {number}"
        judge(specimen, sent, events, tally, where)
        kept = bytes_kept(decoder)
        assert kept <= specimen.bound, f"{where}: {kept} bytes kept"
        tally.most_kept = max(tally.most_kept, kept)
    tally.inputs = inputs
    tally.seconds = perf_counter() - began
    return tally


def one_input(
    specimen: Specimen, decoder: Decoder, random: Random, tally: Tally
) -> tuple[list[bytes], list[Frame | Garbage]]:
    """Feed one input; return the payloads that were in it, and what came out."""
    sent: list[bytes] = []
    events: list[Frame | Garbage] = []

    def feed(data: bytes) -> None:
        tally.octets += len(data)
        for piece in slices(data, random) if specimen.sliced else [data]:
            events.extend(decoder.feed(piece))

    def pass_over(clearing: bytes | None) -> None:
        if clearing is not None:
            feed(clearing)
        else:
            assert isinstance(decoder, ExpiringDecoder)
            events.extend(decoder.expire())

    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        feed(specimen.make_noise(random))
        pass_over(specimen.clear)
        payload = specimen.make_payload(random)
        feed(specimen.framing.encode(payload))
        sent.append(payload)
        if specimen.clear is None:
            pass_over(None)
    feed(specimen.make_noise(random))
    pass_over(specimen.settle)
    return sent, events


def slices(data: bytes, random: Random) -> list[bytes]:
    """Return ``data`` in one to four pieces."""
    edges = sorted(random.randint(0, len(data)) for _ in range(random.randrange(4)))
    return [
        data[start:end] for start, end in zip([0, *edges], [*edges, len(data)], strict=True)
    ]


def judge(
    specimen: Specimen, sent: list[bytes], events: list[Frame | Garbage], tally: Tally, where: str
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
    found = longest_common(sent, frames)
    lost, impostors = len(sent) - found, len(frames) - found
    assert lost <= (impostors if specimen.by_chance else 0), (
        f"{where}: {sent} went in, {events} came out"
    )
    tally.embedded += len(sent)
    tally.recovered += found
    tally.replaced += lost
    tally.impostors += impostors


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
    settings = ("_mark", "_start", "_end")
    return sum(
        len(value)
        for name, value in vars(decoder).items()
        if isinstance(value, bytes | bytearray) and name not in settings
    )


def main() -> None:
    """Soak every framing, or those whose names contain ``--only``."""
    parser = argparse.ArgumentParser(description="Random and mutated inputs into every framing.")
    parser.add_argument("--inputs", type=int, default=MILLION, help="a framing")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", default="", help="part of a specimen's name")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}, {chosen.inputs:,} inputs a framing", flush=True)
    for specimen in SPECIMENS:
        if chosen.only in specimen.name:
            print(f"{specimen!s:<36} {soak(specimen, chosen.inputs, chosen.seed)}", flush=True)


if __name__ == "__main__":
    main()
