"""What a driver says about its USB device, and the `UsbDriver` that may use control transfers.

A driver declares which interface it wants and which endpoints carry its bytes::

    interface = UsbInterface(number=0, read=Endpoint(0x81), write=Endpoint(0x02))
    interface = UsbInterface(interface_class=3, subclass=1, protocol=1, read=Endpoint())

What comes in over the read endpoint goes through the driver's framing as a serial
board's bytes do; each read brings one transfer, so that `gateway.framing.raw` keeps
a device's packets apart. Nothing here moves a byte or knows a library.

Refused (`ValueError`): a declaration that names no interface, a read endpoint with an
address for writing and the reverse, a control request out of range.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Final, Literal, Protocol, runtime_checkable

import msgspec

from gateway.device.driver import Driver, DriverHost
from gateway.device.identity import Identity
from gateway.device.link import Link
from gateway.errors import RefusedError

IN: Final = 0x80
"""The bit of an endpoint's address, and of a request's type, that says: towards the host."""
LONGEST_WAIT: Final = 5.0
"""Seconds that a control transfer may be waited for: nothing ends it sooner."""

Kind = Literal["standard", "class", "vendor"]
Recipient = Literal["device", "interface", "endpoint", "other"]

_KINDS: Final[dict[str, int]] = {"standard": 0x00, "class": 0x20, "vendor": 0x40}
_RECIPIENTS: Final[dict[str, int]] = {"device": 0, "interface": 1, "endpoint": 2, "other": 3}


class Endpoint(msgspec.Struct, frozen=True):
    """One endpoint; without an address it is the first of its direction (and kind).

    ``transfer`` is how many bytes one read asks for. 0 means one packet, which
    every device ends at once. A multiple of the packet's size is faster for a
    device that streams, and late for one whose messages fill their last packet.
    """

    address: int | None = None
    kind: Literal["bulk", "interrupt"] | None = None
    transfer: int = 0

    def __post_init__(self) -> None:
        if self.address is not None and not 1 <= self.address & ~IN <= 15:
            raise ValueError(f"an endpoint is 0x01 to 0x0f or 0x81 to 0x8f, not {self.address:#x}")
        if not 0 <= self.transfer <= 65536:
            raise ValueError(f"a transfer has up to 65536 bytes, not {self.transfer}")

    def __str__(self) -> str:
        name = "" if self.address is None else f" {self.address:#04x}"
        return f"{self.kind or ''} endpoint{name}".strip()


class UsbInterface(msgspec.Struct, frozen=True, kw_only=True):
    """The interface that a driver wants, by number or by class, and its endpoints.

    ``configuration`` is set only where it is named and is not the active one.
    """

    number: int | None = None
    interface_class: int | None = None
    subclass: int | None = None
    protocol: int | None = None
    alternate: int = 0
    configuration: int | None = None
    read: Endpoint | None = None
    write: Endpoint | None = None

    def __post_init__(self) -> None:
        if self.number is None and self.interface_class is None:
            raise ValueError("name an interface by its number or by its interface_class")
        if self.read is not None and self.read.address is not None and not self.read.address & IN:
            raise ValueError(f"endpoint {self.read.address:#04x} is for writing; reading has 0x8…")
        if self.write is not None and self.write.address is not None and self.write.address & IN:
            raise ValueError(f"endpoint {self.write.address:#04x} is for reading; writing has 0x0…")

    def __str__(self) -> str:
        wanted = {
            "interface": self.number,
            "class": self.interface_class,
            "subclass": self.subclass,
            "protocol": self.protocol,
            "alternate setting": self.alternate or None,
        }
        return ", ".join(f"{word} {value}" for word, value in wanted.items() if value is not None)


class UsbIdentity(msgspec.Struct, frozen=True):
    """What the device's descriptors say; texts that it does not have are empty."""

    vendor: int
    product: int
    release: str
    """The device's release number (bcdDevice), such as ``2.01``."""
    manufacturer: str = ""
    name: str = ""
    serial_number: str = ""


class ControlRequest(msgspec.Struct, frozen=True):
    """The setup packet of a control transfer, but for its direction and length."""

    request: int
    value: int = 0
    index: int | None = None
    """None: the number of the driver's own interface, or 0 for another recipient."""
    kind: Kind = "vendor"
    recipient: Recipient = "device"

    def __post_init__(self) -> None:
        if not 0 <= self.request <= 0xFF:
            raise ValueError(f"a control request is 0 to 255, not {self.request}")
        if not 0 <= self.value <= 0xFFFF or not 0 <= (self.index or 0) <= 0xFFFF:
            raise ValueError(
                f"value and index of a control request are 0 to 65535, "
                f"not {self.value} and {self.index}"
            )

    def __str__(self) -> str:
        return (
            f"{self.kind} request {self.request:#04x} (value {self.value:#06x}) "
            f"to its {self.recipient}"
        )

    @property
    def type(self) -> int:
        """The request's type byte for writing; add `IN` for reading."""
        return _KINDS[self.kind] | _RECIPIENTS[self.recipient]


class ControlLink(Link):
    """A link that has a control endpoint beside its bytes."""

    @abstractmethod
    def control_in(self, request: ControlRequest, length: int, timeout: float) -> bytes:
        """Return what the device answers, up to ``length`` bytes.

        Raises `RefusedError` where the device stalls, `CallTimeoutError` after
        ``timeout`` seconds, `LinkLostError` where it is gone.
        """

    @abstractmethod
    def control_out(self, request: ControlRequest, data: bytes, timeout: float) -> None:
        """Write ``data`` with the request; raises what `control_in` raises."""

    @abstractmethod
    def identity(self) -> UsbIdentity:
        """Return what the descriptors say; `LinkLostError` where the device is gone."""


@runtime_checkable
class UsbHost(DriverHost, Protocol):
    """A `DriverHost` whose link may be a `ControlLink`."""

    def control_link(self) -> ControlLink:
        """Return the open link; `RefusedError` where it is of another kind."""
        ...


class UsbDriver(Driver):
    """The code of one USB device."""

    interface: ClassVar[UsbInterface]
    """Which interface is claimed, and which endpoints carry frames."""

    def handshake(self) -> Identity:
        """Say who is there as the descriptors do; override it to ask the device itself."""
        said = self.usb_identity()
        return Identity(
            firmware=said.release,
            model=said.name or f"{said.vendor:04x}:{said.product:04x}",
            serial_number=said.serial_number,
        )

    def usb_identity(self) -> UsbIdentity:
        """Return what the device's descriptors say."""
        return self._control_link().identity()

    def control_in(
        self,
        request: int,
        length: int,
        *,
        value: int = 0,
        index: int | None = None,
        kind: Kind = "vendor",
        recipient: Recipient = "device",
        timeout: float = 1.0,
    ) -> bytes:
        """Ask over the control endpoint; return the answer of up to ``length`` bytes.

        Raises `RefusedError` where the device stalls (it has no such request),
        `CallTimeoutError` after ``timeout`` seconds, `LinkLostError` where it is gone.
        """
        check(length, timeout)
        setup = ControlRequest(request, value, index, kind, recipient)
        return self._control_link().control_in(setup, length, timeout)

    def control_out(
        self,
        request: int,
        data: bytes = b"",
        *,
        value: int = 0,
        index: int | None = None,
        kind: Kind = "vendor",
        recipient: Recipient = "device",
        timeout: float = 1.0,
    ) -> None:
        """Tell over the control endpoint; raises what `control_in` raises."""
        check(len(data), timeout)
        setup = ControlRequest(request, value, index, kind, recipient)
        self._control_link().control_out(setup, data, timeout)

    def _control_link(self) -> ControlLink:
        host = self._host
        if not isinstance(host, UsbHost):
            raise RefusedError(f"{self.name} stands on no USB device: it has no control transfers")
        return host.control_link()


def check(length: int, timeout: float) -> None:
    """Raise `ValueError` for a length or a time that no control transfer can have."""
    if not 0 <= length <= 0xFFFF:
        raise ValueError(f"a control transfer has 0 to 65535 bytes, not {length}")
    if not 0 < timeout <= LONGEST_WAIT:
        raise ValueError(f"a control transfer takes up to {LONGEST_WAIT:g} s, not {timeout}")
