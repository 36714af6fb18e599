"""Whether a letter between OS processes is lost where everything goes wrong at once.

Threads of several writers write to several readers through few rings, with sizes, time-outs
and pauses at random, and in turns

- whoever runs is stopped and let go on at any moment (``stops``);
- a signal's handler raises wherever a writer, or a reader, just is (``strikes``,
  ``struck_readers``);
- a writer, or a reader, is sent SIGKILL, and its boss inherits (``dead_writer``, ``dead_reader``).

Of each letter stands in shared memory what its writer was told, and how often it was read. Each of
``lost`` (told delivered, never read), ``doubled``, ``disordered``, ``feigned`` (told that it
failed, and read), ``unbalanced`` (by how many letters a reader's ledger differs from that; of a
dead one more than it says to be in doubt, of one that was struck more than it was handed just then)
and ``unwell`` (OS processes that failed, or did not end)
is to be 0; exit status 1 where one is not. What a writer that was struck or killed was never told
of may be either. ``given_up`` is what a reader was struck in the midst of for a second, again and
again (`gateway.bus.attempts`), and counted as garbage. ``late_ms`` is the longest that a time-out
was exceeded. The same ``--seed`` gives the same chances, not the same moments.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import logging
import mmap
import os
import random
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, product
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Literal

from benchmarks.measure import show
from gateway.bus.ledger import ACCEPTED, LOST, SharedLedgers, balance_of_the_dead
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.bus.patience import Patience
from gateway.bus.ring_outlet import RingOutlet
from gateway.bus.rings import Rings
from gateway.bus.wire import Folder, socket_name
from gateway.clock import RealClock
from gateway.errors import MailboxFullError, RecipientGoneError
from gateway.mail.message import Message

log = logging.getLogger(__name__)

READERS, WRITERS, THREADS, RINGS = 2, 3, 2, 3
"""How many there are: fewer rings than would be wanted, so that they change hands."""

MAILBOX = 64
"""Letters that a reader keeps by itself."""

NUMBERS = 1 << 20
"""Letters that one thread may write to one reader."""

BURST = 150
"""Letters that go to one reader without a break, at the most."""

SIZES = (*[0] * 20, 100, 100, 300, 300, 900, 1_100, 3_000, 300_000)
"""Characters of a letter: few have no room in a ring, and one of them none in a datagram."""

TIMEOUTS = (0.0, 0.0005, 0.002, 0.01, 0.2)
"""Seconds that a letter may wait."""

PATIENCE = 30.0
"""Seconds after which whoever has not ended tells where it hangs, and ends."""

_DELIVERED, _FAILED = 1, 2
_LAST, _DISORDERED, _LATE, _TRIED, _STRUCK = range(5)


@dataclass(frozen=True)
class Scene:
    """One kind of bad weather, and how many seconds it lasts."""

    name: str
    seconds: float
    stops: bool = False
    strikes: Literal["", "writers", "readers"] = ""
    kills: Literal["", "writer", "reader"] = ""


SCENES = (
    Scene("stops", 2.0, stops=True),
    Scene("strikes", 2.0, strikes="writers"),
    Scene("struck_readers", 2.0, strikes="readers"),
    Scene("dead_writer", 0.2, kills="writer"),
    Scene("dead_reader", 0.2, kills="reader"),
)

FAULTS = ("lost", "doubled", "disordered", "feigned", "unbalanced", "unwell")
"""What is to be 0."""


class StruckError(Exception):
    """What the handler of the signal raises."""


class Stream:
    """The letters of one thread to one reader: what was told of each, and how often it was read."""

    def __init__(self) -> None:
        # Pages that nobody writes to cost nothing.
        self.told, self._read = mmap.mmap(-1, NUMBERS), mmap.mmap(-1, NUMBERS)
        self._counts = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")

    def next_number(self) -> int | None:
        """Return the number of the next letter; None where there were enough."""
        self._counts[_TRIED] += 1
        return self._counts[_TRIED] if self._counts[_TRIED] < NUMBERS else None

    def note_read(self, number: int) -> None:
        """Count a letter that came; those of one stream are to come in their order."""
        self._read[number] += 1
        if number < self._counts[_LAST]:
            self._counts[_DISORDERED] += 1
        self._counts[_LAST] = number

    def note_late(self, seconds: float) -> None:
        """Remember the longest that a time-out was exceeded."""
        self._counts[_LATE] = max(self._counts[_LATE], int(seconds * 1e6))

    def note_struck(self) -> None:
        """Count a handler that raised."""
        self._counts[_STRUCK] += 1

    @property
    def late_ms(self) -> float:
        """The longest that a time-out was exceeded, in milliseconds."""
        return self._counts[_LATE] / 1000

    def found(self) -> Counter[str]:
        """Return what became of the letters."""
        tried = min(self._counts[_TRIED] + 1, NUMBERS)
        each = Counter(zip(self.told[:tried], self._read[:tried], strict=True))
        return Counter(
            sent=sum(many for (told, _), many in each.items() if told == _DELIVERED),
            refused=sum(many for (told, _), many in each.items() if told == _FAILED),
            read=sum(many for (_, times), many in each.items() if times),
            lost=each[_DELIVERED, 0],
            doubled=sum(many for (_, times), many in each.items() if times > 1),
            disordered=self._counts[_DISORDERED],
            feigned=sum(many for (told, times), many in each.items() if told == _FAILED and times),
            struck=self._counts[_STRUCK],
        )


class Storm:
    """Readers and writers of one round, each an OS process, and their boss, who is this one."""

    def __init__(self, scene: Scene, folder: Path, seed: str, *, is_signed: bool) -> None:
        self._scene, self._seed = scene, seed
        self._random = random.Random(seed)
        self._folder = Folder(folder)
        self._rings = Rings(RINGS, is_signed=is_signed)
        self._sockets = [
            (
                self._folder.bind(socket_name(f"reader{number}", 1, "mail")),
                self._folder.bind(socket_name(f"reader{number}", 1, "urgent")),
            )
            for number in range(READERS)
        ]
        self._streams = {
            (writer, thread, reader): Stream()
            for writer in range(WRITERS)
            for thread in range(THREADS)
            for reader in range(READERS)
        }
        self._ledgers = SharedLedgers(READERS)
        self._rows = [self._ledgers.claim() for _ in range(READERS)]
        self._running: list[int] = []
        self._killed = 0
        self._over = mmap.mmap(-1, mmap.PAGESIZE)
        # How often each reader was struck.
        self._strikes = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")

    def run(self) -> Counter[str]:
        """Return what was found: `FAULTS` and others."""
        found: Counter[str] = Counter()
        try:
            readers = [self._start(partial(self._read, number)) for number in range(READERS)]
            writers = [self._start(partial(self._write, number)) for number in range(WRITERS)]
            self._weather(writers, readers)
            dead = self._kill(writers, readers)
            if dead is not None:
                self._inherit(dead)
            if self._scene.kills:
                # The others go on with what the dead one had.
                sleep(self._random.uniform(0.0, 0.1))
            self._over[0] = True
            found["unwell"] += self._end(writers)
            self._over[1] = True
            found["unwell"] += self._end(readers)
            for reader in range(READERS):
                found.update(self._found(reader, is_dead=reader == dead))
        finally:
            for pid in self._running:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            self._close()
        return found

    def _found(self, reader: int, *, is_dead: bool) -> Counter[str]:
        """Return what became of the letters to one reader, and whether its ledger agrees."""
        found: Counter[str] = Counter()
        for (_, _, to), stream in self._streams.items():
            if to == reader:
                found.update(stream.found())
        ledger = balance_of_the_dead(self._ledgers.row(self._rows[reader]))
        if is_dead:
            # What it had taken in and not handed out died with it, and that is counted.
            missing = found["sent"] - ledger.accepted
            found["unbalanced"] = max(-missing, missing - ledger.in_doubt)
            found["died_with_reader"] = found.pop("lost")
        else:
            # What it was handed as it was struck it had no time to note.
            strikes = self._strikes[reader]
            handed = ledger.accepted - found["read"]
            found["unbalanced"] = max(0, -handed, handed - strikes)
            # In the midst of which it was struck for a second it gave up, and counted that.
            found["given_up"] = ledger.garbage if strikes else 0
            found["lost"] = max(0, found["lost"] - min(handed, strikes) - found["given_up"])
            found["struck"] += strikes
        return found

    @property
    def late_ms(self) -> float:
        """The longest that a time-out was exceeded, in milliseconds."""
        return max(stream.late_ms for stream in self._streams.values())

    def _weather(self, writers: list[int], readers: list[int]) -> None:
        end = monotonic() + self._scene.seconds * self._random.uniform(0.5, 1.5)
        while (left := end - monotonic()) > 0:
            if not self._scene.stops:
                sleep(left)
                break
            victim = self._random.choice(writers + readers)
            try:
                os.kill(victim, signal.SIGSTOP)
                sleep(self._random.uniform(0.0, 0.05))
            finally:
                os.kill(victim, signal.SIGCONT)
            sleep(self._random.uniform(0.0, 0.01))

    def _kill(self, writers: list[int], readers: list[int]) -> int | None:
        """Kill whom the scene wants killed; return the number of the reader, if it is one."""
        if self._scene.kills == "writer":
            self._killed = self._random.choice(writers)
            os.kill(self._killed, signal.SIGKILL)
        if self._scene.kills != "reader":
            return None
        dead = self._random.randrange(READERS)
        self._killed = readers[dead]
        os.kill(self._killed, signal.SIGKILL)
        os.waitid(os.P_PID, self._killed, os.WEXITED | os.WNOWAIT)
        return dead

    def _inherit(self, dead: int) -> None:
        """Count what a dead reader left in its sockets and rings."""
        office = Office(self._folder, clock=RealClock(), rings=self._rings)
        left = office.inherit(f"reader{dead}", 1, self._sockets[dead])
        row = self._ledgers.row(self._rows[dead])
        row[ACCEPTED] += left
        row[LOST] += left

    def _start(self, act: Callable[[], None]) -> int:
        pid = _forked(act)
        self._running.append(pid)
        return pid

    def _end(self, pids: list[int]) -> int:
        """Reap all of them; return how many did not end well, who was killed not counted."""
        unwell = 0
        for pid in pids:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            self._running.remove(pid)
            unwell += status not in (0, -signal.SIGKILL if pid == self._killed else 0)
        return unwell

    def _close(self) -> None:
        for pair in self._sockets:
            for used in pair:
                used.close()
        self._folder.close()
        self._rings.close()

    def _chance(self, whose: str, number: int) -> random.Random:
        return random.Random(f"{self._seed} {whose} {number}")

    # In the OS processes of their own

    def _read(self, number: int) -> None:
        chance = self._chance("reader", number)
        box = Mailbox(
            f"reader{number}",
            1,
            clock=RealClock(),
            size=MAILBOX,
            sockets=self._sockets[number],
            rings=self._rings,
            counts=self._ledgers.row(self._rows[number]),
        )
        get = self._get_struck(number, chance) if self._scene.strikes == "readers" else Mailbox.get
        while True:
            is_over = self._over[1]
            letter = get(box, 0.05)
            if letter is not None:
                self._note(letter, number)
                if chance.random() < 0.01:
                    sleep(chance.uniform(0.0, 0.006))
            elif is_over:
                break
        for letter in box.close():
            self._note(letter, number)

    def _get_struck(
        self, number: int, chance: random.Random
    ) -> Callable[[Mailbox, float], Message | None]:
        """Return a way to read the next letter while handlers raise."""
        signal.signal(signal.SIGALRM, _raise_struck)

        def get(box: Mailbox, timeout: float) -> Message | None:
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.expovariate(1 / 0.0001) + 1e-5)
                letter = box.get(timeout)
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            except StruckError:
                self._strikes[number] += 1
                return None
            return letter

        return get

    def _note(self, letter: Message, reader: int) -> None:
        writer, thread, number, _ = letter.body
        self._streams[writer, thread, reader].note_read(number)

    def _write(self, number: int) -> None:
        patience = Patience()
        outlets = [
            RingOutlet(self._folder, f"reader{reader}", 1, self._rings, patience)
            for reader in range(READERS)
        ]
        others = [
            threading.Thread(
                target=self._write_some,
                args=(number, thread, outlets, self._chance(f"thread {thread}", number)),
            )
            for thread in range(1, THREADS)
        ]
        for other in others:
            other.start()
        chance = self._chance("main thread", number)
        if self._scene.strikes == "writers":
            self._write_struck(number, outlets, chance)
        else:
            self._write_some(number, 0, outlets, chance)
        for other in others:
            other.join()

    def _write_struck(self, number: int, outlets: list[RingOutlet], chance: random.Random) -> None:
        """Write on the main thread, where handlers run, and raise."""
        signal.signal(signal.SIGALRM, _raise_struck)
        while not self._over[0]:
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.expovariate(1 / 0.003) + 1e-5)
                self._write_some(number, 0, outlets, chance)
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            except StruckError:
                self._streams[number, 0, 0].note_struck()

    def _write_some(
        self, writer: int, thread: int, outlets: list[RingOutlet], chance: random.Random
    ) -> None:
        """Write until it is over."""
        open_to = list(range(READERS))
        reader = left = 0
        while open_to and not self._over[0]:
            if not left or reader not in open_to:
                reader, left = chance.choice(open_to), chance.randint(1, BURST)
            left -= 1
            if not self._write_one(writer, thread, reader, outlets[reader], chance):
                open_to.remove(reader)
            if chance.random() < 0.01:
                sleep(chance.uniform(0.0, 0.002))

    def _write_one(
        self, writer: int, thread: int, reader: int, outlet: RingOutlet, chance: random.Random
    ) -> bool:
        """Write one letter and note what is told of it; False where nobody reads any more."""
        stream = self._streams[writer, thread, reader]
        number = stream.next_number()
        if number is None:
            return False
        body = [writer, thread, number, "." * chance.choice(SIZES)]
        to = f"reader{reader}"
        letter = Message("a", "a", 1, 0.0, "writer", to, "number", body, incarnation=1)
        timeout = chance.choice(TIMEOUTS)
        began = monotonic()
        goes_on = True
        try:
            outlet.deliver(letter, timeout)
        except MailboxFullError:
            stream.told[number] = _FAILED
        except RecipientGoneError:
            stream.told[number] = _FAILED
            goes_on = False
        else:
            stream.told[number] = _DELIVERED
        stream.note_late(monotonic() - began - timeout)
        return goes_on


def _raise_struck(*_: object) -> None:
    raise StruckError


def _forked(act: Callable[[], None]) -> int:
    """Run ``act`` in an OS process of its own, which tells where it hangs; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        act()
        status = 0
    except KeyboardInterrupt:
        status = 0
    except BaseException:
        log.exception("%s failed", act)
    finally:
        os._exit(status)


def rounds(seconds: float, seed: int, only: str = "") -> Iterator[tuple[str, Counter[str], float]]:
    """Yield each round's scene, what was found, and how late somebody was, for ``seconds``."""
    scenes = [scene for scene in SCENES if only in ("", scene.name)]
    end = monotonic() + seconds
    for number in count():
        for scene, is_signed in product(scenes, (False, True)):
            yield scene.name, *_round(scene, f"{seed} {number}", is_signed=is_signed)
        if monotonic() >= end:
            return


def _round(scene: Scene, seed: str, *, is_signed: bool) -> tuple[Counter[str], float]:
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        storm = Storm(scene, Path(folder), seed, is_signed=is_signed)
        return storm.run(), storm.late_ms


def main() -> int:
    """Print what was found, scene by scene; return 1 where a letter was lost."""
    parser = argparse.ArgumentParser(description="Whether a letter is lost when all goes wrong.")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it lasts (60)")
    parser.add_argument("--seed", type=int, default=None, help="the seed of another run")
    names = [scene.name for scene in SCENES]
    parser.add_argument("--only", choices=names, default="", help="one kind of weather alone")
    chosen = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if chosen.seed is None else chosen.seed
    result: dict[str, Any] = {"seed": seed}
    with contextlib.suppress(KeyboardInterrupt):
        for scene, found, late_ms in rounds(chosen.seconds, seed, chosen.only):
            so_far = result.setdefault(scene, dict.fromkeys(("rounds", *FAULTS), 0))
            so_far["rounds"] += 1
            for what, many in found.items():
                so_far[what] = so_far.get(what, 0) + many
            so_far["late_ms"] = max(so_far.get("late_ms", 0.0), late_ms)
            if sys.stderr.isatty():
                sent = sum(told["sent"] for told in result.values() if isinstance(told, dict))
                print(f"\r{sent} letters so far", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    show(result, as_json=chosen.json)
    told = [each for each in result.values() if isinstance(each, dict)]
    return 1 if not told or any(each[fault] for each in told for fault in FAULTS) else 0


if __name__ == "__main__":
    sys.exit(main())
