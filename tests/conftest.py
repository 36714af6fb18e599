"""What holds for every test: it cleans up, and it says what it needs.

A test that leaves a thread, a child process, a descriptor, a socket or a temporary
file behind fails, whatever it asserted. A test marked ``needs("simavr")`` is left
out, and named, where that is not installed; under ``CI=true`` it fails instead.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import shutil
import signal
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from deploy.test_packages import NEEDS, SEARCH_PATH, is_ci

GRACE = 10.0
"""Seconds that threads, children and descriptors have to go once a test is over."""

# The cores are shared: a slow example says nothing about the code.
hypothesis.settings.register_profile("house", deadline=None, print_blob=True)
hypothesis.settings.load_profile("house")


# What a test needs.


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let one feature be switched off, to see its test red."""
    parser.addoption(
        "--without", default="", metavar="FEATURE", help="switch one off: see tests/features"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let tests find servers and be interrupted; say how good the drivers are."""
    if switched_off := config.getoption("--without"):
        from tests.features.table import switches

        switches()[switched_off]()
    os.environ["PATH"] = SEARCH_PATH
    # The readline of who starts workers tells them of a screen, which programs would believe
    # more than the terminal that a test gives them.
    for size in ("LINES", "COLUMNS"):
        os.environ.pop(size, None)
    # Here as well as by the contract itself, for the one who prints when workers test.
    config.pluginmanager.import_plugin("gateway.testing.driver_ladder")
    config.stash[LEFT_OUT] = {}
    # A shell starts what it puts in the background deaf to Ctrl-C, and so
    # would be every program that a test starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have what a test said written so that workers can tell it: half a character ends the run."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests whose needs are not installed."""
    missing = {name for name, need in NEEDS.items() if need.missing()}
    left_out: dict[str, list[str]] = config.stash[LEFT_OUT]
    kept: list[pytest.Item] = []
    deselected: list[pytest.Item] = []
    for item in items:
        lacking = needs_of(item) & missing
        for name in lacking:
            left_out.setdefault(name, []).append(item.nodeid)
        (deselected if lacking and not is_ci() else kept).append(item)
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = kept


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose needs are missing: only a build server gets this far."""
    for name in sorted(needs_of(item)):
        if missing := NEEDS[name].missing():
            pytest.fail(f"{name} is missing ({', '.join(missing)}): {NEEDS[name].remedy}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what a pytest-xdist worker left out to the one who prints."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left_out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand files out whole, but for those whose tests wait long."""
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.spread import SpreadScheduling

    return SpreadScheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker left out; every worker says the same."""
    node.config.stash[LEFT_OUT].update(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Name what was left out and what would bring it back."""
    if is_ci():
        return
    for name, tests in sorted(config.stash[LEFT_OUT].items()):
        terminalreporter.write_sep("-", f"left out: {len(tests)} tests that need {name}")
        terminalreporter.write_line(f"to have them: {NEEDS[name].remedy}")
        for test in tests:
            terminalreporter.write_line(f"  {test}")


def needs_of(item: pytest.Item) -> set[str]:
    """Return the needs that ``item`` is marked with; refuse one that nobody can bring."""
    names = {name for mark in item.iter_markers("needs") for name in mark.args}
    if unknown := names - NEEDS.keys():
        raise pytest.UsageError(
            f"{item.nodeid} needs {', '.join(sorted(unknown))}, which deploy/test_packages.py "
            f"does not know; it knows {', '.join(NEEDS)}"
        )
    return names


# What a test leaves behind.


@pytest.fixture(scope="session", autouse=True)
def private_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give this session a temporary folder of its own, so that nobody else's files count.

    Its path is short, since a socket's may have 107 bytes.
    """
    tmp_path_factory.getbasetemp()  # pytest's own folder stays where it is
    folder = Path(tempfile.mkdtemp(prefix="gw-"))
    patch = pytest.MonkeyPatch()
    patch.setenv("TMPDIR", str(folder))
    patch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    patch.undo()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(
    request: pytest.FixtureRequest, private_temporary_folder: Path
) -> Iterator[None]:
    """Fail the test that leaves something behind; give stragglers `GRACE` seconds."""
    before = Belongings.now(private_temporary_folder)
    yield
    left = wait_until_gone(lambda: Belongings.now(private_temporary_folder).beyond(before))
    if tmp_path := getattr(request.node, "funcargs", {}).get("tmp_path"):
        left += [f"socket {path}" for path in sockets_in(tmp_path)]
    if left:
        pytest.fail("left behind: " + "; ".join(left), pytrace=False)


@pytest.fixture(autouse=True)
def log_goes_where_it_went() -> Iterator[None]:
    """Take back where a test had the log go: that is closed by the time of the next record."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers).difference(before):
        root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Have no collection while a test drives a recursion to its end.

    Down there no finaliser of what an earlier test left to the collector has a frame to run in.
    """
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def cycle_free() -> Callable[[], AbstractContextManager[None]]:
    """Return a context in which nothing may become what only the collector finds.

    An error that a frame of its own traceback holds does, and keeps whatever else is held there.
    """

    @contextmanager
    def watched() -> Iterator[None]:
        gc.collect()
        gc.disable()
        try:
            yield
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            found = [each for each in gc.garbage if isinstance(each, BaseException)]
            assert not found
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    return watched


@dataclass(frozen=True)
class Belongings:
    """What this OS process holds at one moment."""

    threads: frozenset[threading.Thread]
    children: frozenset[int]
    descriptors: dict[int, str]
    files: frozenset[Path]

    @classmethod
    def now(cls, folder: Path) -> Belongings:
        """Look; ``folder`` is the session's own for temporary files."""
        return cls(
            threads=frozenset(threading.enumerate()),
            children=frozenset(descendants(os.getpid())),
            descriptors=open_descriptors(),
            files=frozenset(folder.iterdir()),
        )

    def beyond(self, before: Belongings) -> list[str]:
        """Describe what is here that was not there ``before``, after a short wait for it."""
        threads = self.threads - before.threads
        children = self.children - before.children
        descriptors = dict(self.descriptors.items() - before.descriptors.items())
        for thread in threads:
            # One that is only about to start cannot be joined yet: it is looked for once more.
            with suppress(RuntimeError):
                thread.join(0.01)
        for pid in children:
            wait_for_exit(pid, 0.01)
        if descriptors and not threads and not children:
            gc.collect()  # what only a cycle of garbage holds is nobody's: it warns on its own
        return [
            *(f"thread {thread.name}" for thread in threads),
            *(f"process {pid} ({command_of(pid)})" for pid in children),
            *(f"descriptor {number} ({target})" for number, target in descriptors.items()),
            *(f"temporary file {path}" for path in self.files - before.files),
        ]


def wait_until_gone(look: Callable[[], list[str]]) -> list[str]:
    """Look until nothing is left or `GRACE` is over; return what is left then."""
    deadline = time.monotonic() + GRACE
    pause = threading.Event()
    while left := look():
        if time.monotonic() >= deadline:
            # Whoever was held up for so long looks once more.
            pause.wait(0.1)
            return look()
        pause.wait(0.01)
    return left


def wait_for_exit(pid: int, seconds: float) -> None:
    """Wait until the process ``pid`` has ended, or ``seconds``."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([descriptor], [], [], seconds)
    finally:
        os.close(descriptor)


def descendants(pid: int) -> Iterator[int]:
    """Yield the children of ``pid`` and theirs, zombies included."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return
    for thread in threads:
        try:
            children = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found = [int(child) for child in children]
        for child in found:
            yield child
            yield from descendants(child)


def command_of(pid: int) -> str:
    """Return the command line of ``pid``, as far as it can still be read."""
    try:
        line = (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except (FileNotFoundError, ProcessLookupError):
        line = ""
    return line.strip() or "ended, never waited for"


def open_descriptors() -> dict[int, str]:
    """Return what each open descriptor of this process points to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the one that listed them
    return found


def sockets_in(folder: Path) -> Iterator[Path]:
    """Yield the sockets that lie in ``folder`` or below it."""
    for path in folder.rglob("*"):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if stat.S_ISSOCK(mode):
            yield path


LEFT_OUT = pytest.StashKey[dict[str, list[str]]]()
