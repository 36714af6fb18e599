"""SIGKILL at random moments under load: no hang, typed errors, balanced ledgers, nothing left."""

from __future__ import annotations

import json
import os
import random
import select
import signal
from pathlib import Path
from typing import Any

import pytest

WORKERS = 4
ROUNDS = 46
"""Kills of workers; four more rounds kill the fork server and the main process."""

LOAD = f"""
    import json, random
    WORKERS = {WORKERS}

    class Worker(Process):
        def birth(self):
            self.add_filter(subject="^load$", callback=lambda message: None)
            self.add_filter(subject="^ask$", callback=lambda m: self.reply(m, m.body))
            self.others = [f"w{{n}}" for n in range(WORKERS) if f"w{{n}}" != self.name]
            self.random = random.Random(self.name)
        def life(self):
            for _ in range(3):
                other = self.random.choice(self.others)
                try:
                    self.send(other, "load", "x" * 100, receipt=True, timeout=0.01)
                    self.wait_for_reply(self.send(other, "ask", 7, timeout=0.01), 0.005)
                except GatewayError:
                    pass

    class App(Application):
        def build(self):
            for n in range(WORKERS):
                self.add_process(f"w{{n}}", Worker, mode="fork", restart=SOON, frequency=200)
"""

CREW = (
    LOAD
    + """
    SEED, ROUNDS = SEEDS
    class Main(Process):
        def crew(self):
            return {m["name"]: m for m in self.wait_for_reply(self._tell_boss("ps", None), 20).body}
        def open(self):
            return len(os.listdir("/proc/self/fd"))
        def settled(self, lives):
            while True:
                crew = self.crew()
                workers = [crew[f"w{n}"] for n in range(WORKERS)]
                if all(w["state"] == "living" for w in workers) and sum(
                    w["incarnation"] for w in workers
                ) == lives:
                    return workers
                self.light_sleep(0.002)
        def life(self):
            choice = random.Random(SEED)
            lives = WORKERS
            workers = self.settled(lives)
            for worker in workers:
                self.wait_for_reply(self.send(worker["name"], "ask", 0), 20)
            before = None
            for number in range(ROUNDS):
                self.light_sleep(choice.uniform(0, 0.03))
                victim = choice.choice(workers)
                os.kill(victim["pid"], signal.SIGKILL)
                lives += 1
                workers = self.settled(lives)
                answer = self.wait_for_reply(self.send(victim["name"], "ask", number), 20)
                assert answer.body == number
                say("round", number)
                # The first round has opened what is opened once.
                before = before or self.open()
            after = self.open()
            say("descriptors", json.dumps([before, after]))
            say("running", json.dumps([w["ledger"] for w in workers]))
            self.die()
        def death(self):
            say("main dies")
    status = App(main=Main, sockets=SOCKETS).run()
    say("status", status)
    try:
        say("left", os.waitpid(-1, os.WNOHANG))
    except ChildProcessError:
        say("left nobody")
    say("files", json.dumps(sorted(os.listdir(SOCKETS + "/bus"))))
"""
)


def test_workers_killed_under_load_come_back_and_every_letter_is_accounted_for(
    start: Any, capsys: Any
) -> None:
    seed = random.randrange(10**6)
    with capsys.disabled():
        print(f" [seed {seed}]", end=" ")
    program = start(f"    SEEDS = {seed}, {ROUNDS}\n{CREW}")
    program.end()
    said = dict(line.split(" ", 1) for line in program.said if " " in line)
    assert said.get("status") == "0", program.complaints()
    assert said["left"] == "nobody"
    assert json.loads(said["files"]) == []
    before, after = json.loads(said["descriptors"])
    assert after <= before + 1
    ledgers = json.loads(said["running"])
    for ledger in ledgers:
        settled = sum(
            ledger[name]
            for name in ("delivered", "dropped", "expired", "bounced", "lost_with_reader")
        )
        assert ledger["accepted"] == settled + ledger["queued"]
        assert ledger["garbage"] == 0
    assert sum(ledger["in_doubt"] for ledger in ledgers) <= ROUNDS
    assert sum(ledger["lost_with_reader"] for ledger in ledgers) > 0, "nobody had mail when killed"


@pytest.mark.parametrize("who", ["main", "fork server"])
@pytest.mark.parametrize("again", range(2))
def test_when_the_supervisor_itself_is_killed_nobody_is_left(
    start: Any, sockets: Path, who: str, again: int
) -> None:
    program = start(
        LOAD
        + """
    class Main(Process):
        def birth(self):
            self.told = False
        def life(self):
            crew = self.wait_for_reply(self._tell_boss("ps", None), 20).body
            pids = [m["pid"] for m in crew if m["name"] != "main"]
            if not self.told and all(m["state"] == "living" for m in crew):
                self.told = True
                with open(f"/proc/{pids[0]}/stat") as stat:
                    server = int(stat.read().rpartition(")")[2].split()[1])
                say("pids", json.dumps([server, *pids]))
    app = App(main=Main, sockets=SOCKETS)
    app.global_frequency = 100.0
    status = app.run()
    say("status", status, app.brake)
    """
    )
    server, *pids = json.loads(program.wait_for("pids"))
    watched = [os.pidfd_open(pid) for pid in (server, *pids)]
    try:
        if who == "main":
            program.signal(signal.SIGKILL)
        else:
            os.kill(server, signal.SIGKILL)
        for each in watched:
            assert select.select([each], [], [], 20.0)[0], "somebody lives on"
    finally:
        for each in watched:
            os.close(each)
    status = program.end()
    if who == "main":
        assert status == -signal.SIGKILL
        # Whoever starts next on the same folder finds it, and cleans up.
        heir = start(
            LOAD
            + """
    class Main(Process):
        def life(self):
            say("up")
            self.die()
    sys.exit(App(main=Main, sockets=SOCKETS).run())
    """
        )
        assert heir.end() == 0, heir.complaints()
        assert "up" in heir.said
    else:
        assert any(line.startswith("status 1 the fork server died") for line in program.said)
    assert os.listdir(sockets / "bus") == []
