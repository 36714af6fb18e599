"""Services for a script or a test that has no application: it gets one for as long as it wants.

The application runs around the caller, on whatever thread that is; its main process
is the caller's own. Remote functions are evaluated by threads of that; what is to
run on the caller's own thread (``on_own_thread``, callbacks of `gateway.rpc.using`)
runs within `Services.process.mailman`.

Refused: what `Application.running` refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
    with House().running() as main, Services(main.process) as found:
        yield found
