"""The thread that reads a USB device, since libusb gives no descriptor to wait on.

It keeps one read in flight, of at most `TURN` seconds, so that it is told to end
within that time; the core sleeps meanwhile. What a read brings goes as one packet into
a socket pair, whose other end is the link's descriptor: readable while packets wait,
at its end when the device is lost. The pair holds a bounded number of bytes; while it
is full nothing is read, and the device keeps what it has.

An endpoint that answers STALL is cleared and read again, a few times in a row. A device
without an endpoint to read is asked for its status now and then, to learn of its going.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
from array import array
from typing import Final

import usb.core

from gateway.device.usb import ControlRequest
from gateway.errors import GatewayError, LinkLostError
from routes.usb import causes
from routes.usb.claim import Claim

log = logging.getLogger(__name__)

TURN: Final = 0.2
"""Seconds that a read waits for bytes, which is how late the thread learns of its end."""
STATUS_EVERY: Final = 0.5
"""Seconds between two looks after a device that has no endpoint to read."""
STALLS: Final = 5
"""How often in a row an endpoint may stall before the link is given up."""
HELD: Final = 65536
"""Bytes of packets, about, that wait for the link's owner before reading pauses."""

_GET_STATUS: Final = ControlRequest(0x00, kind="standard", recipient="device")


class Pump:
    """Reads what `Claim` reads; owns its thread and the far end of its socket pair."""

    def __init__(self, claim: Claim, name: str) -> None:
        """Make the socket pair; nothing is read before `start`."""
        self.failure: GatewayError | None = None
        """Why it ended by itself."""
        self._claim = claim
        self._ending = threading.Event()
        self._stalls = 0
        self._handing_over = threading.Lock()
        self._over = self._abandoned = False
        endpoint = claim.chosen.read
        self._buffer = array("B", bytes(endpoint.transfer if endpoint else 2))
        self.near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.near.setblocking(False)
        self._far.settimeout(TURN)
        self._far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, max(HELD, 2 * len(self._buffer)))
        self._thread = threading.Thread(target=self._run, name=f"usb-{name}", daemon=True)

    @property
    def size(self) -> int:
        """The most bytes that one packet has."""
        return len(self._buffer)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def end(self, seconds: float) -> bool:
        """End the thread, close the socket pair and give the claim back; return whether in time.

        While libusb is inside, closing the device under it would crash us. Where it does
        not return in time, the thread gives the claim back when it does.
        """
        self._ending.set()
        self.near.close()
        if self._thread.ident is None:
            self._far.close()
        else:
            self._thread.join(seconds)
        with self._handing_over:
            self._abandoned = self._thread.is_alive() and not self._over
        if not self._abandoned:
            self._claim.give_back()
        return not self._abandoned

    # -- its thread --------------------------------------------------------

    def _run(self) -> None:
        try:
            turn = self._look_after if self._claim.chosen.read is None else self._take_turn
            while not self._ending.is_set():
                turn()
        except GatewayError as error:
            self.failure = error
        finally:
            self._far.close()
            with self._handing_over:
                self._over = True
            if self._abandoned:
                self._claim.give_back()

    def _take_turn(self) -> None:
        try:
            count = self._claim.read(self._buffer, TURN)
        except usb.core.USBTimeoutError:
            return
        except usb.core.USBError as error:
            self._recover(error)
            return
        self._stalls = 0
        if count:  # an empty packet ends a transfer and says nothing by itself
            self._hand_on(self._buffer[:count].tobytes())

    def _hand_on(self, packet: bytes) -> None:
        while not self._ending.is_set():
            try:
                self._far.send(packet)
            except TimeoutError:
                continue  # its owner is busy: look whether it is still there
            except OSError:  # the link was closed
                self._ending.set()
            return

    def _recover(self, error: usb.core.USBError) -> None:
        """Clear an endpoint that stalled; raise `LinkLostError` for what is lost."""
        endpoint = self._claim.chosen.read
        assert endpoint is not None
        doing = f"reading its endpoint {endpoint.address:#04x}"
        if error.errno == errno.EINTR:
            return
        if not causes.stalled(error):
            raise causes.loss(error, self._claim.what, doing) from error
        self._stalls += 1
        if self._stalls >= STALLS:
            raise LinkLostError(f"{self._claim.what} answers STALL again and again while {doing}")
        log.info("%s: STALL while %s; cleared", self._claim.what, doing)
        try:
            self._claim.clear(endpoint.address)
        except usb.core.USBError as second:
            raise causes.loss(second, self._claim.what, "clearing a STALL") from second

    def _look_after(self) -> None:
        try:
            self._claim.control(_GET_STATUS, 2, TURN)
        except usb.core.USBTimeoutError:
            pass  # busy, or mute: as long as it is plugged in, that is its driver's affair
        except usb.core.USBError as error:
            if not causes.stalled(error):
                raise causes.loss(error, self._claim.what, "asking for its status") from error
        self._ending.wait(STATUS_EVERY)
