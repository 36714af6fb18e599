"""What libusb's errors mean, in words that say what to do.

Opening and using a device fail with the same few numbers; here they become the
gateway's errors. A device that is gone is absent while it is opened (a normal state)
and lost afterwards. Nothing here does any input or output.
"""

from __future__ import annotations

import errno
from typing import Final

import usb.core

from gateway.errors import (
    CallTimeoutError,
    GatewayError,
    LinkAbsentError,
    LinkLostError,
    RefusedError,
)

NO_LIBRARY: Final = (
    "libusb is missing: `sudo apt install libusb-1.0-0` brings it, and no restart is needed"
)
_FORBIDDEN: Final = {errno.EACCES, errno.EPERM}


def gone(error: usb.core.USBError) -> bool:
    """Whether the device itself has been pulled."""
    return bool(error.errno == errno.ENODEV)


def stalled(error: usb.core.USBError) -> bool:
    """Whether an endpoint answered STALL."""
    return bool(error.errno == errno.EPIPE)


def refusal(error: usb.core.USBError | NotImplementedError, what: str, step: str) -> LinkLostError:
    """Return why ``what`` cannot be opened; ``step`` is what was being done to it."""
    number = getattr(error, "errno", None)
    if number == errno.ENODEV:
        return LinkAbsentError(f"{what} has just gone while {step}: nothing is plugged in")
    if number == errno.ENOENT:
        return LinkLostError(f"{what} lacks what its descriptors promise, {step}: they lie")
    if number in _FORBIDDEN:
        return LinkLostError(
            f"no permission to open {what}: `gateway udev-rules` writes the rule that gives it to "
            "the gateway's user; install it and plug the device in again"
        )
    if number == errno.EBUSY:
        return LinkLostError(
            f"{what} is in use by another program ({step}): `fuser -v /dev/bus/usb/*/*` names it, "
            "close it there; where it is a kernel driver, leave detach = true"
        )
    if number == errno.EPIPE:
        return LinkLostError(f"{what} refuses (STALL) while {step}: the driver is not for it")
    if isinstance(error, NotImplementedError):
        return LinkLostError(f"{what} cannot be opened: this system does not support {step}")
    return LinkLostError(f"{what} cannot be opened, {step}: {words(error)}")


def loss(error: usb.core.USBError, what: str, doing: str) -> LinkLostError:
    """Return why the open link to ``what`` broke while ``doing`` something."""
    if gone(error):
        return LinkLostError(f"{what} was unplugged")
    if error.errno == errno.EOVERFLOW:
        return LinkLostError(
            f"{what} sent more than it was asked for while {doing}: its descriptors lie, or the "
            "driver's transfer is no multiple of its packets"
        )
    if error.errno == errno.EIO:
        return LinkLostError(
            f"{what} failed while {doing}: {words(error)}; look at its cable, hub and power"
        )
    return LinkLostError(f"{what} failed while {doing}: {words(error)}")


def control_error(error: usb.core.USBError, what: str, doing: str) -> GatewayError:
    """Return what a failed control transfer means; the link may well live on."""
    if stalled(error):
        return RefusedError(f"{what} refuses {doing}: it answered STALL")
    if isinstance(error, usb.core.USBTimeoutError):
        return CallTimeoutError(f"{what} did not answer {doing} in time")
    return loss(error, what, doing)


def words(error: BaseException) -> str:
    """Return libusb's own words for ``error``."""
    return str(getattr(error, "strerror", None) or error)
