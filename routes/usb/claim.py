"""One interface of one device, taken from whoever had it and given back in the end.

The kernel's driver is detached where there is one and attached again by `give_back`,
also where the way there failed half-way. The configuration is set only where the
device has none or the driver names another: setting it resets what others use.

Refused, with a reason in words: a device that is gone (`LinkAbsentError`), forbidden,
in use, without what the driver wants, or with descriptors that lie (`LinkLostError`).
"""

from __future__ import annotations

import contextlib
import errno
import logging
from array import array
from typing import Any

import usb.core
import usb.util

from gateway.device.usb import IN, ControlRequest, UsbInterface
from gateway.errors import LinkAbsentError, LinkLostError
from routes.usb import causes
from routes.usb.descriptors import Chosen, choose

log = logging.getLogger(__name__)


class Claim:
    """A claimed interface; `read` is for one thread and all else for one other."""

    def __init__(self, device: usb.core.Device, what: str) -> None:
        """Name the device; nothing is opened yet."""
        self.device = device
        self.what = what
        self.chosen = Chosen(number=-1, alternate=0, read=None, write=None)
        self._detached: list[int] = []

    def take(self, wanted: UsbInterface, *, detach: bool, reset: bool) -> None:
        """Open the device and claim the interface; where it cannot, give all back and raise."""
        step = "reading its descriptors, which are damaged or lie"
        try:
            list(self.device)  # all of them, before anything is opened
            step = "opening it"
            if reset:
                step = "resetting it"
                self._reset()
                step = "opening it"
            configuration = self._configure(wanted)
            self.chosen = choose(configuration, wanted, self.what)
            number = self.chosen.number
            step = f"asking for the kernel's driver of interface {number}"
            if self._has_kernel_driver(number):
                if not detach:
                    raise LinkLostError(
                        f"interface {number} of {self.what} is the kernel's: set detach = true, "
                        "or keep its driver away by a udev rule"
                    )
                step = f"detaching the kernel's driver of interface {number}"
                self._detach(number)
            step = f"claiming interface {number}"
            usb.util.claim_interface(self.device, number)
            if self.chosen.alternate:
                step = f"choosing alternate setting {self.chosen.alternate}"
                self.device.set_interface_altsetting(number, self.chosen.alternate)
        except (usb.core.USBError, NotImplementedError) as error:
            self.give_back()
            raise causes.refusal(error, self.what, step) from error
        except BaseException:
            self.give_back()
            raise

    def _configure(self, wanted: UsbInterface) -> Any:
        """Return the active configuration, after setting it where that is needed."""
        if not self.device.bNumConfigurations:
            raise LinkLostError(f"{self.what} has no configuration: its descriptors lie")
        active = self._active()
        value = wanted.configuration
        if active is not None and value in (None, active.bConfigurationValue):
            return active
        try:
            self.device.set_configuration(value)
            return self.device.get_active_configuration()
        except (ValueError, IndexError) as error:
            raise LinkLostError(f"{self.what} has no configuration {value}") from error

    def _active(self) -> Any:
        try:
            return self.device.get_active_configuration()
        except usb.core.USBError as error:
            if error.backend_error_code is None:  # pyusb's own: none is set, or one unheard of
                return None
            raise
        except IndexError as error:
            raise LinkLostError(f"the descriptors of {self.what} lie: {error}") from error

    def _reset(self) -> None:
        try:
            self.device.reset()
        except usb.core.USBError as error:
            if error.errno == errno.ENOENT:
                raise LinkAbsentError(f"{self.what} comes back anew after its reset") from error
            raise

    def _detach(self, number: int) -> None:
        try:
            self.device.detach_kernel_driver(number)
        except usb.core.USBError as error:
            if error.errno != errno.ENOENT:  # it has gone by itself
                raise
        else:
            self._detached.append(number)

    def _has_kernel_driver(self, number: int) -> bool:
        try:
            return bool(self.device.is_kernel_driver_active(number))
        except NotImplementedError:
            return False

    def give_back(self) -> None:
        """Release the interface, attach the kernel's driver again, close. Never raises."""
        with contextlib.suppress(usb.core.USBError):  # gone, most likely
            usb.util.release_interface(self.device, self.chosen.number)
        while self._detached:
            number = self._detached.pop()
            try:
                self.device.attach_kernel_driver(number)
            except (usb.core.USBError, NotImplementedError) as error:
                if not isinstance(error, usb.core.USBError) or not causes.gone(error):
                    log.warning(
                        "%s: the kernel's driver of interface %d does not come back: %s",
                        self.what,
                        number,
                        causes.words(error),
                    )
        with contextlib.suppress(usb.core.USBError):
            usb.util.dispose_resources(self.device)

    # -- transfers: each waits for a bounded time and raises what pyusb raises ------

    def read(self, buffer: array[int], seconds: float) -> int:
        """Read one transfer into ``buffer``; return how many bytes it brought."""
        assert self.chosen.read is not None
        return int(self.device.read(self.chosen.read.address, buffer, milliseconds(seconds)))

    def write(self, data: bytes, seconds: float) -> int:
        """Write one transfer; return how many bytes were taken."""
        assert self.chosen.write is not None
        return int(self.device.write(self.chosen.write.address, data, milliseconds(seconds)))

    def clear(self, address: int) -> None:
        """Clear the halt of an endpoint."""
        self.device.clear_halt(address)

    def control(
        self, request: ControlRequest, data_or_length: bytes | int, seconds: float
    ) -> bytes:
        """Do one control transfer; return what was read, empty for a write."""
        read = isinstance(data_or_length, int)
        answer = self.device.ctrl_transfer(
            request.type | IN if read else request.type,
            request.request,
            request.value,
            self._index(request),
            data_or_length,
            milliseconds(seconds),
        )
        return bytes(answer) if read else b""

    def _index(self, request: ControlRequest) -> int:
        own = self.chosen.number
        if request.recipient != "interface":
            return request.index or 0
        if request.index is not None and request.index & 0xFF != own:
            # pyusb would claim that one too, behind its owner's back.
            raise ValueError(
                f"interface {request.index & 0xFF} is not the driver's own, which is {own}"
            )
        return own if request.index is None else request.index


def milliseconds(seconds: float) -> int:
    """Return a time-out for libusb, to which 0 means for ever."""
    return max(1, round(seconds * 1000))
