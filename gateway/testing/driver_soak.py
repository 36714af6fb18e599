"""A million bad frames for one driver: ``python -m gateway.testing.driver_soak MODULE:CONTRACT``.

The contract (a subclass of `gateway.testing.driver_contract.DriverContract`)
gives the driver and real frames to spoil. Every tenth input is a real one, and
must go on being taken; where a message is made of several frames (the contract's
``gathers``), the whole conversation comes twice in a row instead, and nothing of its
second time may be refused. The answers to handshake and commands are spoilt as well.
Prints what became of them, and how much memory it cost; the seed is printed
first, and by ``--seed`` the same run comes again.

    python -m gateway.testing.driver_soak \\
        tests.drivers.bench_board.test_contract:TestBenchBoard --inputs 1000000

Ends with 1, and the frame, at the first one that raises what is no
`gateway.errors.GatewayError`, and where memory or refusals grow.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom
from time import monotonic

from gateway.testing.driver_contract import DriverContract
from gateway.testing.mutated import mutated_frames
from gateway.testing.received_host import ReceivedHost

_WARM = 20_000
"""Inputs after which memory is looked at for the first time: tables and caches are full then."""

_ROOM = 8 * 2**20
"""Bytes by which the OS process may have grown at the end."""

_REAL_EVERY = 10
"""One input in so many is a real frame."""

_ANSWER_EVERY = 20
"""Inputs for each of which the handshake and every command get one spoilt answer as well."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of the frames."""

    inputs: int
    refused: int
    real: int
    real_refused: int
    published: int
    answers: int
    seconds: float
    grown: int
    """Bytes by which the OS process grew after the first inputs."""

    @property
    def complaint(self) -> str:
        """What is wrong, or empty text."""
        if self.real_refused:
            return f"{self.real_refused} real frames were refused amid the nonsense"
        if self.grown > _ROOM:
            return f"it grew by {self.grown / 2**20:.1f} MiB: what does it keep?"
        return ""

    def __str__(self) -> str:
        return (
            f"{self.inputs:,} inputs in {self.seconds:.1f} s "
            f"({self.seconds / self.inputs * 1e6:.1f} µs each): {self.refused:,} refused, "
            f"{self.published:,} publications, {self.real:,} of them real frames, "
            f"{self.real_refused} of those refused; {self.answers:,} spoilt answers; "
            f"memory {self.grown / 2**20:+.1f} MiB"
        )


def soak(contract: DriverContract, inputs: int, seed: int) -> Outcome:
    """Give the contract's driver ``inputs`` frames; what is no `GatewayError` rises."""
    driver, host, right = contract.listener()
    # A real frame that is refused in quiet times (an answer, say) is no measure.
    good = [frame for frame in right if _is_taken(contract, host, frame)]
    began, before, refused = monotonic(), _resident(), 0
    real = real_refused = 0
    mixed = _mixed(mutated_frames(Random(seed), right, inputs), good, gathers=contract.gathers)
    for number, (frame, is_real) in enumerate(mixed):
        if number == _WARM:
            before = _resident()
        earlier = host.refused
        contract.hear(driver, host, frame)
        if is_real:
            real += 1
            real_refused += host.refused - earlier
        else:
            refused += host.refused - earlier
    seconds = monotonic() - began
    answers = contract.answer_with_nonsense(inputs // _ANSWER_EVERY, Random(seed))
    return Outcome(
        inputs=inputs,
        refused=refused,
        real=real,
        real_refused=real_refused,
        published=host.published,
        answers=answers,
        seconds=seconds,
        grown=_resident() - before,
    )


def _mixed(
    nonsense: Iterable[bytes], good: Sequence[bytes], *, gathers: bool
) -> Iterator[tuple[bytes, bool]]:
    """Put ``good`` frames in place of some of the nonsense; say which of them must be taken."""
    run = [(frame, True) for frame in good]
    if gathers:  # the first time it may still have half a message of the nonsense
        run = [(frame, False) for frame in good] + run
        for number, frame in enumerate(nonsense):
            at = number % (_REAL_EVERY * len(run) or 1)
            yield run[at] if at < len(run) else (frame, False)
        return
    for number, frame in enumerate(nonsense):
        at, rest = divmod(number, _REAL_EVERY)
        yield (frame, False) if rest or not run else run[at % len(run)]


def _is_taken(contract: DriverContract, host: ReceivedHost, frame: bytes) -> bool:
    assert host.driver is not None
    earlier = host.refused
    contract.hear(host.driver, host, frame)
    return host.refused == earlier


def _resident() -> int:
    """Return the bytes of memory that this OS process has in use."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one soak; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway.testing.driver_soak",
        description="Feed a driver's received() with random and mutated frames.",
    )
    parser.add_argument("contract", metavar="MODULE:CONTRACT", help="where the contract class is")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many frames (1000000)")
    parser.add_argument("--seed", type=int, help="of the randomness; printed where not given")
    options = parser.parse_args(arguments)
    module, _, name = options.contract.partition(":")
    if options.inputs < 1 or not name:
        parser.error("it takes MODULE:CONTRACT, and at least one input")
    sys.path.insert(0, os.getcwd())
    contract: DriverContract = getattr(importlib.import_module(module), name)()
    seed = SystemRandom().randrange(2**32) if options.seed is None else options.seed
    say = sys.stdout.write
    say(f"{options.contract}: seed {seed}\n")
    logging.disable()  # what a driver has to say of each would be a million lines
    try:
        outcome = soak(contract, options.inputs, seed)
    finally:
        logging.disable(logging.NOTSET)
    say(f"{outcome}\n")
    if outcome.complaint:
        say(f"{outcome.complaint}\n")
    return 1 if outcome.complaint else 0


if __name__ == "__main__":
    sys.exit(main())
