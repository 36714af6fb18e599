"""A driver's simulator as a program of its own: ``python -m drivers.<name>.simulator --link PATH``.

It puts the board behind the link, says how it is looked at, and pulls the cable
at Ctrl-C, SIGTERM or a hangup. What a user has mistyped is a line on standard
error and status 2, as argparse has it.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gateway.device.simulated_port import SimulatedPort


def run(
    make: Callable[[argparse.Namespace], SimulatedPort[Any]],
    how_to: str,
    *,
    program: str,
    description: str,
    arguments: Sequence[str] | None = None,
    add_arguments: Callable[[argparse.ArgumentParser], object] | None = None,
) -> int:
    """Serve what ``make`` makes of the command line until it is to end; return the exit status.

    ``how_to`` is printed at the start, with ``{link}`` where the link is to
    stand. ``make`` may raise `ValueError`, which is told as a mistake of the
    user's. ``add_arguments`` adds options beside ``--link``.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--link", required=True, type=Path, help="symbolic link to put it behind")
    if add_arguments is not None:
        add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        port = make(options)
    except ValueError as error:
        parser.error(str(error))
    serve(port, how_to.format(link=options.link))
    return 0


def serve(port: SimulatedPort[Any], greeting: str) -> None:
    """Serve ``port`` in this program until Ctrl-C, SIGTERM or SIGHUP; print ``greeting`` first."""
    # Blocked before the thread starts, so that it inherits that: whichever
    # signal comes is taken below, by the one who can end things in order.
    ends = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with port:
            sys.stdout.write(greeting)
            sys.stdout.flush()
            signal.sigwait(ends)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
