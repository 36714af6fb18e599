"""A mailbox whose owner sleeps in somebody else's loop, as a GUI's.

Such an owner is not in `get` when mail comes, so it is told by a descriptor:
`fileno` is readable as soon as there is something to read or to serve, until
it was looked for in vain. Only the mailbox of a main process under
`Application.running` is one; the others pay nothing for it.

Refused: nothing more than a `Mailbox` refuses.
"""

from __future__ import annotations

import contextlib
import select
import socket
from typing import Any

from gateway.bus.mailbox import Mailbox
from gateway.bus.self_pipe import SelfPipe
from gateway.mail.message import Message


class Doorbell(Mailbox):
    """A `Mailbox` that rings; see the module's head."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._bell, self._button = socket.socketpair()
        for end in (self._bell, self._button):
            end.setblocking(False)
        self._outer = select.epoll()
        self._outer.register(self._bell, select.EPOLLIN)
        # Sockets and watched descriptors; by reference a letter wakes a sleeper only.
        self._outer.register(self._lead.everything, select.EPOLLIN)

    def fileno(self) -> int:
        """The descriptor that is readable when there is something to do."""
        return self._outer.fileno()

    def hear_signals(self, self_pipe: SelfPipe) -> None:
        """Ring for signals as well, whichever thread leads meanwhile."""
        super().hear_signals(self_pipe)
        if self_pipe.fileno() >= 0:
            self._outer.register(self_pipe, select.EPOLLIN)

    def ring(self) -> None:
        """Make `fileno` readable; any thread and any signal handler may."""
        # A bell that is full rings already; one that is closed has no owner.
        with contextlib.suppress(OSError):
            self._button.send(b"\0")

    def answer_bell(self) -> None:
        """Have it quiet until something new comes: look at the mail after this."""
        with contextlib.suppress(BlockingIOError):
            while self._bell.recv(4096):
                pass
        if self._lead.signals >= 0:
            self._lead.note_signal()

    # What rings

    def deliver(self, message: Message, timeout: float = 5.0) -> None:
        """Take ``message`` in as a mailbox does, and ring."""
        # A writer who waits for room has rung for the letters before its own.
        super().deliver(message, timeout)
        self.ring()

    def wake(self) -> None:
        """Make `get` return, and ring."""
        super().wake()
        self.ring()

    def progress(self) -> tuple[bool, int]:
        """As a mailbox's; an owner for whom nothing lies here waits, wherever it is."""
        _, handled = super().progress()
        poller = select.poll()
        try:
            poller.register(self._outer, select.POLLIN)
            return not poller.poll(0), handled
        except (OSError, ValueError):
            # Closed this very moment: nobody is held up by it.
            return True, handled

    def _sort(self, message: Message) -> None:
        # A child thread that waits for its reply may have read what is the owner's.
        super()._sort(message)
        self.ring()

    def close(self) -> list[Message]:
        """Take no more mail, and give the bell back too."""
        left = super().close()
        self._outer.close()
        self._bell.close()
        self._button.close()
        return left
