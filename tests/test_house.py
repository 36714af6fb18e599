"""The house rules that `tests/conftest.py` enforces, proven on small suites of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]

# Gone at once where there is nothing to wait for; a leak costs the whole grace.
PATIENT = (ROOT / "tests/conftest.py").read_text()
CONFTEST = PATIENT.replace("GRACE = 10.0", "GRACE = 0.2")

LEAKS = """
import os, socket, subprocess, tempfile, threading

keep = []
stop = threading.Event()

def test_leaves_a_thread():
    threading.Thread(target=stop.wait, args=(20,), name="forgotten", daemon=True).start()

def test_leaves_a_process():
    keep.append(subprocess.Popen(["sleep", "20"]))

def test_leaves_a_descriptor():
    os.open("/dev/zero", os.O_RDONLY)

def test_leaves_a_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as box:
        box.bind("box")

def test_leaves_a_file():
    tempfile.mkdtemp(prefix="forgotten")

def test_is_not_blamed_for_the_one_before():
    pass

def teardown_module():
    for process in keep:
        process.kill()
        process.wait()
"""

STRAGGLER = """
import threading

def test_leaves_a_straggler_that_ends_within_the_grace():
    threading.Timer(0.1, lambda: None).start()
"""


def run(
    pytester: pytest.Pytester, suite: str, *arguments: str, conftest: str = CONFTEST
) -> pytest.RunResult:
    pytester.makeconftest(conftest)
    pytester.makeini(f"[pytest]\npythonpath = {ROOT}\nmarkers =\n  needs(*names): x\n  alone: x")
    pytester.makepyfile(suite)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


def test_a_test_that_leaves_something_behind_fails(pytester: pytest.Pytester) -> None:
    result = run(pytester, LEAKS)
    result.assert_outcomes(passed=6, errors=5)
    result.stdout.fnmatch_lines(
        [
            "left behind: thread forgotten",
            "left behind: process * (sleep 20)",
            "left behind: descriptor * (/dev/zero)",
            "left behind: socket */box",
            "left behind: temporary file */forgotten*",
        ]
    )


def test_who_is_gone_within_the_grace_is_not_left_behind(pytester: pytest.Pytester) -> None:
    run(pytester, STRAGGLER, conftest=PATIENT).assert_outcomes(passed=1)


LOGS = """
import logging, sys

def test_a_has_the_log_written_to_its_own_stream():
    logging.basicConfig(level="DEBUG", stream=sys.stderr, force=True)

def test_b_finds_the_log_as_it_was():
    root = logging.getLogger()
    assert root.level == logging.WARNING
    assert not [each for each in root.handlers if type(each) is logging.StreamHandler]
"""


def test_where_a_test_has_the_log_written_ends_with_it(pytester: pytest.Pytester) -> None:
    run(pytester, LOGS).assert_outcomes(passed=2)


NEEDY = """
    import pytest
    from deploy import test_packages

    absent = test_packages.Need(
        name="unicorn", tests="x", packages=("unicorn-dev",), programs=("no-such-program",)
    )
    test_packages.NEEDS["unicorn"] = absent

    @pytest.mark.needs("unicorn")
    def test_rides(): ...

    def test_walks(): ...
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_what_is_not_installed_is_left_out_by_name(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    suite = NEEDY.replace('NEEDS["unicorn"]', 'NEEDS["mosquitto"]').replace(
        'needs("unicorn")', 'needs("mosquitto")'
    )
    result = run(pytester, suite, *workers)
    result.assert_outcomes(passed=1, deselected=0 if workers else 1)
    result.stdout.fnmatch_lines(["*left out: 1 tests that need mosquitto*", "*test_rides"])


def test_on_a_build_server_nothing_may_be_left_out(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    result = run(pytester, NEEDY)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*unicorn is missing (no-such-program)*unicorn-dev*"])


def test_a_need_that_nobody_can_bring_is_refused(pytester: pytest.Pytester) -> None:
    result = run(pytester, NEEDY.replace('needs("unicorn")', 'needs("unicron")'))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*needs unicron*it knows mosquitto, simavr*"])
