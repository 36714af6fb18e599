"""A subscriber who knows the others of its application, and can have them start and end.

What it asks here, the boss answers: who is there, in which OS process, the
start of one, and its end. Orders are control mail, which only the inside can write: a letter
with the same subject, as a router might bring in, is refused there.

Refused: to ask for one's own end in this way (`ValueError`).
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from gateway.bus.directory import BOSS
from gateway.bus.mailbox import Mailbox
from gateway.bus.shortage import SHORT, short_for
from gateway.errors import LONGEST, GatewayError, writable
from gateway.mail.address import Address
from gateway.process.subscriber import Subscriber
from gateway.timeout import in_seconds

log = logging.getLogger(__name__)

Crew = list[dict[str, Any]]
"""What the boss tells of each process, for who asks who is there."""


class Neighbour(Subscriber):
    """Who lives among others and may ask the boss about them; see the module's head."""

    def recipients(self) -> list[str]:
        """Return who has a mailbox on this machine, the boss included.

        >>> from gateway.testing.stage import Echo, play
        >>> play(lambda main: main.recipients(), echo=Echo)
        ['boss', 'echo', 'main']
        """
        return sorted(self._office.book.incarnations)

    def process_names(self, *, timeout: float = 5.0) -> list[str]:
        """Return the names of the application's processes, whether they live or not.

        >>> from gateway.testing.stage import Echo, play
        >>> play(lambda main: main.process_names(), echo=Echo)
        ['echo', 'main']
        """
        return names_in(self._ask_who_is_there(timeout))

    def active_subprocesses(self, *, timeout: float = 5.0) -> dict[str, int]:
        """Return the process id of each process that runs in an OS process of its own.

        >>> from gateway.testing.stage import Echo, play
        >>> def scene(main):
        ...     main.wait_for_reply(main.send("far", "say"))
        ...     return list(main.active_subprocesses())
        >>> play(scene, near=Echo, far=(Echo, "fork"))
        ['far']
        """
        return os_processes_in(self._ask_who_is_there(timeout))

    def _ask_who_is_there(self, timeout: float) -> Crew:
        asked = self.send(BOSS, "ps", timeout=timeout)
        found: Crew = self._box.wait_for(asked, timeout).body
        return found

    def poison_pill(self, name: str, *, timeout: float = 10.0) -> str:
        """Have the process ``name`` die, and return how it ended, once it has.

        It dies in order, with its `death`, and is not restarted. Raises
        `AddressError` where there is none of that name, and
        `CallTimeoutError` where it has not ended after ``timeout`` seconds;
        it is told to, all the same. A process that does not run is fine.

        >>> from gateway.testing.stage import Echo, play
        >>> def scene(main):
        ...     return main.poison_pill("echo"), main.recipients()
        >>> play(scene, echo=(Echo, "fork"))
        ('it ended by itself', ['boss', 'main'])
        """
        timeout = in_seconds(timeout)
        Address.parse(name)
        if name == self.name:
            raise ValueError(f"{name!r} takes no poison of its own: use die()")
        ended: str = self._order("poison_pill", name, timeout)
        return ended

    def start_process(self, name: str, *, timeout: float = 10.0) -> None:
        """Have the process ``name`` started, and return when it lives.

        Raises `RefusedError`, which says why, where it cannot live, and
        `CallTimeoutError` after ``timeout`` seconds. One that lives already is fine.

        >>> from gateway.testing.stage import Echo, play
        >>> def scene(main):
        ...     main.stop_process("echo")
        ...     main.start_process("echo")
        ...     return main.recipients()
        >>> play(scene, echo=Echo)
        ['boss', 'echo', 'main']
        """
        self._order("start", name, timeout)

    def stop_process(self, name: str, *, timeout: float = 15.0) -> None:
        """Have the process ``name`` end, and return when it has; raises as `start_process`.

        It stays away until somebody starts it. Who depends on it goes on.

        >>> from gateway.testing.stage import Echo, play
        >>> def scene(main):
        ...     main.stop_process("echo")
        ...     return main.recipients()
        >>> play(scene, echo=Echo)
        ['boss', 'main']
        """
        self._order("stop", name, timeout)

    def restart_process(self, name: str, *, timeout: float = 25.0) -> None:
        """Have the process ``name`` end and start again; raises as `start_process`.

        A process that orders this of itself goes on until it reads its mail.

        >>> from gateway import Process
        >>> from gateway.testing.stage import play
        >>> class Lamp(Process):
        ...     def birth(self):
        ...         print("on")
        >>> def scene(main):
        ...     main.start_process("lamp")
        ...     main.restart_process("lamp")
        >>> play(scene, lamp=Lamp)
        on
        on
        """
        self._order("restart", name, timeout)

    def _order(self, verb: str, name: str, timeout: float) -> Any:
        timeout = in_seconds(timeout)
        with self._office.ordering(self._box, verb, name) as ordered:
            return self._box.wait_for(ordered, timeout).body

    def ebrake(self, reason: object) -> None:
        """Stop the whole application at once, as failed, and say why.

        It brakes whatever ``reason`` is: an exception, text that is no Unicode, or
        of any length. Told are the first `LONGEST` characters of what it says.

        >>> from gateway import Application, Process
        >>> class Main(Process):
        ...     def birth(self):
        ...         self.ebrake("the arm is loose")
        >>> application = Application(main=Main)
        >>> application.run(), application.brake
        (1, 'main: the arm is loose')
        """
        said = told_of(reason)
        log.critical("%s pulled the emergency brake: %s", self.name, said)
        self._tell_boss("ebrake", said)

    # Further mailboxes

    def open_mailbox(self, local: str, *, size: int = 64, timeout: float = 5.0) -> Mailbox:
        """Open a mailbox of its own for ``local@<this process>`` and return it.

        For what lives behind a router and is served by a thread of its own,
        which reads it. It ends with this process; until `close_mailbox` or
        then, its mail comes here and no longer to the filters. Raises `ShortageError`
        where there is no descriptor or no room for it.
        """
        timeout = in_seconds(timeout)
        name = f"{local}@{self.name}"
        try:
            return self._open_mailbox(name, size, timeout)
        except OSError as error:
            if error.errno not in SHORT:
                raise
            raise short_for(SHORT[error.errno], f"the mailbox {name!r}") from error

    def _open_mailbox(self, name: str, size: int, timeout: float) -> Mailbox:
        office, incarnation = self._office, self._box.incarnation
        sockets = office.bind(name, incarnation)
        try:
            office.hand_over(name, sockets)
            row = self._box.wait_for(self._tell_boss("open", name), timeout).body
            return office.open(name, incarnation, sockets, size=size, row=row)
        except BaseException:
            for used in sockets:
                used.close()
            office.unlink(name, incarnation)
            # It may be in the book by now, or a moment later.
            with contextlib.suppress(GatewayError):
                self._tell_boss("close", name)
            raise

    def close_mailbox(self, box: Mailbox) -> None:
        """Close a mailbox that `open_mailbox` opened."""
        self._office.close(box)
        # From now on the boss gives its row of the ledger to others.
        self._inform_boss("close", box.name)


def told_of(reason: object) -> str:
    """Return what ``reason`` says, so that a letter can carry it; its class where it cannot."""
    try:
        said = str(reason) or repr(reason)
        return writable(said if len(said) <= LONGEST else f"{said[:LONGEST]}…")
    except Exception:  # noqa: BLE001 - nothing that is wrong with the reason holds up the brake
        return f"a {type(reason).__name__} that cannot say why"


def names_in(crew: Crew) -> list[str]:
    """Return the names of the processes that the boss told of."""
    return sorted(member["name"] for member in crew)


def os_processes_in(crew: Crew) -> dict[str, int]:
    """Return the process id of each that runs in an OS process of its own, by its name."""
    return {member["name"]: member["pid"] for member in crew if member["pid"]}
