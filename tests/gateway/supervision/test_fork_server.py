"""What the fork server inherits, and what it lets go."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path
from typing import Any


def test_the_folder_is_free_as_soon_as_main_is_killed(start: Any, sockets: Path) -> None:
    program = start("""
        class Deaf(Process):
            def life(self):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                say("deaf", os.getppid())
                while True:
                    signal.pause()
        class App(Application):
            def build(self):
                self.add_process("deaf", Deaf, mode="fork")
        App(main=Loud, sockets=SOCKETS).run()
        """)
    server = int(program.wait_for("deaf"))
    main = os.pidfd_open(program.pid)
    program.signal(signal.SIGKILL)
    os.waitid(os.P_PIDFD, main, os.WEXITED | os.WNOWAIT)
    os.close(main)
    os.kill(server, 0)  # it still waits for the deaf one
    lock = os.open(sockets / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(lock)
    program.end()


def test_a_pipe_that_is_open_while_the_server_is_forked_still_comes_to_its_end(
    start: Any,
) -> None:
    program = start("""
        import stat
        reading, writing = os.pipe()
        copy = os.dup(1)  # standard output is a pipe here, and is kept
        class Worker(Process):
            def birth(self):
                os.write(copy, b"copied\\n")
        class Main(Process):
            def life(self):
                os.close(writing)
                say("end", os.read(reading, 1))
                self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork")
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.wait_for("end") == "b''"
    program.end()
    assert "copied" in program.said


def test_it_counts_what_it_did(start: Any) -> None:
    program = start("""
        class Main(Process):
            def life(self):
                self.restart_process("worker")
                told = self.application.statistics()["fork_server"]
                say(told["asked"], told["started"], told["failed"], told["pid"] > 1)
                self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Loud, mode="fork")
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0
    assert "2 2 0 True" in program.said
