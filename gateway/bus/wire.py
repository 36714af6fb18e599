"""Datagrams between OS processes: two Unix sockets a mailbox, one for each lane.

A letter is one datagram. Where it is larger than `INLINE` its body travels as
a sealed memory file beside it (`gateway.bus.parcels`), packed, or as it is
where it is bytes, and the letter says how many bytes that are and which of
the two. A datagram of one byte announces it: whoever reads (`gateway.bus.inlet`)
looks for descriptors no sooner, since that costs (docs/decisions/0014).

Socket names carry the mailbox's incarnation, ``name.3`` and ``name.3.urgent``,
so that a letter never reaches a successor.

The theory, each line measured: a sender needs a connected socket of its own
for each recipient and lane, because on an unconnected one poll() says
"writable" of a full peer, and because queued datagrams are charged to the
socket that sent them. Ten letters fit into a socket (net.unix.max_dgram_qlen,
which systemd sets to 512); then the writer waits, and only for this reader, or goes on in a
ring (`gateway.bus.ring`).

Refused: text that is no Unicode, and headers that fill a datagram (`BodyError`).
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import mmap
import os
import socket
import termios
import threading
from functools import partial
from pathlib import Path
from struct import Struct
from time import monotonic
from typing import Literal
from urllib.parse import quote

from msgspec.structs import replace

from gateway.bus.carrying import carried
from gateway.bus.parcels import Parcels
from gateway.bus.patience import Patience
from gateway.bus.reserve import Reserve
from gateway.bus.shortage import SHORT, shortage
from gateway.errors import BodyError, GatewayError, MailboxFullError, RecipientGoneError
from gateway.mail.codec import encode
from gateway.mail.message import Message

Lane = Literal["mail", "urgent"]

INLINE = 64 * 1024
"""Bytes of a letter that still travel in the datagram itself."""

ANNOUNCEMENT = b"\xc1"
"""Says that a descriptor is on its way; the one byte with which nothing begins in msgpack."""

BELL = Struct("<cBQ")
"""Begins like an announcement; says which letter of which ring is to be taken from here on."""

_INT = Struct("i")

BESIDE = "\0"
"""Before the ``body_type`` of a letter whose body travels beside it."""

# The first letter to the dead is refused; after that the socket is connected no more.
DEAD = {errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOENT, errno.ENOTCONN, errno.EPIPE}
"""What the kernel says of a socket whose reader is gone."""

FORESEEN = DEAD | SHORT.keys()
"""What the kernel says that is told in words of ours."""


def socket_name(name: str, incarnation: int, lane: Lane) -> str:
    """Return the file name of a mailbox's socket.

    >>> socket_name("plant/soil", 3, "urgent")
    'plant%2Fsoil.3.urgent'
    """
    safe = quote(name, safe="")
    if len(safe) > 64:
        # Of OpenSSL, which it loads, every OS process would have 3 MB.
        from hashlib import blake2b

        safe = safe[:40] + "~" + blake2b(name.encode(), digest_size=10).hexdigest()
    return f"{safe}.{incarnation}" + (".urgent" if lane == "urgent" else "")


class Folder:
    """The folder that holds the sockets, mode 0700, reached by descriptor.

    A Unix address has room for 107 bytes; through ``/proc/self/fd`` a folder
    may lie as deep as it likes.
    """

    def __init__(self, path: Path) -> None:
        self._fd = _opened(path)
        self.path = path
        self.parcels = Parcels()
        """The large bodies of whoever writes to the sockets here."""
        self.reserve = Reserve()
        """A descriptor for whoever reads the sockets here."""
        self.reserve.keep()

    def bind(self, name: str) -> socket.socket:
        """Return a non-blocking datagram socket bound to ``name`` in the folder."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            made.bind(f"/proc/self/fd/{self._fd}/{name}")
        except BaseException:
            made.close()
            raise
        return made

    def connect(self, name: str) -> socket.socket:
        """Return a non-blocking socket connected to ``name``; raise `OSError` where none is."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            made.connect(f"/proc/self/fd/{self._fd}/{name}")
        except BaseException:
            made.close()
            raise
        return made

    def map(self, name: str, size: int) -> mmap.mmap:
        """Return the file ``name`` as memory of ``size`` bytes, zeros at first.

        Whoever else maps it sees the same. Raises `OSError` where it has no room: later, whoever
        writes there would be killed for that.
        """
        # A file object gives its descriptor back whatever a signal's handler raises.
        with open(
            name, "a+b", buffering=0, opener=partial(os.open, mode=0o600, dir_fd=self._fd)
        ) as file:
            is_new = os.fstat(file.fileno()).st_size == 0
            try:
                os.posix_fallocate(file.fileno(), 0, size)
                return mmap.mmap(file.fileno(), size)
            except OSError:
                if is_new:
                    self.unlink(name)
                raise

    def take(self, name: str) -> bytes:
        """Return what the file ``name`` holds, and remove it; nothing where there is none."""
        try:
            with open(name, "rb", opener=partial(os.open, dir_fd=self._fd)) as file:
                self.unlink(name)
                return file.read()
        except FileNotFoundError:
            return b""

    def unlink(self, name: str) -> None:
        """Remove the file ``name``, as that of a socket; one that is not there is fine."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    def clean(self) -> int:
        """Remove every file that a killed predecessor left, as its sockets; return how many.

        Folders stay: what waits in a spool is for the next life.
        """
        found = 0
        for name in os.listdir(self._fd):
            with contextlib.suppress(IsADirectoryError):
                self.unlink(name)
                found += 1
        return found

    def close(self) -> None:
        """Give the folder's descriptor back, and what is kept for large bodies."""
        self.parcels.close()
        self.reserve.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Outlet:
    """The connected sockets through which this OS process writes to one mailbox.

    Several threads may use it at once. It is closed when nobody holds it any
    more, so that no thread ever writes to a descriptor that is another's by
    now.
    """

    __slots__ = (
        "_announced",
        "_folder",
        "_lock",
        "_mail",
        "_patience",
        "_urgent",
        "incarnation",
        "name",
    )

    def __init__(
        self, folder: Folder, name: str, incarnation: int, patience: Patience | None = None
    ) -> None:
        self.name = name
        self.incarnation = incarnation
        self._folder = folder
        self._patience = patience or Patience()
        self._lock = threading.Lock()
        self._announced: list[tuple[int, socket.socket]] = []
        self._mail: socket.socket | None = None
        self._urgent: socket.socket | None = None

    def __del__(self) -> None:
        for used in (self._mail, self._urgent):
            if used is not None:
                used.close()

    def deliver(self, message: Message, timeout: float = 5.0) -> None:
        """Hand ``message`` over within ``timeout`` seconds.

        Raises `MailboxFullError` at the deadline and what `try_send` raises.
        """
        # The way of nearly every letter, without a call more than it needs.
        used = self._mail if message.kind == "letter" else self._urgent
        if used is None or type(message.body) is bytes:
            self._deliver_any(message, timeout, pack(message))
            return
        try:
            data = encode(message)
            if len(data) <= INLINE:
                used.send(data)
                return
        except BlockingIOError:
            self._wait_for_room(message, timeout, data)
            return
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                if error.errno not in FORESEEN:
                    raise
                raise self._as_known(error) from error
            # The machine gives its sockets less than a large letter needs: its body goes beside.
            data = b""
        except UnicodeEncodeError as error:
            raise no_unicode(error) from error
        self._deliver_any(message, timeout, data)

    def _deliver_any(self, message: Message, timeout: float, packed: bytes) -> None:
        """Hand over what may be the first letter, or a large one."""
        if not self.try_send(message, _lane_of(message), packed):
            self._wait_for_room(message, timeout, packed)

    def try_send(self, message: Message, lane: Lane, packed: bytes | None = None) -> bool:
        """Hand ``message`` over if there is room at once; tell whether there was.

        ``packed`` is what `pack` returned for it. Raises
        `RecipientGoneError` where the mailbox is no more, `BodyError` where
        the letter is too large for any mailbox, `ShortageError` where descriptors or
        memory are short.
        """
        data = encode(message) if packed is None else packed
        try:
            used = self._urgent if lane == "urgent" else self._mail
            if used is None:
                used = self._connect(lane)
            if not 0 < len(data) <= INLINE:
                self._send_large(used, message)
            else:
                used.send(data)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            is_large = not 0 < len(data) <= INLINE
            if error.errno == errno.EMSGSIZE and not is_large:
                return self.try_send(message, lane, b"")
            if error.errno not in FORESEEN:
                raise
            beside = message.body if type(message.body) is bytes else data
            raise self._as_known(error, len(beside) if is_large else 0) from error
        return True

    def _send_large(self, used: socket.socket, message: Message) -> None:
        self._announce(used)
        try:
            # Bytes go as they are: packed, they would be copied twice more.
            as_it_is = type(message.body) is bytes
            body: bytes = message.body if as_it_is else encode(message.body)
            parcel = self._folder.parcels.pack(body)
            try:
                size, body_type = [len(body), as_it_is], BESIDE + message.body_type
                envelope = pack(replace(message, body=size, body_type=body_type))
                if len(envelope) > INLINE:
                    raise BodyError(
                        f"the headers have {len(envelope)} bytes packed; {INLINE} is the most"
                    )
                rights = array.array("i", [parcel])
                used.sendmsg([envelope], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    raise
                raise BodyError(
                    f"the headers have {len(envelope)} bytes packed, for which the sockets of this"
                    " machine have no room: raise net.core.wmem_default (sysctl)"
                ) from error
            finally:
                os.close(parcel)
        except (OSError, BodyError):
            # It has not left, for certain. Of what came in between, as an interruption, nobody
            # knows: an announcement too many costs time, and one that is missing a letter.
            with self._lock:
                self._announced.append((os.getpid(), used))
            raise

    def _announce(self, used: socket.socket) -> None:
        """Say that a descriptor is on its way, unless nothing came yet of what was said."""
        # A fork has a copy of what its parent announced, and not the right to use it up.
        open_here = (os.getpid(), used)
        with self._lock:
            if open_here in self._announced:
                self._announced.remove(open_here)
                return
        used.send(ANNOUNCEMENT)

    def _as_known(self, error: OSError, size: int = 0) -> GatewayError:
        """Return what to raise for what is `FORESEEN`; ``size`` bytes were to go beside."""
        what = SHORT.get(error.errno or 0)
        return self._as_gone() if what is None else shortage(what, self.name, size)

    def _as_gone(self) -> RecipientGoneError:
        return RecipientGoneError(f"{self.name!r} is gone: nobody reads its mail any more")

    def _wait_for_room(self, message: Message, timeout: float, packed: bytes) -> None:
        """Wait for room; several writers may race for the one place that became free."""
        lane = _lane_of(message)
        used = self.socket_for(lane)
        deadline, left = monotonic() + timeout, timeout
        letter = carried()
        while left > 0:
            self._patience.sleep(used, min(left, letter.longest))
            if letter.is_off:
                break
            # There is room for one. A reader that shares this core makes more of it first,
            # where every letter would cost two switches otherwise.
            os.sched_yield()
            if self.try_send(message, lane, packed):
                return
            left = deadline - monotonic()
        raise self._as_full(timeout)

    def _as_full(self, timeout: float) -> MailboxFullError:
        return MailboxFullError(
            f"{self.name!r} took no mail for {timeout:g} s: its reader is slow or stuck"
        )

    def socket_for(self, lane: Lane) -> socket.socket:
        """Return the socket of ``lane``, for whoever waits for room in it."""
        used = self._urgent if lane == "urgent" else self._mail
        return self._connect(lane) if used is None else used

    def unread_answers(self) -> int:
        """Return how much memory what was sent from here and is unread takes in the urgent socket.

        In bytes; the least letter has 768.
        """
        used = self._urgent
        if used is None:
            return 0
        found: int = _INT.unpack(fcntl.ioctl(used, termios.TIOCOUTQ, bytes(_INT.size)))[0]
        return found

    def _connect(self, lane: Lane) -> socket.socket:
        with self._lock:
            used = self._urgent if lane == "urgent" else self._mail
            if used is None:
                used = self._folder.connect(socket_name(self.name, self.incarnation, lane))
                if lane == "urgent":
                    self._urgent = used
                else:
                    self._mail = used
        return used


def _opened(path: Path) -> int:
    """Return a descriptor of the folder ``path``, which is made where it is not there."""
    flags = os.O_DIRECTORY | os.O_RDONLY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, flags)
    try:
        os.fchmod(descriptor, 0o700)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def pack(message: Message) -> bytes:
    """Return ``message`` as a datagram holds it; nothing where its body is bytes and too large.

    Raises `BodyError` for text that is no Unicode.
    """
    if type(message.body) is bytes and len(message.body) > INLINE:
        return b""
    try:
        return encode(message)
    except UnicodeEncodeError as error:
        raise no_unicode(error) from error


def no_unicode(error: UnicodeEncodeError) -> BodyError:
    """Return what to raise for a letter that cannot be packed."""
    return BodyError(f"the letter holds text that is no Unicode: {error}")


def _lane_of(message: Message) -> Lane:
    return "mail" if message.kind == "letter" else "urgent"
