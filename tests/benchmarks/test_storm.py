"""No letter is lost where everything goes wrong at once, and the storm would tell if one were."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from benchmarks import storm as module
from benchmarks.storm import FAULTS, SCENES


def storm(*words: str, sabotage: str = "") -> tuple[int, dict[str, Any]]:
    """Run one round of each form of ring in a program of its own; return its status and figures."""
    program = f"{sabotage}\nimport sys\nfrom benchmarks.storm import main\nsys.exit(main())"
    run = subprocess.run(
        [sys.executable, "-c", program, "--json", "--seconds", "0", *words],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout)


@pytest.mark.parametrize("scene", [scene.name for scene in SCENES])
def test_no_letter_is_lost_doubled_or_told_wrongly_of(scene: str) -> None:
    status, told = storm("--only", scene)
    assert {fault: told[scene][fault] for fault in FAULTS} == dict.fromkeys(FAULTS, 0), told
    assert status == 0
    assert told[scene]["sent"] > 100
    assert (told[scene]["struck"] > 0) == (scene in ("strikes", "struck_readers"))


LOSSY = """
from gateway.bus.mailbox import Mailbox
get, handed = Mailbox.get, [0]
def lossy(self, timeout):
    letter = get(self, timeout)
    handed[0] += letter is not None
    return get(self, timeout) if handed[0] % 100 == 50 else letter
Mailbox.get = lossy
"""

TWICE = """
from gateway.bus.mailbox import Mailbox
get, kept = Mailbox.get, []
def twice(self, timeout):
    if kept:
        return kept.pop()
    letter = get(self, timeout)
    if letter is not None and letter.body[2] % 100 == 50:
        kept.append(letter)
    return letter
Mailbox.get = twice
"""

SWAPPED = """
from gateway.bus.mailbox import Mailbox
get, kept = Mailbox.get, []
def swapped(self, timeout):
    letter = get(self, timeout)
    if letter is None and kept:
        return kept.pop()
    if letter is not None and letter.body[2] == 50:
        kept.append(letter)
        return get(self, timeout)
    return letter
Mailbox.get = swapped
"""

FEIGNED = """
from gateway.bus.ring_outlet import RingOutlet
from gateway.errors import MailboxFullError
deliver = RingOutlet.deliver
def feign(self, letter, timeout):
    deliver(self, letter, timeout)
    if letter.body[2] % 100 == 50:
        raise MailboxFullError("it is not")
RingOutlet.deliver = feign
"""

UNCOUNTED = """
from gateway.bus.office import Office
inherit = Office.inherit
Office.inherit = lambda *arguments: inherit(*arguments) + 2
"""

UNWELL = """
from gateway.bus.mailbox import Mailbox
def fail(self):
    raise ValueError("broken")
Mailbox.close = fail
"""


@pytest.mark.parametrize(
    ("sabotage", "scene", "fault"),
    [
        (LOSSY, "dead_writer", "lost"),
        (TWICE, "dead_writer", "doubled"),
        (SWAPPED, "dead_writer", "disordered"),
        (FEIGNED, "dead_writer", "feigned"),
        (UNCOUNTED, "dead_reader", "unbalanced"),
        (UNWELL, "dead_writer", "unwell"),
    ],
)
def test_it_would_be_told(sabotage: str, scene: str, fault: str) -> None:
    status, told = storm("--only", scene, sabotage=sabotage)
    assert told[scene][fault] > 0
    assert status == 1


def test_the_chances_of_a_run_can_be_had_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[str] = []

    def weather(scene: object, seed: str, *, is_signed: bool) -> tuple[Counter[str], float]:
        seeds.append(seed)
        return Counter(), 0.0

    monkeypatch.setattr(module, "_round", weather)
    for seed in (7, 7, 8):
        assert len(list(module.rounds(0.0, seed))) == 2 * len(SCENES)
    once = 2 * len(SCENES)
    assert seeds[:once] == seeds[once : 2 * once] != seeds[2 * once :]


def stopped(pid: str) -> bool:
    """Tell whether the OS process ``pid`` was sent SIGSTOP."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return said.rpartition(")")[2].split()[0] == "T"


def test_who_was_interrupted_leaves_nobody_behind() -> None:
    program = [sys.executable, "-m", "benchmarks.storm", "--only", "stops", "--json"]
    run = subprocess.Popen(program, stdout=subprocess.PIPE, process_group=0)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    deadline = monotonic() + 40.0
    begun: list[str] = []
    while not any(stopped(pid) for pid in begun):
        assert monotonic() < deadline
        begun = children.read_text().split()
    run.send_signal(signal.SIGINT)
    said, _ = run.communicate(timeout=40.0)
    found = json.loads(said)
    assert "seed" in found
    # A round lasts a second or more; this machine may have been held up for as long.
    assert run.returncode == (0 if "stops" in found else 1)
    assert not [pid for pid in begun if Path(f"/proc/{pid}").exists()]
