"""What systemd is told of the gateway: sd_notify(3), over its datagram socket.

READY=1 once the crew has settled: every process that starts by itself has been
born, or has failed and is being retried, or waits for such a one. Hardware
that is absent holds nobody up, and neither does one broken process: STATUS
names it. WATCHDOG=1 follows at half of ``$WATCHDOG_USEC``, from the boss's own
loop, and only while the loops that are required to progress do so (see
`gateway.supervision.heartbeats`).

Nothing here ever waits: a notice that finds the socket full is counted as lost;
what systemd has to know is said again until it was heard. Refused: addresses that are neither
a path nor abstract (``@…``), which are logged and left alone.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress

from gateway.supervision.member import Member

log = logging.getLogger(__name__)

AGAIN = 1.0
"""Seconds until what found the socket full is said again."""


class Systemd:
    """The unit's side of one notification socket; without an address it says nothing.

    ``watchdog`` is how often systemd wants to hear of us, in seconds. `notify`
    may be called from any thread; the rest belongs to the boss's.
    """

    def __init__(self, address: str = "", *, watchdog: float | None = None) -> None:
        self._address = ""
        self._socket: socket.socket | None = None
        self._every = watchdog / 2 if watchdog is not None and watchdog > 0 else None
        self._next = 0.0
        self._again: float | None = None
        self._ready = self._stopping = self._stopping_told = False
        self._status = ""
        self.sent = 0
        self.lost = 0
        if address.startswith(("/", "@")):
            self._address = f"\0{address[1:]}" if address[0] == "@" else address
            self._socket = socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
        elif address:
            log.warning("systemd is told nothing: no way to reach NOTIFY_SOCKET=%s", address)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], pid: int) -> Systemd:
        """Return what ``environment`` asks for; a watchdog for another pid is not ours."""
        watchdog = None
        if environment.get("WATCHDOG_PID", str(pid)) == str(pid):
            with suppress(ValueError):
                watchdog = int(environment.get("WATCHDOG_USEC", "")) / 1_000_000
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog=watchdog)

    def notify(self, **fields: object) -> bool:
        """Send ``fields`` in one datagram; tell whether systemd has it."""
        if self._socket is None:
            return False
        # A line end would begin another field.
        lines = [f"{key}={str(value).replace(chr(10), ' ')}" for key, value in fields.items()]
        try:
            self._socket.sendto("\n".join(lines).encode(errors="replace"), self._address)
        except OSError as error:
            if not self.lost:
                log.warning("systemd could not be told %s: %s", lines[0], error)
            self.lost += 1
            return False
        self.sent += 1
        return True

    # For the boss

    def step(self, now: float, members: Mapping[str, Member], *, progresses: bool) -> None:
        """Tell what has changed by ``now`` (monotonic seconds), and that we live if we do."""
        if self._socket is None:
            return
        self._again = None
        if not self._ready and not self._stopping and settled(members):
            self._ready = self.notify(READY=1)
            self._again = None if self._ready else now + AGAIN
        text = status(members.values())
        if text != self._status:
            if self.notify(STATUS=text):
                self._status = text
            else:
                self._again = now + AGAIN
        if self._every is not None and now >= self._next:
            # Who is stuck may go on in time: it is looked at again soon, yet not at once.
            self._next = now + (self._every if progresses else self._every / 8)
            if progresses:
                self.notify(WATCHDOG=1)

    def due(self) -> float | None:
        """Return when `step` is to be called at the latest, in monotonic seconds."""
        if self._socket is None or self._every is None:
            return self._again
        return self._next if self._again is None else min(self._next, self._again)

    def stopping(self) -> None:
        """Tell that the application stops; to be called until it has, which tells it once."""
        self._stopping = True
        if not self._stopping_told:
            self._stopping_told = self.notify(STOPPING=1)

    def reloading(self, now: float) -> None:
        """Tell that the configuration is being read again, as of ``now`` (monotonic seconds)."""
        self.notify(RELOADING=1, MONOTONIC_USEC=int(now * 1_000_000))

    def reloaded(self) -> None:
        """Tell that what `reloading` began is over; the next `step` does where this cannot."""
        self._ready = self.notify(READY=1)

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def statistics(self) -> dict[str, int]:
        """Return how many notices were sent, and lost."""
        return {"sent": self.sent, "lost": self.lost}


def settled(members: Mapping[str, Member]) -> bool:
    """Tell whether nobody is on its way to be born any more."""
    for member in members.values():
        if not member.spec.autostart or member.spec.start_after > 0:
            continue
        if member.state == "starting":
            return False
        if member.state == "waiting" and all(
            members[other].state == "living" for other in member.spec.depends
        ):
            return False
    return True


def status(members: Iterable[Member]) -> str:
    """Return one line for ``systemctl status``.

    >>> status([])
    '0 of 0 processes live'
    """
    wanted = [member for member in members if member.spec.autostart or member.state != "stopped"]
    odd = [
        f"{member.spec.name} is {'stuck' if member.stuck else member.state}"
        for member in wanted
        if member.state != "living" or member.stuck
    ]
    living = sum(member.state == "living" for member in wanted)
    text = f"{living} of {len(wanted)} processes live"
    # A line for people: three names tell where to look.
    return "; ".join([text, *odd[:3], *(["…"] if len(odd) > 3 else [])])
