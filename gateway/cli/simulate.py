"""``gateway simulate CONFIG``: the whole hardware of a configuration, in software.

Each device's simulator, as its driver ships it, at the path that the configuration
names, or behind a link in a folder. ``gateway run`` finds it there and knows no
difference; what happens to hardware (a pulled cable, a board that hangs, noise on
the line, a clock that drifts) happens by a word. What is really there is never touched.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SUMMARY = "simulate the hardware of a configuration, and its faults"

EPILOG = """\
A device that is found by a match, or whose path is taken, stands behind a link in
--folder; --write writes the configuration that names it there.

At the prompt, or on standard input, a word a line: unplug, plug, hang, noise, drift,
mend, step, status, and the name of a device; "help" explains. From elsewhere the
devices are called by their names, at the socket that is said in the beginning.

examples:
  gateway simulate gateway.toml --write /tmp/simulated.toml
  gateway run -c /tmp/simulated.toml               in another terminal
  GATEWAY_SOCKET=... gateway call pump hang 3
  gateway simulate gateway.toml --only pump --virtual
  echo 'noise all 0.01' | gateway simulate gateway.toml --seconds 60 --json

exit status:
  0  its time was over, or somebody ended it (quit, Ctrl-D, Ctrl-C, SIGTERM)
  1  it failed
  2  the configuration is wrong, or something in it cannot be simulated
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    from gateway.cli.demo import seconds

    parser.epilog = EPILOG
    parser.add_argument("file", metavar="CONFIG", help="the TOML file of the real hardware")
    parser.add_argument(
        "--only", metavar="NAME", action="append", default=[], help="simulate only this device"
    )
    parser.add_argument(
        "--write", metavar="FILE", help="write the configuration for the simulated hardware"
    )
    parser.add_argument(
        "--folder", metavar="DIR", help="put links and sockets there; a new one unless said"
    )
    parser.add_argument(
        "--virtual",
        action="store_true",
        help="virtual time: the boards' clocks stand still, but for the word step",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="what the noise comes from (0)"
    )
    parser.add_argument("--seconds", type=seconds, metavar="N", help="end after N seconds")


def run(arguments: argparse.Namespace) -> int:
    """Stand it up; return 0, or 1 where it failed."""
    import signal
    import tempfile
    from pathlib import Path

    # Until the application sees to it, TERM is to put things away as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if arguments.folder is None:
        with tempfile.TemporaryDirectory(prefix="gateway-simulate-") as made:
            return _simulate(arguments, Path(made))
    folder = Path(arguments.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return _simulate(arguments, folder)


def _simulate(arguments: argparse.Namespace, folder: Path) -> int:
    import sys
    from pathlib import Path

    from gateway import plugins
    from gateway.cli.simulation.announcer import Announcer
    from gateway.cli.simulation.derived import derived, write_derived
    from gateway.cli.simulation.hardware import Hardware
    from gateway.cli.simulation.plan import plan
    from gateway.config.loading import load
    from gateway.process.logbook import start_logging

    configuration = load(arguments.file, find=plugins.find)
    planned = plan(configuration, folder, plugins.find, arguments.only)
    run_with = arguments.file if all(each.is_in_place for each in planned) else ""
    if arguments.write:
        run_with = arguments.write
        write_derived(derived(Path(arguments.file), planned), Path(run_with))
        # What is written is to be what `gateway run` takes.
        load(run_with, find=plugins.find)
    start_logging("warning", form="json" if arguments.json else "auto")
    announcer = Announcer(
        sys.stdout,
        as_json=arguments.json,
        run_with=run_with,
        prompts=sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty(),
    )
    hardware = Hardware(
        planned,
        folder,
        announcer,
        node=configuration.gateway.node,
        held=arguments.virtual,
        seed=arguments.seed,
        seconds=arguments.seconds,
    )
    status = hardware.run()
    if hardware.error is not None:
        raise hardware.error
    if announcer.gone is not None:
        raise announcer.gone
    return status
