"""``gateway COMMAND``: find the command's file, run it, end in a way that others understand.

Each command is a module of this package with ``SUMMARY``, ``add_arguments(parser)`` and
``run(arguments) -> int``; it is imported when it is chosen, so that ``--help`` costs next
to nothing. Every command is given ``--json`` and ``--debug`` here, as
``arguments.json`` and ``arguments.debug``.

A user never sees a traceback unless with ``--debug``: what was foreseen is a line that
says what to do, and a bug is a line that says that it is one.
"""

from __future__ import annotations

import argparse
import importlib
import os
import select
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from gateway import __version__

COMMANDS = {
    "run": "run the gateway that a configuration file describes",
    "demo": "see it work: a simulated board and a broker, no hardware needed",
    "check": "find every mistake in a configuration file; starts nothing",
    "simulate": "simulate the hardware of a configuration, and its faults",
    "health": "say whether the gateway is well, and what to do where it is not",
    "ps": "list the processes and devices of the running gateway",
    "call": "call what a process, a device or another gateway can do",
    "send": "send one letter to an address and print the answer",
    "tail": "print the mail as it flows, or what is published",
    "fleet": "list the gateways that a broker knows, and how they are",
    "new-driver": "write a driver package with simulator and tests",
    "udev-rules": "write the udev rules of the configured devices",
    "devices": "list what is plugged in, who claims it, and how it is",
    "doctor": "find what keeps devices from working, and say how to mend it",
    "log-level": "say what is logged, of everything, a process or a logger",
}
"""Every command and what ``--help`` says of it; its module's ``SUMMARY`` is the same."""

FINE, FAILED, USAGE = 0, 1, 2
INTERRUPTED, CLOSED_PIPE = 128 + 2, 128 + 13
"""As a shell reports an end by SIGINT and by SIGPIPE."""

EPILOG = """\
examples:
  gateway demo --seconds 20               watch a board, a broker and a pulled cable
  gateway check /etc/gateway/gateway.toml
  gateway run -c /etc/gateway/gateway.toml
  gateway simulate gateway.toml           its hardware in software, with faults
  gateway health                          is it well, and what is to be done
  gateway ps                              who is there, and which boards are connected
  gateway call wheels@serial drive 100 100
  gateway call robot                      what can it do?
  gateway send wheels@serial drive '{"left": 100, "right": 100}'
  gateway tail --to '*@serial'            the mail for the boards, as it flows
  gateway tail 'devices/+/state'
  gateway fleet                           all gateways at the broker, and how they are
  gateway devices                         what is plugged in, and who has it
  gateway doctor                          why does that port not work?
  gateway log-level serial debug

exit status:
  0    fine
  1    it failed; a line on standard error says why and what to do
  2    the command line or the configuration is wrong
  130  ended by Ctrl-C
  141  whoever read the output has closed it

"gateway COMMAND --help" explains a command.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; ``argv`` is without the program's name."""
    _replace_closed()
    words = list(sys.argv[1:] if argv is None else argv)
    if "--debug" not in words:
        # First of all: Ctrl-C may come while a command is still being imported.
        sys.excepthook = _report_bug
    chosen = next((word for word in words if not word.startswith("-")), None)
    if chosen is not None and chosen not in COMMANDS:
        return _no_such_command(chosen)
    module: Any = importlib.import_module(_module(chosen)) if chosen else None
    arguments = make_parser(chosen, module).parse_args(words)
    if module is None:
        make_parser().print_help(sys.stderr)
        return USAGE
    return _guard(module, arguments)


def _module(command: str) -> str:
    return f"gateway.cli.{command.replace('-', '_')}"


def make_parser(chosen: str | None = None, module: Any = None) -> argparse.ArgumentParser:
    """Return the parser; only the command ``chosen`` is given its arguments, by ``module``."""
    parser = argparse.ArgumentParser(
        prog="gateway",
        description="A post office for hardware: boards, brokers and programs write to each other.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"gateway {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", parser_class=_CommandParser
    )
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == chosen:
            module.add_arguments(command)
            command.add_argument("--json", action="store_true", help="print JSON, for programs")
            command.add_argument(
                "--debug", action="store_true", help="show the traceback when something breaks"
            )
    return parser


class _CommandParser(argparse.ArgumentParser):
    """Takes options between the words as well, and says itself what it does not know."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse all of ``args``; where something is left, say so, with this command's usage."""
        found, left = super().parse_known_args(self._options_first(args), namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return found, []

    def _options_first(self, args: Sequence[str]) -> list[str]:
        """Return ``args`` with the options in front: argparse gives up words that come later."""
        options: list[str] = []
        words: list[str] = []
        left = iter(args)
        for each in left:
            option = self._option_string_actions.get(each.partition("=")[0])
            if each == "--":
                words += [each, *left]
            elif option is None:
                words.append(each)
            elif option.nargs == 0 or "=" in each:
                options.append(each)
            elif (value := next(left, None)) is None:
                words.append(each)  # at the end, so that it takes no word for its value
            else:
                options += [each, value]
        return options + words


def _guard(module: Any, arguments: argparse.Namespace) -> int:
    """Run a command; turn what was foreseen into a line and an exit status."""
    from gateway.errors import ConfigError, GatewayError

    status: int
    try:
        status = module.run(arguments)
        sys.stdout.flush()  # a closed pipe may show only now
    except KeyboardInterrupt:
        return INTERRUPTED
    except GatewayError as error:
        if arguments.debug:
            raise
        status = USAGE if isinstance(error, ConfigError) else FAILED
        return _fail(arguments, error.code, str(error), status)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return CLOSED_PIPE
        if arguments.debug:
            raise
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _fail(arguments, "system", said, FAILED)
    return status


def _fail(arguments: argparse.Namespace, code: str, reason: str, status: int) -> int:
    report = ""
    if arguments.json:
        import json

        report = json.dumps({"error": {"code": code, "reason": reason}}, ensure_ascii=False) + "\n"
    if not _is_taken(report) or not report:
        said = "\n  ".join(["", *reason.split("\n")]) if "\n" in reason else f" {reason}"
        print(f"gateway {arguments.command}:{said}", file=sys.stderr)
    return status


def _is_taken(text: str) -> bool:
    """Return whether standard output takes ``text`` and what it has yet to take; else put it aside.

    A full disk takes nothing.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        _put_aside()
        return False
    return True


def _nobody_reads() -> bool:
    """Return whether standard output is a pipe that its reader has closed, and was put aside."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    if not any(events & select.POLLERR for _, events in poll.poll(0)):
        return False
    _put_aside()
    return True


def _put_aside() -> None:
    """Let standard output lead nowhere: Python would complain once more when it flushes at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _replace_closed() -> None:
    """Have an output that was closed before we began, which Python has as None, lead nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Kept until Python ends, so that no socket is given the number that others write to.
            nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, nowhere)


def _no_such_command(word: str) -> int:
    from difflib import get_close_matches

    close = get_close_matches(word, COMMANDS, n=1)
    meant = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(COMMANDS)}"
    print(f"gateway: there is no command {word!r}; {meant}", file=sys.stderr)
    return USAGE


def _report_bug(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Say on one line that this is a bug; Python ends with 1 after its excepthook."""
    if issubclass(kind, KeyboardInterrupt):
        return  # too late to be of use; Python ends as a shell expects
    said = " ".join(str(error).split())
    print(
        f"gateway: this is a bug: {kind.__name__}: {said}. With --debug it shows where; "
        "please report that.",
        file=sys.stderr,
    )
