"""A USB device without libusb: pyusb's own interface for back-ends, for faults on demand.

`FakeBackend` has one device, made of `tests.lab.usb_descriptors`. ``faults`` says what
each call raises instead of working; ``packets`` what the read endpoint brings.
"""

from __future__ import annotations

import errno
import queue
from array import array
from types import SimpleNamespace
from typing import Any

import usb.backend
import usb.core

from tests.lab.usb_descriptors import Device, EndpointOf, Interface

NO_DATA = errno.ETIMEDOUT


def usb_error(number: int) -> usb.core.USBError:
    """Return what libusb's back-end raises for an errno."""
    if number == errno.ETIMEDOUT:
        return usb.core.USBTimeoutError("Operation timed out", -7, number)
    return usb.core.USBError(f"errno {number}", -99, number)


class FakeBackend(usb.backend.IBackend):  # type: ignore[misc]
    """One device at bus 1, address 5."""

    def __init__(self, device: Device | None = None) -> None:
        super().__init__()
        self.device = device or Device()
        self.log: list[tuple[Any, ...]] = []
        """What was done, transfers left out."""
        self.faults: dict[str, list[BaseException | None]] = {}
        """Per method what its next calls raise; None for one that works."""
        self.packets: queue.Queue[bytes | BaseException] = queue.Queue()
        self.written: list[bytes] = []
        self.takes = 65536
        """Bytes that one write takes."""
        self.strings: dict[int, bytes] = {}
        self.kernel_drivers: set[int] = set()
        self.configured = 1
        self.configurations = 1
        """How many the device says it has."""
        self.reads = 0

    def fail(self, method: str, *errors: int | BaseException | None) -> None:
        """Have the next calls of ``method`` raise these: errnos, exceptions, None for none."""
        made = [usb_error(each) if isinstance(each, int) else each for each in errors]
        self.faults.setdefault(method, []).extend(made)

    def _fault(self, method: str) -> None:
        waiting = self.faults.get(method)
        if waiting and (error := waiting.pop(0)) is not None:
            raise error

    def names(self) -> list[str]:
        return [each[0] for each in self.log]

    # What pyusb calls.

    def enumerate_devices(self) -> Any:
        self._fault("enumerate_devices")
        yield "device"

    def get_device_descriptor(self, dev: Any) -> Any:
        return SimpleNamespace(
            bLength=18,
            bDescriptorType=1,
            bcdUSB=0x0200,
            bDeviceClass=0,
            bDeviceSubClass=0,
            bDeviceProtocol=0,
            bMaxPacketSize0=64,
            idVendor=self.device.vendor,
            idProduct=self.device.product,
            bcdDevice=self.device.release,
            iManufacturer=1,
            iProduct=2,
            iSerialNumber=3,
            bNumConfigurations=self.configurations,
            bus=1,
            address=5,
            port_number=1,
            port_numbers=(1,),
            speed=2,
        )

    def get_configuration_descriptor(self, dev: Any, config: int) -> Any:
        self._fault("get_configuration_descriptor")
        return SimpleNamespace(
            bLength=9,
            bDescriptorType=2,
            wTotalLength=32,
            iConfiguration=0,
            bNumInterfaces=len(self._numbers()),
            bConfigurationValue=config + 1,
            bmAttributes=0x80,
            bMaxPower=50,
            extra_descriptors=[],
        )

    def _numbers(self) -> list[int]:
        return sorted({each.number for each in self.device.interfaces})

    def _setting(self, intf: int, alt: int) -> Interface:
        if intf >= len(self._numbers()):
            raise IndexError("no such interface")
        number = self._numbers()[intf]
        return [each for each in self.device.interfaces if each.number == number][alt]

    def get_interface_descriptor(self, dev: Any, intf: int, alt: int, config: int) -> Any:
        setting = self._setting(intf, alt)
        count = setting.claimed_endpoints
        return SimpleNamespace(
            bLength=9,
            bDescriptorType=4,
            bInterfaceNumber=setting.number,
            bAlternateSetting=setting.alternate,
            iInterface=0,
            extra_descriptors=[],
            **dict(
                zip(
                    ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol"),
                    setting.kind,
                    strict=True,
                )
            ),
            bNumEndpoints=len(setting.endpoints) if count is None else count,
        )

    def get_endpoint_descriptor(self, dev: Any, ep: int, intf: int, alt: int, config: int) -> Any:
        endpoint: EndpointOf = self._setting(intf, alt).endpoints[ep]
        return SimpleNamespace(
            bLength=7,
            bDescriptorType=5,
            bEndpointAddress=endpoint.address,
            bmAttributes=endpoint.kind,
            wMaxPacketSize=endpoint.packet,
            bInterval=4,
            bRefresh=0,
            bSynchAddress=0,
            extra_descriptors=[],
        )

    def open_device(self, dev: Any) -> str:
        self._fault("open_device")
        self.log.append(("open",))
        return "handle"

    def close_device(self, dev_handle: Any) -> None:
        self.log.append(("close",))

    def set_configuration(self, dev_handle: Any, config_value: int) -> None:
        self._fault("set_configuration")
        self.log.append(("set_configuration", config_value))
        self.configured = config_value

    def get_configuration(self, dev_handle: Any) -> int:
        self._fault("get_configuration")
        return self.configured

    def set_interface_altsetting(self, dev_handle: Any, intf: int, altsetting: int) -> None:
        self._fault("set_interface_altsetting")
        self.log.append(("alternate", intf, altsetting))

    def claim_interface(self, dev_handle: Any, intf: int) -> None:
        self._fault("claim_interface")
        self.log.append(("claim", intf))

    def release_interface(self, dev_handle: Any, intf: int) -> None:
        self.log.append(("release", intf))
        self._fault("release_interface")

    def is_kernel_driver_active(self, dev_handle: Any, intf: int) -> bool:
        self._fault("is_kernel_driver_active")
        return intf in self.kernel_drivers

    def detach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        self._fault("detach_kernel_driver")
        self.kernel_drivers.remove(intf)
        self.log.append(("detach", intf))

    def attach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        self._fault("attach_kernel_driver")
        self.kernel_drivers.add(intf)
        self.log.append(("attach", intf))

    def reset_device(self, dev_handle: Any) -> None:
        self._fault("reset_device")
        self.log.append(("reset",))

    def clear_halt(self, dev_handle: Any, ep: int) -> None:
        self._fault("clear_halt")
        self.log.append(("clear_halt", ep))

    def bulk_read(self, dev_handle: Any, ep: int, intf: int, buff: Any, timeout: int) -> int:
        self.reads += 1
        try:
            packet = self.packets.get(timeout=timeout / 1000)
        except queue.Empty:
            raise usb_error(NO_DATA) from None
        if isinstance(packet, BaseException):
            raise packet
        buff[: len(packet)] = array("B", packet)
        return len(packet)

    intr_read = bulk_read

    def bulk_write(self, dev_handle: Any, ep: int, intf: int, data: Any, timeout: int) -> int:
        assert timeout > 0, "0 would wait for ever"
        self._fault("bulk_write")
        taken = bytes(data)[: self.takes]
        self.written.append(taken)
        return len(taken)

    def ctrl_transfer(
        self,
        dev_handle: Any,
        bmRequestType: int,  # noqa: N803  pyusb's own names
        bRequest: int,  # noqa: N803
        wValue: int,  # noqa: N803
        wIndex: int,  # noqa: N803
        data: Any,
        timeout: int,
    ) -> int:
        assert timeout > 0, "0 would wait for ever"
        self._fault("ctrl_transfer")
        if (bmRequestType, bRequest, wValue >> 8) == (0x80, 6, 3):
            answer = self.strings.get(wValue & 0xFF)
            if answer is None:
                raise usb_error(errno.EPIPE)
            answer = answer[: len(data)]
            data[: len(answer)] = array("B", answer)
            return len(answer)
        self.log.append(("control", bmRequestType, bRequest, wValue, wIndex, bytes(data)))
        return len(data)
