"""Ask a port which driver it is for: listen first, then let each driver shake hands.

Nothing but handshakes is written. The port is opened once for each rate, which
restarts boards that restart when they are opened, and has its line settings back in
the end. The first driver that a board identifies itself to ends the asking: what a
board has understood is not followed by what it may misunderstand.

Refused: a port that somebody has open or that a device of the gateway's has claimed
(`RefusedError`, by `check_free`). A driver that loops in its own code without a
question is not interrupted; Ctrl-C is.
"""

from __future__ import annotations

import contextlib
import os
import select
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from gateway.cli.inventory.holders import Holders
from gateway.cli.inventory.house import House
from gateway.cli.probing.evidence import Evidence, better
from gateway.cli.probing.probe_host import ProbeHost, attempt
from gateway.clock import Clock
from gateway.device.driver import Driver
from gateway.device.link import Link
from gateway.errors import RefusedError

BAUDS: Final = (115200, 9600, 57600, 4800)
"""Likeliest first."""
DEADLINE: Final = 40.0
"""Seconds for the whole."""
LISTEN: Final = 2.0
"""Seconds of listening at each rate; a board that restarts is through by then."""
HANDSHAKE: Final = 1.2
"""Seconds that a driver gets at each rate."""
_MOST: Final = 65536
"""Bytes of listening that are kept at each rate."""

Progress = Callable[[str], None]


def check_free(node: str, path: str, house: House, holders: Holders) -> None:
    """Raise `RefusedError` where ``node`` is claimed or open."""
    owner = house.holder(node, path)
    if owner is not None:
        raise RefusedError(
            f"{node} is the device {owner.name!r} ({owner.state.get('state')}): to probe it, take"
            f" [devices.{owner.name}] out of the configuration first"
        )
    programs = holders.of.get(node, ())
    if programs:
        raise RefusedError(
            f"{node} is open in {', '.join(map(str, programs))}: end that first, since two"
            " programs at one port take each other's bytes"
        )


class Probe:
    """One probe of one port; ``open_link`` opens it at a rate."""

    def __init__(
        self,
        drivers: Mapping[str, type[Driver]],
        looks_like: Mapping[str, str],
        open_link: Callable[[int], Link],
        clock: Clock,
        *,
        bauds: Sequence[int] = BAUDS,
        deadline: float = DEADLINE,
        listen: float = LISTEN,
        handshake: float = HANDSHAKE,
        progress: Progress = lambda said: None,
    ) -> None:
        # Those first that say they are for such a thing.
        self._drivers = dict(sorted(drivers.items(), key=lambda each: each[0] not in looks_like))
        self._open_link = open_link
        self._clock = clock
        self._bauds = bauds
        self._end = clock.monotonic() + deadline
        self._listen, self._handshake = listen, handshake
        self._progress = progress
        self.found = {
            name: Evidence(driver=name, looks_like=looks_like.get(name, "")) for name in drivers
        }
        """What is known of each driver so far."""
        self.heard: dict[int, int] = {}
        """Bytes that came by themselves, by rate."""

    def run(self) -> None:
        """Try every rate and driver until one has its answer, or the time is up."""
        for baud in self._bauds:
            if self._clock.monotonic() >= self._end:
                return
            with contextlib.closing(self._open_link(baud)) as link:
                if self._try(baud, link):
                    return

    def _try(self, baud: int, link: Link) -> bool:
        """Return whether a board has identified itself."""
        self._progress(f"listening at {baud} baud")
        said = self._hear(link)
        self.heard[baud] = len(said)
        for name, driver in self._drivers.items():
            left = self._end - self._clock.monotonic()
            if left <= 0:
                return False
            self._progress(f"{name}, at {baud} baud")
            host = ProbeHost(driver, link, self._clock)
            host.hear(said)
            identity, problem, asked = attempt(host, driver, min(self._handshake, left))
            evidence = Evidence(
                driver=name,
                identity=identity,
                baud=baud,
                looks_like=self.found[name].looks_like,
                frames=host.frames,
                garbage=host.garbage,
                problem=problem,
                asked=asked,
            )
            before = self.found[name]
            self.found[name] = evidence if not before.baud else better(before, evidence)
            if identity is not None:
                return True
        return False

    def _hear(self, link: Link) -> bytes:
        """Return what the port says by itself."""
        end = min(self._clock.monotonic() + self._listen, self._end)
        poll = select.poll()
        poll.register(link.fileno(), select.POLLIN)
        said = bytearray()
        while (left := end - self._clock.monotonic()) > 0:
            if poll.poll(left * 1000):
                said += link.read()
                del said[:-_MOST]
        return bytes(said)


@contextlib.contextmanager
def line_settings_kept(node: str) -> Iterator[None]:
    """Give the port at ``node`` the line settings back that it had; nothing where it has none."""
    descriptor = os.open(node, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        try:
            before = termios.tcgetattr(descriptor)
        except termios.error:
            yield
            return
        try:
            yield
        finally:
            # It may have been pulled meanwhile.
            with contextlib.suppress(termios.error):
                termios.tcsetattr(descriptor, termios.TCSANOW, before)
    finally:
        os.close(descriptor)
