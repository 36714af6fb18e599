"""The post office of a simulation: mailboxes in virtual time, no folder, ids from the seed.

It keeps the count and the digest of what was read: two runs of one seed have
the same ledger and the same digest.
"""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random
from typing import Any, NoReturn

import msgspec

from gateway.bus.baton import Baton
from gateway.bus.ledger import Balance
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.bus.parcels import Parcels
from gateway.bus.reserve import Reserve
from gateway.bus.simulated_mailbox import SimulatedMailbox
from gateway.bus.wire import Folder
from gateway.errors import SimulationError
from gateway.mail.message import Message

PIECE = 2000
"""Bytes that are hashed at a time; for more than 2047 the interpreter's lock is let go."""


class NoFolder(Folder):
    """A folder in which nothing is ever bound, so that there is nothing to remove."""

    def __init__(self, baton: Baton) -> None:
        # Not the real one's beginning: that opens a descriptor.
        self._baton = baton
        self.path = Path("/nowhere")
        self._fd = -1
        self.parcels = Parcels()
        self.reserve = Reserve()

    def bind(self, name: str) -> NoReturn:
        """Refuse: nobody outside can write to a simulation."""
        raise SimulationError(f"no socket can be bound for {name!r} in a simulation")

    def connect(self, name: str) -> NoReturn:
        """Find nothing, as where a mailbox was closed that the book still knows."""
        self._baton.check(f"write to {name!r}")
        if not self._baton.over:
            # Who tries again and again without ever waiting is found out.
            self._baton.count()
        raise FileNotFoundError(errno.ENOENT, "no mailbox of this simulation", name)

    def unlink(self, name: str) -> None:
        """Remove nothing."""

    def clean(self) -> int:
        """Find nothing."""
        return 0


class SimulatedOffice(Office):
    """Delivery within one simulation; ``random`` draws what its ids begin with."""

    def __init__(self, baton: Baton, random: Random) -> None:
        super().__init__(NoFolder(baton), clock=baton.clock)
        self._id_prefix = random.randbytes(5).hex() + "-"
        self.baton = baton
        self.can_fork = False
        self._mailbox = self._make_mailbox
        self._opened: dict[str, list[Mailbox]] = {}
        # Of OpenSSL, which it loads, a gateway that is not simulated would have 3 MB.
        from hashlib import blake2b

        self._order = blake2b(digest_size=16)
        self._unhashed = bytearray()
        self._write = msgspec.msgpack.Encoder().encode_into
        self.letters_read = 0
        """Letters that were handed to a callback, or to whoever waited for them."""

    def spool_folder(self, name: str) -> NoReturn:
        """Refuse: what is killed in a simulation stays dead, and has no files to come back to."""
        raise SimulationError(f"{name!r} cannot have a spool in a simulation")

    def bind(self, name: str, incarnation: int) -> Any:
        """Return what stands for the sockets of a mailbox here: none."""
        return ()

    def give_way(self) -> None:
        """Wait for nobody: who was woken has its turn, as everybody."""

    def _make_mailbox(self, name: str, *arguments: Any, **options: Any) -> Mailbox:
        del options["sockets"]
        box = SimulatedMailbox(name, *arguments, baton=self.baton, note=self._note, **options)
        self._opened.setdefault(name, []).append(box)
        return box

    def _note(self, message: Message) -> None:
        self.letters_read += 1
        # Packed at once, since its reader may change the body; hashed in large pieces.
        unhashed = self._unhashed
        self._write(message, unhashed, -1)
        if len(unhashed) > PIECE:
            self._order.update(unhashed)
            unhashed.clear()

    def digest(self) -> str:
        """Return a digest of every letter that was read, whole, in the order of reading."""
        self._order.update(self._unhashed)
        self._unhashed.clear()
        return self._order.hexdigest()

    def ledger(self) -> dict[str, Balance]:
        """Return the balance of each mailbox by name, all of its lives together."""
        return {
            name: Balance(*map(sum, zip(*(box.statistics() for box in boxes), strict=True)))
            for name, boxes in sorted(self._opened.items())
        }
