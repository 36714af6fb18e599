"""A port that remote hands may take: ``share = "rfc2217://127.0.0.1:4000"``, or ``socket://``.

Somebody with esptool, avrdude or a terminal connects there and has the port to
himself until he hangs up; the driver lets go of it, the device is `present`
with the cause "in the remote hands of …", and afterwards is opened and proven
anew. Who waits at the door is noticed while the port is open, and each time
that it is to be opened, so that a board whose firmware is broken can be
reached as well.

Refused: to share at all, unless ``allow_sharing`` stands under the route; more
than one visitor at a time. Whoever can connect has the device: it is this
machine's loopback unless an address is named, and there is no password.
"""

from __future__ import annotations

import contextlib
import select
import socket

from gateway.device.link import Link
from gateway.errors import LinkLostError, LinkTakenError
from routes.serial.port_server import make_quick
from routes.serial.remote_hands import RemoteHands
from routes.serial.serial_link import PortOpener
from routes.serial.settings import SerialSettings


class SharedLink(Link):
    """An open link that breaks when somebody comes for its port.

    Its descriptor is an epoll of the port's and the door's.
    """

    def __init__(self, link: Link, port: SharedPort, door: socket.socket) -> None:
        self._link = link
        self._port = port
        self._epoll = select.epoll()
        self._epoll.register(link.fileno(), select.EPOLLIN)
        self._epoll.register(door.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        """Return what turns readable when bytes or visitors come; -1 once it is closed."""
        return -1 if self._epoll.closed else self._epoll.fileno()

    def read(self) -> bytes:
        """Return what has arrived; `LinkTakenError` where somebody came for the port."""
        self._port.look_at_the_door()
        return self._link.read()

    def write(self, data: bytes) -> None:
        """Write all of ``data``, as the link beneath does."""
        self._link.write(data)

    def close(self) -> None:
        """Give the port back, or hand it to whoever came for it."""
        if not self._epoll.closed:
            self._epoll.close()
            self._link.close()
            self._port.hand_over()

    @property
    def ways(self) -> int:
        """As many as the link beneath has."""
        return self._link.ways

    @property
    def tried(self) -> str:
        """What the link beneath has tried."""
        return self._link.tried

    def try_next_way(self) -> None:
        """Have the link beneath go on."""
        self._link.try_next_way()

    def proven(self) -> None:
        """Have the link beneath remember."""
        self._link.proven()


class SharedPort:
    """An `Opener` that has a door; its device's thread calls it, and its router closes it."""

    def __init__(self, settings: SerialSettings, open_port: PortOpener, *, allowed: bool) -> None:
        self._settings = settings
        self._open_port = open_port
        self._allowed = allowed
        self._door: socket.socket | None = None
        self._hands: RemoteHands | None = None

    def __call__(self) -> Link:
        """Open the port for its driver; `LinkTakenError` while somebody else has it."""
        if not self._allowed:
            raise LinkLostError(
                f"share = {self._settings.share!r} is refused: set allow_sharing = true under the "
                "serial route, or leave share out"
            )
        if self._hands is not None and self._hands.hold_it:
            raise LinkTakenError(self._hands.words)
        door = self._open_door()
        try:
            self.look_at_the_door()
        except LinkTakenError:
            self.hand_over()
            raise
        return SharedLink(self._open_port(), self, door)

    def look_at_the_door(self) -> None:
        """Let in who waits there, with `LinkTakenError`; he gets the port by `hand_over`."""
        assert self._door is not None
        try:
            visitor, address = self._door.accept()
        except OSError:
            # Nobody, or somebody who has gone again.
            return
        make_quick(visitor)
        self._end_visit()
        name = f"{address[0]}:{address[1]}"
        baud = self._open_port.baud
        self._hands = RemoteHands(self._open_port.settings, baud, self._door, visitor, name)
        raise LinkTakenError(self._hands.words)

    def hand_over(self) -> None:
        """Give the port, which nobody has open now, to who was let in."""
        if self._hands is not None:
            self._hands.take()

    def close(self) -> None:
        """Send the visitor away and close the door; called when the device's thread has ended."""
        self._end_visit()
        if self._door is not None:
            self._door.close()
            self._door = None

    def _end_visit(self) -> None:
        hands, self._hands = self._hands, None
        if hands is not None:
            hands.send_away()

    def _open_door(self) -> socket.socket:
        if self._door is None:
            host, port = self._settings.share_address()
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            door = socket.socket(family, socket.SOCK_STREAM)
            try:
                door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                door.bind((host, port))
                door.listen(1)
                door.setblocking(False)
            except OSError as error:
                with contextlib.suppress(OSError):
                    door.close()
                raise LinkLostError(
                    f"share = {self._settings.share!r}: {error.strerror or error}; "
                    "choose another address or port"
                ) from error
            self._door = door
        return self._door
