"""The usb route within an application: its devices' mailboxes, and drivers that are not for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from gateway import Application, Message, Process
from gateway.device import Driver, Identity, command
from gateway.device.simulated_usb import SimulatedUsb
from gateway.device.usb import UsbDriver, UsbInterface
from gateway.errors import AddressError, LinkAbsentError, LinkLostError, RefusedError
from gateway.framing.raw import Raw
from gateway.hosting.hosted_device import HostedDevice
from gateway.hosting.plugged import PluggedDevice
from routes.usb.place import UsbPlace
from routes.usb.router import UsbRouter, interface_of, place_of
from routes.usb.settings import UsbSettings
from tests.gateway.device.test_simulated_usb import Echo


class EchoDriver(UsbDriver):
    """Has its board repeat what it is told."""

    framing = Raw()
    interface = UsbInterface(number=0)
    publications: ClassVar[dict[str, type]] = {}

    @command
    def say(self, text: str) -> str:
        """Return it in capitals."""
        return self.ask(text.encode(), answer=text.upper().encode()).decode()

    @command
    def control(self) -> bytes:
        """Ask over the control endpoint."""
        return self.control_in(1, 6)


class SerialDriver(Driver):
    """A driver that knows nothing of USB."""

    framing = Raw()

    def handshake(self) -> Identity:
        return Identity("1")


class Undeclared(UsbDriver):
    framing = Raw()


class Commander(Process):
    """Runs ``script(self)`` once the device is connected, and keeps what it returns."""

    script: Any
    said: list[Any]

    def birth(self) -> None:
        self.subscribe("devices/echo/state", self.on_state)

    def on_state(self, message: Message) -> None:
        if message.body["connected"] and not self.said:
            self.said.append(self.script())
            self.die()


def run(folder: Path, mode: Any, script: Any) -> Any:
    said: list[Any] = []
    path = str(folder / "echo")

    class Bench(Application):
        def build(self) -> None:
            away = UsbSettings(simulated=str(folder / "absent"))
            devices = [
                HostedDevice("echo", EchoDriver, UsbSettings(simulated=path)),
                HostedDevice("lamp", EchoDriver, away),
            ]
            self.add_process(
                "usb", UsbRouter, mode=mode, route="usb", parameters={"devices": devices}
            )

    main = type("Commander", (Commander,), {"script": script, "said": said})
    with SimulatedUsb(path, Echo()):
        assert Bench(main=main, sockets=folder / "sockets").run() == 0
    return said[0]


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_commands_go_to_the_device_and_back_by_bytes_and_by_control(
    tmp_path: Path, mode: str
) -> None:
    def script(self: Process) -> Any:
        said = self.wait_for_reply(self.send("echo@usb", "say", {"text": "hello"})).body
        asked = self.wait_for_reply(self.send("echo@usb", "control")).body
        counts = self.wait_for_reply(self.send("usb", "$statistics")).body
        return said, asked, counts["devices"]["echo"]["state"]

    assert run(tmp_path, mode, script) == ("HELLO", b"answer", "healthy")


def test_letters_that_cannot_be_carried_out_come_back_with_the_reason(tmp_path: Path) -> None:
    def script(self: Process) -> list[str]:
        said = []
        for to, error in (("lamp@usb", RefusedError), ("eco@usb", AddressError)):
            with pytest.raises(error) as raised:
                self.wait_for_reply(self.send(to, "say", {"text": "x"}))
            said.append(str(raised.value))
        return said

    absent, unknown = run(tmp_path, "thread", script)
    assert "lamp is not connected" in absent
    assert "did you mean 'echo'" in unknown


@pytest.mark.parametrize("driver", [SerialDriver, Undeclared])
def test_a_driver_without_an_interface_is_told_what_it_lacks(driver: type[Driver]) -> None:
    with pytest.raises(LinkLostError, match=f"the driver {driver.__name__} declares no USB"):
        interface_of(driver)
    assert interface_of(EchoDriver) is EchoDriver.interface


def plugged(**attributes: str) -> PluggedDevice:
    return PluggedDevice(
        subsystem="usb", sys_path="/sys/x", node="/dev/bus/usb/001/002", attributes=attributes
    )


def test_udev_s_words_for_a_place_are_libusb_s() -> None:
    whole = plugged(busnum="1", devnum="12", idVendor="05e0", idProduct="1200")
    assert place_of(whole) == UsbPlace(1, 12, 0x05E0, 0x1200)
    assert str(place_of(whole)) == "05e0:1200 at /dev/bus/usb/001/012"


@pytest.mark.parametrize(
    "half",
    [
        plugged(),
        plugged(busnum="1", devnum="2"),
        plugged(busnum="1", devnum="?", idVendor="05e0", idProduct="1200"),
    ],
)
def test_a_device_whose_attributes_are_going_is_absent(half: PluggedDevice) -> None:
    with pytest.raises(LinkAbsentError, match="/dev/bus/usb/001/002 is going"):
        place_of(half)
