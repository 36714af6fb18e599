"""The OS processes of one group, as /proc shows them: who lives, and what each holds.

A program that is started in a process group of its own (``process_group=0``)
can be told from all others by the group's number, also when its first process
has died and the rest belongs to nobody. (Not in a session of its own: on a
busy machine Linux may let a whole session wait for seconds, by autogroup.)
Zombies do not count: they hold nothing, and whoever is their parent by then
reaps them.

What cannot be waited for, since /proc tells nobody of a change, is looked at
again and again until a deadline (`until`).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PAUSE = 0.01
"""Seconds between two looks at /proc."""

Waits = dict[int, dict[str, float]]
"""Seconds by process and thread."""


@dataclass(frozen=True)
class Holdings:
    """What one OS process holds: the names of its threads, and where descriptors lead."""

    threads: list[str]
    descriptors: dict[int, str]

    def __str__(self) -> str:
        descriptors = [f"{number} {target}" for number, target in self.descriptors.items()]
        return f"threads {self.threads}, descriptors {descriptors}"


def members(group: int) -> list[int]:
    """Return the living processes of ``group``, oldest first."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            state, number = _state_and_group(int(folder.name))
            if number == group and state not in "ZX":
                found.append(int(folder.name))
    return sorted(found)


def is_gone(pid: int) -> bool:
    """Tell whether ``pid`` has ended.

    Its state tells. An empty command line does not: a process that is just becoming
    another program has one too.
    """
    return _state_and_group(pid)[0] in "ZX"


def sleeps(pid: int) -> bool:
    """Tell whether every thread of ``pid`` waits for something."""
    stats = [task.joinpath("stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return {stat.rpartition(")")[2].split()[0] for stat in stats} == {"S"}


def wait_until_gone(group: int, seconds: float) -> list[int]:
    """Wait until nobody of ``group`` lives; return who still does at the deadline."""
    deadline = time.monotonic() + seconds
    while alive := members(group):
        left = deadline - time.monotonic()
        if left <= 0:
            return alive
        try:
            descriptor = os.pidfd_open(alive[0])
        except ProcessLookupError:
            continue
        try:
            select.select([descriptor], [], [], left)
        finally:
            os.close(descriptor)
    return []


def kill_all(group: int) -> None:
    """End whoever lives in ``group``, by SIGKILL."""
    for pid in members(group):
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            # The descriptor holds on to the process: its number cannot be another's by now.
            if _state_and_group(pid)[1] == group:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)


def holdings(pid: int) -> Holdings:
    """Return what ``pid`` holds now; an ended one holds nothing."""
    threads: list[str] = []
    descriptors: dict[int, str] = {}
    # One that goes while we look takes no other with it: half a list is no list.
    gone = contextlib.suppress(FileNotFoundError, ProcessLookupError)
    with gone:
        for task in list(Path(f"/proc/{pid}/task").iterdir()):
            with gone:
                threads.append((task / "comm").read_text().strip())
    with gone:
        for number in os.listdir(f"/proc/{pid}/fd"):
            with gone:
                descriptors[int(number)] = os.readlink(f"/proc/{pid}/fd/{number}")
    return Holdings(threads, descriptors)


def described(pid: int) -> str:
    """Return what ``pid`` is and what each of its threads does, for whoever wonders why."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        tasks = [
            f"{(task / 'comm').read_text().strip()} {_state_and_group(int(task.name))[0]} "
            f"in {(task / 'wchan').read_text() or 'nothing'}"
            for task in Path(f"/proc/{pid}/task").iterdir()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return f"process {pid}, which is gone"
    return f"process {pid} ({command.strip()}): {', '.join(tasks)}"


def resident_kilobytes(pid: int) -> int:
    """Return the memory that ``pid`` occupies."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ValueError(f"process {pid} occupies nothing: it has ended")


def processor_seconds(pid: int) -> float:
    """Return what ``pid`` has used of a processor so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def waits_for_a_core(pids: Iterable[int]) -> Waits:
    """Return how many seconds each thread of ``pids`` has waited for a core, since it began."""
    waits: Waits = {}
    for pid in pids:
        waits[pid] = {}
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    told = Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()
                    waits[pid][task] = int(told[1]) / 1e9
    return waits


def held_up(before: Waits, now: Waits) -> float:
    """Return how long the machine alone held up work that went from process to process.

    Of each process it is its most patient thread's wait for a core: not more than the
    work as a whole may have waited, and 0 on a machine that has a core to spare.
    """
    return sum(
        max((now[pid][task] - before[pid].get(task, 0.0) for task in now[pid]), default=0.0)
        for pid in now
    )


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Look until ``condition`` holds; tell whether it did within ``seconds``."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        if time.monotonic() >= deadline:
            return False
        pause.wait(PAUSE)
    return True


def _state_and_group(pid: int) -> tuple[str, int]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "X", -1
    return fields[0], int(fields[2])
