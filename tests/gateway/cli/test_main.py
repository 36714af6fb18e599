from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import __version__
from gateway.cli import main as cli
from gateway.cli.main import COMMANDS, main
from gateway.config.mistake import ConfigErrors, Mistake
from gateway.errors import AddressError, LinkLostError

ROOT = Path(cli.__file__).parents[2]
WRITTEN = sorted(path.stem.replace("_", "-") for path in Path(cli.__file__).parent.glob("*.py"))

BUFFERED = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}

Command = Callable[[Callable[[argparse.Namespace], int]], None]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Let ``gateway send`` be a function of the test's own."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # main replaces it: put it back

    def install(run: Callable[[argparse.Namespace], int]) -> None:
        module = SimpleNamespace(add_arguments=lambda parser: None, run=run)
        monkeypatch.setitem(sys.modules, "gateway.cli.send", module)

    return install


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        raise error

    return run


def run_python(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        **options,
    )


def test_help_lists_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for name, summary in COMMANDS.items():
        assert f"    {name}" in said
        assert summary in " ".join(said.split())


def test_help_needs_neither_msgspec_nor_paho_nor_serial() -> None:
    code = (
        "import sys, gateway.cli.main as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'msgspec', 'paho', 'serial', 'json', 'importlib.metadata', 'gateway.errors'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"gateway {__version__}\n"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name in WRITTEN])
def test_a_command_says_of_itself_what_help_says_of_it(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"gateway.cli.{name.replace('-', '_')}")
    assert COMMANDS[name] == module.SUMMARY
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_without_a_command_help_is_what_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "gateway demo" in err


def test_an_unknown_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chekc", "--json"]) == 2
    assert capsys.readouterr().err == (
        "gateway: there is no command 'chekc'; did you mean 'check'?\n"
    )
    assert main(["xyz"]) == 2
    assert "there are: run, demo, check" in capsys.readouterr().err


def test_what_a_command_returns_is_the_exit_status(command: Command) -> None:
    command(lambda arguments: 5)
    assert main(["send"]) == 5


def test_every_command_is_given_json_and_debug(command: Command) -> None:
    command(lambda arguments: 10 * arguments.json + arguments.debug)
    assert main(["send"]) == 0
    assert main(["send", "--json"]) == 10
    assert main(["send", "--debug"]) == 1


def test_what_was_foreseen_is_one_line(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(AddressError("nobody is called 'x'")))
    assert main(["send"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", "gateway send: nobody is called 'x'\n")


def test_what_was_foreseen_as_json(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    command(raising(LinkLostError("cable")))
    assert main(["send", "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": {"code": "link_lost", "reason": "cable"}}
    assert err == ""


def test_a_wrong_configuration_ends_with_2_and_every_mistake(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(ConfigErrors([Mistake(problem="a"), Mistake(problem="b")])))
    assert main(["send"]) == 2
    assert capsys.readouterr().err == "gateway send:\n  a\n  b\n"


def test_a_failing_system_call_is_one_line(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(PermissionError(13, "Permission denied", "/run/gateway")))
    assert main(["send"]) == 1
    assert capsys.readouterr().err == "gateway send: /run/gateway: Permission denied\n"


def test_debug_shows_where_it_happened(command: Command) -> None:
    command(raising(AddressError("x")))
    with pytest.raises(AddressError):
        main(["send", "--debug"])


def test_ctrl_c_ends_with_130_and_says_nothing(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(KeyboardInterrupt()))
    assert main(["send"]) == 130
    assert capsys.readouterr() == ("", "")


STAND_IN = """
import sys, types
module = types.ModuleType("gateway.cli.send")
module.add_arguments = lambda parser: None
def run(arguments):
    {body}
module.run = run
sys.modules["gateway.cli.send"] = module
import gateway.cli.main
sys.exit(gateway.cli.main.main(["send", *{options!r}]))
"""


def test_a_bug_is_one_line_and_a_failure() -> None:
    done = run_python(STAND_IN.format(body="return {}['a\\nb']", options=[]))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gateway: this is a bug: KeyError: ")
    assert done.stderr.count("\n") == 1


def test_a_bug_shows_its_traceback_under_debug() -> None:
    done = run_python(STAND_IN.format(body="return {}[1]", options=["--debug"]))
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")


def test_a_closed_pipe_ends_quietly() -> None:
    code = STAND_IN.format(body="while True: print('x' * 1000)", options=[])
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=BUFFERED,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline()
        child.stdout.close()
        assert child.wait(30) == 141
        assert child.stderr.read() == ""


@pytest.mark.parametrize(
    ("body", "options", "status", "said"),
    [
        ("print('x' * 100_000); return 5", [], 5, ""),
        ("return sys.stdout.isatty()", [], 0, ""),
        ("raise FileNotFoundError(2, 'gone', 'x')", [], 1, "gateway send: x: gone\n"),
        ("raise FileNotFoundError(2, 'gone', 'x')", ["--json"], 1, ""),
    ],
)
def test_without_standard_output_nothing_is_printed(
    body: str, options: list[str], status: int, said: str
) -> None:
    code = STAND_IN.format(body=body, options=options)
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", code],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (status, said)


def test_without_standard_error_the_output_holds_no_errors() -> None:
    code = STAND_IN.format(body="raise FileNotFoundError(2, 'gone', 'x')", options=[])
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")


def test_a_pipe_that_was_closed_before_the_last_flush_ends_quietly() -> None:
    code = STAND_IN.format(body="sys.stdin.read(); print('x'); return 0", options=[])
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=BUFFERED,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        child.stdin.close()
        assert child.wait(30) == 141
        assert child.stderr.read() == ""


def test_a_pipe_of_the_commands_own_that_breaks_is_a_failure() -> None:
    done = run_python(STAND_IN.format(body="raise BrokenPipeError(32, 'Broken pipe')", options=[]))
    assert done.returncode == 1
    assert done.stderr == "gateway send: [Errno 32] Broken pipe\n"


def test_a_real_sigint_leaves_no_traceback() -> None:
    code = STAND_IN.format(body="print('ready', flush=True); sys.stdin.read()", options=[])
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130
        assert child.stderr.read() == ""


def test_it_runs_as_a_module_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == f"gateway {__version__}\n"


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("amount", [1, 100_000])
def test_a_full_disk_under_standard_output_is_one_line(options: list[str], amount: int) -> None:
    code = STAND_IN.format(body=f"print('x' * {amount}); return 0", options=options)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=BUFFERED,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.stderr == "gateway send: [Errno 28] No space left on device\n"
    assert done.returncode == 1
