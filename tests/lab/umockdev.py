"""Devices made of software, under the real libudev and libusb of whoever is started for it.

`Umockdev` holds a test bed in a process of its own: a /sys and a /dev, whose
devices come and go with uevents as the kernel's do. A program that is started
with its `environment` sees that machine; this process does not, and reads and
writes what is in it below `root`.

What bites: `remove` alone tells nobody, hence `unplug`; the order is the
kernel's, event first. A device with an ``N:`` line gets a file in /dev, so one
that is to lead to a pseudo-terminal has none. /run is the machine's own:
whether a udevd runs is not mocked.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.output import Output

DEADLINE = 20.0
"""Seconds for the test bed to start, or to obey one command."""

PRELOAD = "libumockdev-preload.so.0"
_TESTBED = Path(__file__).with_name("umockdev_testbed.py")


class Umockdev:
    """One test bed; ``with`` ends it. May be told things from any thread."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["umockdev-wrapper", "/usr/bin/python3", str(_TESTBED)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._output = Output(self._process)
        self._lock = threading.Lock()
        self._answers = 0
        try:
            self.root = Path(self._answer()["root"])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to see these devices and no others."""
        return {**os.environ, "LD_PRELOAD": PRELOAD, "UMOCKDEV_DIR": str(self.root)}

    def add(self, text: str) -> None:
        """Add devices, as umockdev-record writes them; each is told by an ``add`` event."""
        self._tell("add", text=text)

    def uevent(self, path: str, action: str) -> None:
        """Tell whoever listens that ``action`` happened to the device at ``path`` (/sys/…)."""
        self._tell("uevent", path=path, action=action)

    def remove(self, path: str) -> None:
        """Take a device and what hangs on it away, silently."""
        self._tell("remove", path=path)

    def unplug(self, *paths: str) -> None:
        """Take devices away as the kernel does: its event, then itself; children before parents."""
        for path in paths:
            self._tell("pull", path=path)

    def set_attribute(self, path: str, name: str, value: str) -> None:
        """Change a sysfs attribute; silently."""
        self._tell("attribute", path=path, name=name, value=value)

    def set_property(self, path: str, name: str, value: str) -> None:
        """Change a udev property; silently."""
        self._tell("property", path=path, name=name, value=value)

    def close(self) -> None:
        """End the test bed; what was in it is gone."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(DEADLINE)
            raise
        finally:
            self._output.join()

    def _tell(self, op: str, **arguments: Any) -> None:
        with self._lock:
            assert self._process.stdin
            self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
            answer = self._answer()
        assert answer["ok"], f"{op} {arguments}: {answer['error']}"

    def _answer(self) -> dict[str, Any]:
        number = self._answers
        line = self._output.wait_until(
            lambda lines: lines[number] if len(lines) > number else None, DEADLINE
        )
        self._answers += 1
        answer: dict[str, Any] = json.loads(line)
        return answer


def usb_serial(
    number: int,
    *,
    port: str = "",
    serial: str = "",
    vendor: str = "2341",
    product: str = "0043",
    dev: Path | str = "/dev",
) -> str:
    """Describe a USB device ``1-<port>`` with one CDC interface and its ttyACM<number>.

    The tty has the properties that udev's own rules would give it. Its node is
    in ``dev``. Every open that fails in /dev costs umockdev one of 50 places, and
    with the last the program that opened; `outside_dev` is a way around.
    """
    port = port or str(number + 1)
    usb = f"/devices/platform/soc/usb1/1-{port}"
    udev = (
        f"E: ID_BUS=usb\nE: ID_VENDOR_ID={vendor}\nE: ID_MODEL_ID={product}\n"
        f"E: ID_SERIAL_SHORT={serial}\nE: ID_PATH=platform-soc-usb-0:{port}:1.0\n"
        "E: ID_USB_INTERFACE_NUM=00\n"
    )
    return (
        f"P: {usb}\nE: SUBSYSTEM=usb\nE: DEVTYPE=usb_device\nE: BUSNUM=001\n"
        f"A: idVendor={vendor}\\n\nA: idProduct={product}\\n\nA: serial={serial}\\n\n"
        f"A: product=Board of the test\\n\nA: devpath={port}\\n\n\n"
        f"P: {usb}/1-{port}:1.0\nE: SUBSYSTEM=usb\nE: DEVTYPE=usb_interface\n"
        "A: bInterfaceNumber=00\\n\nA: bInterfaceClass=02\\n\n\n"
        f"P: {tty_path(number, port)[4:]}\nE: SUBSYSTEM=tty\n"
        f"E: DEVNAME={dev}/ttyACM{number}\nE: MAJOR=166\nE: MINOR={number}\n{udev}"
        f"A: dev=166:{number}\\n\n\n"
    )


def outside_dev(folder: Path) -> str:
    """Return a name of ``folder`` that libudev takes for one in /dev, and umockdev for none."""
    return f"//dev/..{folder}"


def tty_path(number: int, port: str = "") -> str:
    """Return where `usb_serial` puts the tty, as a path in /sys."""
    port = port or str(number + 1)
    return f"/sys/devices/platform/soc/usb1/1-{port}/1-{port}:1.0/tty/ttyACM{number}"


def paths_of(number: int, port: str = "") -> tuple[str, str, str]:
    """Return the paths of `usb_serial`: tty, interface, device, as `Umockdev.unplug` takes them."""
    tty = tty_path(number, port)
    interface = tty.rpartition("/tty/")[0]
    return tty, interface, interface.rpartition("/")[0]
