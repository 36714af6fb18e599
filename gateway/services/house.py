"""Services for a script or a test that has no application: it gets one for as long as it wants.

The application runs around the caller, on whatever thread that is; its main process
is the caller's own. Remote functions are evaluated by threads of that; what is to
run on the caller's own thread (``on_own_thread``, callbacks of `gateway.rpc.using`)
runs within `Services.process.mailman`.

On the main thread Ctrl-C is `KeyboardInterrupt` there, SIGTERM and a terminal that hangs up
are `SystemExit`; what was started ends on the way. A child of ``os.fork()`` has no part in it:
where it leaves the ``with`` nothing ends.

Refused: what `Application.running` refuses.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from gateway.application import Application
from gateway.services.registry import Services


class House(Application):
    """An application that has nothing but services."""

    shutdown_timeout = 5.0


@contextmanager
def services() -> Iterator[Services]:
    """Give services until the ``with`` is over; all that were started end then.

    >>> from types import SimpleNamespace
    >>> with services() as house:
    ...     arm = house.start("arm", SimpleNamespace, speed=3)
    ...     arm.speed = 5
    ...     arm.speed
    5
    """
    # As `nohup` has it; the application itself would stop.
    outlives_terminal = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    with (
        House().running() as main,
        Services(main.process) as found,
        _signals_of_a_script(signal.SIG_IGN if outlives_terminal else _exit),
    ):
        yield found


@contextmanager
def _signals_of_a_script(hung_up: Any) -> Iterator[None]:
    """Have signals raise at once: a script waits in no loop that could tell of them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: _exit,
        signal.SIGHUP: hung_up,
    }
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit(number: int, frame: FrameType | None) -> None:
    # What a shell says of who was ended by a signal.
    raise SystemExit(128 + number)
