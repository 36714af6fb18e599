"""Find the driver's interface and endpoints in what a device says about itself.

Descriptors are a device's own words and may lie: lengths, counts, an endpoint that is
not there or belongs to two interfaces. Whatever does not fit is a `LinkLostError` that
says what the device has instead; nothing of it reaches a transfer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
import usb.core

from gateway.device.usb import IN, Endpoint, UsbInterface
from gateway.errors import LinkLostError
from routes.usb.causes import refusal

_TYPES: Final = {0: "control", 1: "isochronous", 2: "bulk", 3: "interrupt"}


class ChosenEndpoint(msgspec.Struct, frozen=True):
    """One endpoint of the device; ``packet`` and ``transfer`` are in bytes."""

    address: int
    kind: str
    packet: int
    transfer: int


class Chosen(msgspec.Struct, frozen=True):
    """What the driver gets: one setting of one interface."""

    number: int
    alternate: int
    read: ChosenEndpoint | None
    write: ChosenEndpoint | None


def choose(configuration: Any, wanted: UsbInterface, what: str) -> Chosen:
    """Return what ``wanted`` stands for in ``configuration``, a pyusb one.

    ``what`` names the device in the error where it cannot be had.
    """
    try:
        found = [(each, list(each)) for each in configuration]
    except usb.core.USBError as error:
        raise refusal(error, what, "reading its descriptors") from error
    except IndexError as error:
        raise LinkLostError(f"the descriptors of {what} lie: {error}") from error
    for interface, endpoints in found:
        if fits(interface, wanted):
            others = [pair for pair in found if pair[0].bInterfaceNumber != number_of(interface)]
            return Chosen(
                number=number_of(interface),
                alternate=int(interface.bAlternateSetting),
                read=_endpoint(endpoints, others, wanted.read, IN, what),
                write=_endpoint(endpoints, others, wanted.write, 0, what),
            )
    has = "; ".join(_describe(interface) for interface, _ in found) or "none"
    raise LinkLostError(f"{what} has no {wanted}, which the driver wants; it has {has}")


def number_of(interface: Any) -> int:
    """Return the number of a pyusb interface."""
    return int(interface.bInterfaceNumber)


def fits(interface: Any, wanted: UsbInterface) -> bool:
    """Whether a pyusb interface is the one that ``wanted`` describes."""
    pairs = (
        (wanted.number, interface.bInterfaceNumber),
        (wanted.interface_class, interface.bInterfaceClass),
        (wanted.subclass, interface.bInterfaceSubClass),
        (wanted.protocol, interface.bInterfaceProtocol),
        (wanted.alternate, interface.bAlternateSetting),
    )
    return all(want is None or want == has for want, has in pairs)


def _endpoint(
    endpoints: Iterable[Any],
    others: Iterable[tuple[Any, list[Any]]],
    wanted: Endpoint | None,
    direction: int,
    what: str,
) -> ChosenEndpoint | None:
    if wanted is None:
        return None
    there = [_read(each) for each in endpoints]
    for each in there:
        if each.address & IN != direction or wanted.address not in (None, each.address):
            continue
        if wanted.kind not in (None, each.kind) or each.kind not in ("bulk", "interrupt"):
            continue
        if each.packet == 0:
            raise LinkLostError(f"{what} says that its {_name(each)} has packets of 0 bytes")
        for interface, more in others:
            if interface.bAlternateSetting == 0 and each.address in map(_address, more):
                raise LinkLostError(
                    f"{what} gives its {_name(each)} to interface "
                    f"{number_of(interface)} as well: its descriptors lie"
                )
        return msgspec.structs.replace(each, transfer=wanted.transfer or each.packet)
    has = ", ".join(map(_name, there)) or "none"
    way = "reading" if direction else "writing"
    raise LinkLostError(
        f"{what} has no {wanted} for {way}, which the driver wants; that interface has {has}"
    )


def _address(endpoint: Any) -> int:
    return int(endpoint.bEndpointAddress)


def _read(endpoint: Any) -> ChosenEndpoint:
    # USB 2.0, 9.6.6: bits 12 and 11 count the further packets of a microframe.
    size = int(endpoint.wMaxPacketSize)
    packet = (size & 0x7FF) * (1 + (size >> 11 & 3))
    kind = _TYPES[int(endpoint.bmAttributes) & 3]
    return ChosenEndpoint(_address(endpoint), kind, packet, packet)


def _name(endpoint: ChosenEndpoint) -> str:
    return f"{endpoint.kind} endpoint {endpoint.address:#04x}"


def _describe(interface: Any) -> str:
    alternate = interface.bAlternateSetting
    return (
        f"interface {interface.bInterfaceNumber}"
        f"{f' (alternate setting {alternate})' if alternate else ''}"
        f" of class {interface.bInterfaceClass}, subclass {interface.bInterfaceSubClass}, "
        f"protocol {interface.bInterfaceProtocol}"
    )
