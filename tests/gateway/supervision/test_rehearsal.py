"""The rehearsal before the first fork: what it saves, and that nothing else stays of it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.bus.directory import BOSS
from gateway.bus.office import Office
from gateway.clock import RealClock
from gateway.process.process import Process
from gateway.process.whereabouts import here
from gateway.supervision.rehearsal import NAME, rehearse
from gateway.testing.stage import play

OWN = """
    class Forked(Process):
        def birth(self):
            self.add_filter(subject="^weigh$", callback=self.on_weigh)

        def on_weigh(self, message):
            with open("/proc/self/smaps_rollup") as file:
                found = dict(line.split()[:2] for line in list(file)[1:])
            self.reply(message, int(found["Private_Dirty:"]))

    class Main(Process):
        def birth(self):
            say("own", self.wait_for_reply(self.send("forked", "weigh")).body)
            self.die()

    app = Application(main=Main, sockets=SOCKETS)
    app.add_process("forked", Forked, mode="fork")
    sys.exit(app.run())
    """


def test_nothing_is_left_behind_and_nobody_hears_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    before = here(), sorted(os.listdir("/proc/self/fd"))
    rehearse(tmp_path / "bus", RealClock())
    assert (here(), sorted(os.listdir("/proc/self/fd"))) == before
    assert list((tmp_path / "bus").iterdir()) == []
    assert caplog.records == []


def test_sockets_that_a_killed_predecessor_left_are_in_nobodys_way(tmp_path: Path) -> None:
    folder = tmp_path / "bus"
    killed = Office(folder, clock=RealClock())
    sockets = [*killed.bind(BOSS, 1), *killed.bind(NAME, 1)]
    rehearse(folder, RealClock())
    assert list(folder.iterdir()) == []
    for used in sockets:
        used.close()
    killed.shut()


@pytest.mark.parametrize(("mode", "times"), [("fork", 1), ("thread", 0)])
def test_who_forks_nobody_rehearses_nothing(
    mode: Any, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path] = []

    def noted(folder: Path, clock: RealClock) -> None:
        folders.append(folder)

    monkeypatch.setattr("gateway.application.rehearse", noted)
    play(lambda main: None, idle=(Process, mode))
    assert len(folders) == times


def test_who_is_forked_has_less_of_its_own(start: Any) -> None:
    found = []
    for prepare in ("", "import gateway.application as used; used.rehearse = lambda *_: None"):
        program = start(f"    {prepare}\n{OWN}")
        found.append(int(program.wait_for("own")))
        assert program.end() == 0, program.complaints()
    with_it, without = found
    assert without - with_it > 100, f"{with_it} kB with it, {without} kB without"
