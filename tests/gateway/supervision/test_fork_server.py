"""What the fork server inherits, and what it lets go."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.supervision import fork_server, forking
from gateway.supervision.fork_server import Exited, Failed, ForkServer, Started
from gateway.supervision.forking import give_memory_back


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


@pytest.mark.parametrize(
    "instead",
    ["sys.stdout.close()", "sys.stdout = None", "sys.stderr = object()"],
    ids=["closed", "none", "cannot be flushed"],
)
def test_what_a_life_does_to_its_streams_goes_no_further_than_its_os_process(
    start: Any, instead: str
) -> None:
    program = start(f"""
        main, copy = os.getpid(), os.dup(1)
        class Worker(Process):
            def birth(self):
                {instead}
                self.die()
        class Main(Process):
            def birth(self):
                self.subscribe("processes/worker/state", self.on_state)
            def on_state(self, message):
                if message.body["state"] in ("stopped", "failed"):
                    self.die()
        class App(Application):
            def build(self):
                self.add_process("sibling", Loud, mode="fork")
                self.add_process("worker", Worker, mode="fork", depends=["sibling"], restart=ONCE)
        try:
            status = App(main=Main, sockets=SOCKETS).run()
        finally:
            os.write(copy, b"over in main\\n" if os.getpid() == main else b"over in a fork\\n")
        sys.exit(status)
        """)
    assert program.end() == 0
    assert [line for line in program.said if "over" in line] == ["over in main"]


@pytest.mark.parametrize("seconds", [0.0, 0.5], ids=["before it is asked", "with an order"])
def test_a_server_that_cannot_begin_goes_no_further(start: Any, seconds: float) -> None:
    program = start(f"""
        from gateway.supervision import fork_server
        main = os.getpid()
        def let_go(unneeded):
            time.sleep({seconds})
            raise OSError(24, "Too many open files")
        fork_server.let_go = let_go
        class Main(Process):
            def life(self):
                self.die()
        class App(Application):
            def build(self):
                self.add_process("worker", Loud, mode="fork", restart=ONCE)
        try:
            App(main=Main, sockets=SOCKETS).run()
        finally:
            say("over in main" if os.getpid() == main else "over in a fork")
        """)
    program.end()
    assert [line for line in program.said if "over" in line] == ["over in main"]
    # Whom it was to make is waited for no longer.
    assert "worker does not end" not in program.complaints()


@pytest.mark.parametrize("wanted", [True, False])
def test_sqlite_is_loaded_before_the_fork_where_somebody_has_a_spool(
    start: Any, wanted: bool
) -> None:
    program = start(f"""
        class Worker(Process):
            def birth(self):
                say("has it", "sqlite3" in sys.modules)
                self.send("main", "seen")
        class Main(Process):
            def birth(self):
                self.add_filter(subject="seen", callback=lambda message: self.die())
        class App(Application):
            def build(self):
                spools = {{"weather": TERMS}} if {wanted} else None
                self.add_process("worker", Worker, mode="fork", spools=spools)
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.wait_for("has it") == str(wanted)
    assert program.end() == 0


def test_an_application_runs_where_nobody_gave_it_a_standard_output(start: Any) -> None:
    program = start("""
        class Main(Process):
            def life(self):
                self.die()
        class App(Application):
            pass
        kept, sys.stdout = sys.stdout, None
        status = App(main=Main, sockets=SOCKETS).run()
        sys.stdout = kept
        say("ended with", status)
        """)
    assert program.end() == 0
    assert "ended with 0" in program.said


def test_what_was_built_is_walked_by_no_collector_and_so_stays_shared(start: Any) -> None:
    program = start("""
        import gc
        built = [[number] for number in range(10_000)]
        class Worker(Process):
            def birth(self):
                say("worker walks", len(gc.get_objects()))
                self.send("main", "walked")
        class Main(Process):
            def birth(self):
                say("main walks", len(gc.get_objects()))
                self.add_filter(subject="walked", callback=lambda message: self.die())
        class App(Application):
            def build(self):
                self.add_process("worker", Worker, mode="fork")
        sys.exit(App(main=Main, sockets=SOCKETS).run())
        """)
    assert program.end() == 0
    walks = [int(line.split()[-1]) for line in program.said if "walks" in line]
    assert len(walks) == 2
    assert max(walks) < 5_000


# The server itself


@pytest.fixture
def served() -> Iterator[ForkServer]:
    """A fork server whose children wait for a TERM, but for the deaf ones."""

    def child(name: str, incarnation: int, sockets: Any, row: int, data: Any) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if name == "deaf" else signal.SIG_DFL)
        while True:
            signal.pause()

    server = ForkServer(child, lambda name, task, done: 0, grace=0.2)
    server.start()
    yield server
    server.stop()


def spawn(server: ForkServer, name: str) -> None:
    sockets = socket.socketpair()
    try:
        server.spawn(name, 1, sockets, 0)
    finally:
        for used in sockets:
            used.close()


def told(server: ForkServer) -> Started | Exited | Failed | None:
    assert select.select([server], [], [], 20.0)[0], "the fork server says nothing"
    return server.receive()


def test_a_child_whose_descriptor_finds_no_room_here_is_ended_and_has_failed(
    served: ForkServer,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spawn(served, "one")
    assert select.select([served], [], [], 20.0)[0]
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        said = served.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert said == Failed("one", 1, "out of file descriptors")
    assert told(served) == Exited("one", 1, -signal.SIGKILL)


def test_a_server_that_is_short_of_descriptors_loses_none_and_goes_on(served: ForkServer) -> None:
    folder = f"/proc/{served.pid}/fd"
    spawn(served, "first")
    said = told(served)
    assert isinstance(said, Started)
    os.close(said.pidfd)
    before = sorted(map(int, os.listdir(folder)))
    _, second_free, *_ = (number for number in range(100) if number not in before)
    limits = resource.prlimit(served.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(served.pid, resource.RLIMIT_NOFILE, (second_free, limits[1]))
    for _ in range(3):
        spawn(served, "one")
        assert told(served) == Failed("one", 1, "out of file descriptors")
    assert sorted(map(int, os.listdir(folder))) == before
    resource.prlimit(served.pid, resource.RLIMIT_NOFILE, limits)
    spawn(served, "one")
    said = told(served)
    assert isinstance(said, Started)
    os.close(said.pidfd)


def waiting_child(*_: Any) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        signal.pause()


@pytest.mark.parametrize("what", ["pidfd_open", "register"])
def test_a_child_that_cannot_be_watched_has_failed_and_the_server_goes_on(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    main, lacking = os.getpid(), [True]
    pidfd_open, epoll = os.pidfd_open, select.epoll

    def lack(where: str) -> None:
        if where == what and os.getpid() != main and lacking:
            lacking.clear()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    class Poller:
        def __init__(self) -> None:
            self._epoll = epoll()
            self.poll, self.close = self._epoll.poll, self._epoll.close
            self.unregister = self._epoll.unregister

        def register(self, fd: Any, events: int) -> None:
            if isinstance(fd, int):
                lack("register")
            self._epoll.register(fd, events)

    def opening(pid: int) -> int:
        lack("pidfd_open")
        return pidfd_open(pid)

    monkeypatch.setattr(os, "pidfd_open", opening)
    monkeypatch.setattr(select, "epoll", Poller)
    server = ForkServer(waiting_child, lambda name, task, done: 0, grace=0.2)
    server.start()
    try:
        spawn(server, "one")
        assert told(server) == Failed("one", 1, "cannot be watched: Too many open files")
        spawn(server, "two")
        said = told(server)
        assert isinstance(said, Started)
        os.close(said.pidfd)
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        assert children == [str(said.pid)]
    finally:
        assert server.stop()


def test_a_child_that_cannot_let_go_of_what_is_the_servers_is_no_second_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main, close = os.getpid(), os.close

    def closing(fd: int) -> None:
        if main not in (os.getpid(), os.getppid()):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        close(fd)

    monkeypatch.setattr(os, "close", closing)
    server = ForkServer(waiting_child, lambda name, task, done: 0, grace=0.2)
    server.start()
    try:
        spawn(server, "one")
        first = told(server)
        assert isinstance(first, Started)
        spawn(server, "two")
        second = told(server)
        assert isinstance(second, Started)
        assert told(server) == Exited("two", 1, 1)
        assert not select.select([first.pidfd], [], [], 0)[0], "it ended the other"
        close(first.pidfd)
        close(second.pidfd)
    finally:
        assert server.stop()


def test_nobody_outlives_the_server_however_deaf_and_however_soon_it_is_stopped(
    served: ForkServer,
) -> None:
    spawn(served, "deaf")
    said = told(served)
    assert isinstance(said, Started)
    try:
        status = Path(f"/proc/{said.pid}/status")
        deadline = monotonic() + 20.0
        while not int(re.findall(r"SigIgn:\s+(\w+)", status.read_text())[0], 16) >> 14 & 1:
            assert monotonic() < deadline
        assert served.stop()
        assert select.select([said.pidfd], [], [], 20.0)[0], "the deaf one lives on"
    finally:
        os.close(said.pidfd)


def test_a_machine_that_forks_no_more_says_so_and_nothing_is_left_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fork() -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    server = ForkServer(lambda *_: 0, lambda *_: 0)
    with pytest.raises(GatewayError, match="cannot fork"):
        server.start()
    assert server.stop()


def test_what_is_free_in_the_heap_is_nobodys() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    freed = [bytearray(2000) for _ in range(20_000)]
    last = bytearray(2000)  # beyond them, so that the heap cannot end before it
    del freed
    before = resident()
    give_memory_back()
    assert before - resident() > 20_000_000
    assert last


def test_a_c_library_that_gives_nothing_back_forks_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forking, "_libc", object())
    give_memory_back()


def test_the_server_is_forked_when_the_heap_has_given_back_what_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    forked = os.fork

    def fork() -> int:
        done.append("forked")
        return forked()

    monkeypatch.setattr(fork_server, "give_memory_back", lambda: done.append("gave back"))
    monkeypatch.setattr(os, "fork", fork)
    server = ForkServer(lambda *_: 0, lambda *_: 0)
    server.start()
    server.stop()
    assert done == ["gave back", "forked"]
