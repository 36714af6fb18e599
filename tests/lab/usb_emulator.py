#!/usr/bin/python3
"""A USB device made of software, which the real libusb, pyusb and libudev take for one.

A program of its own, run by the system's Python below ``umockdev-wrapper`` (it needs
GObject introspection, `umockdev_testbed` beside it, and nothing else);
`tests.lab.live_usb` starts it and talks to it. umockdev shows the device to whoever is
preloaded and shares its folder; this program answers the ioctls of usbfs.

A device's node is the slave of a pseudo-terminal, since libusb polls it: usbfs is
writable when a finished transfer can be fetched, as a terminal is whose output flows,
and reports an error when the device is gone, as a terminal does whose master closed.

What bites: an open that fails in /dev costs whoever opens a descriptor and one of 50
places of umockdev's, for good. The node of a device that is gone therefore stays, and
leads to a terminal that works; each ioctl on it says that the device is gone.

Refused: an ioctl or a command that it does not know (an error, and the former is noted).
"""

import base64
import errno
import json
import os
import socket
import struct
import sys
import termios
import threading
import time

import gi  # type: ignore[import-not-found]

gi.require_version("UMockdev", "1.0")
import umockdev_testbed  # type: ignore[import-not-found]  # noqa: E402
from gi.repository import GLib, UMockdev  # type: ignore[import-not-found]  # noqa: E402

SETINTERFACE, SETCONFIGURATION = 0x80085504, 0x80045505
GETDRIVER, SUBMITURB, DISCARDURB, REAPURBNDELAY = 0x41045508, 0x8038550A, 0x550B, 0x4008550D
CLAIMINTERFACE, RELEASEINTERFACE, IOCTL = 0x8004550F, 0x80045510, 0xC0105512
RESET, CLEAR_HALT, DISCONNECT, CONNECT = 0x5514, 0x80045515, 0x5516, 0x5517
GET_CAPABILITIES, GET_SPEED = 0x8004551A, 0x551F
NAMES = {
    SETINTERFACE: "alternate",
    SETCONFIGURATION: "configuration",
    CLAIMINTERFACE: "claim",
    RELEASEINTERFACE: "release",
    CLEAR_HALT: "clear_halt",
}
CONTROL = 2
STATUS, ACTUAL = 4, 28  # offsets in struct usbdevfs_urb
SETUP = struct.Struct("<BBHHH")
BUS = "/sys/devices/platform/soc/usb1"
ROOT_HUB = bytes.fromhex(
    "12010002090001406B1D02000506030201010902190001010100E0000904000001090000000705810304000C"
)


class Transfer:
    """One URB that libusb submitted."""

    def __init__(self, client, urb, buffer, kind, endpoint, length):
        self.client, self.urb, self.buffer = client, urb, buffer
        self.kind, self.endpoint, self.length = kind, endpoint, length


class Device(UMockdev.IoctlBase):  # type: ignore[misc]
    """One device, from plug to unplug; ``spec`` is what the test said about it."""

    def __init__(self, spec):
        super().__init__()
        self.lock = threading.RLock()
        self.node = "/dev/bus/usb/001/{address:03d}".format(**spec)
        self.path = "{}/1-{}".format(BUS, spec["port"])
        self.strings = {int(index): text for index, text in spec.get("strings", {}).items()}
        self.answers = dict(spec.get("control", {}))
        self.echo = {int(out): int(back) for out, back in spec.get("echo", {}).items()}
        self.drivers = {int(each): name for each, name in spec.get("drivers", {}).items()}
        self.claimed = set()
        self.busy = set(spec.get("busy", ()))
        self.queues = {}  # endpoint: payloads to hand out; "stamp" puts the moment in
        self.stalled = set()
        self.mute = set()  # endpoints that take nothing and say nothing
        self.pending, self.finished = [], []
        self.log, self.sent = [], []
        self.ioctls = 0
        self.gone = False
        self.master, self.slave = os.openpty()
        self.flows = True
        self.show()

    def do_handle_ioctl(self, client):
        """Answer one ioctl, on umockdev's own thread; False would hand it on."""
        with self.lock:
            request = client.get_request() & 0xFFFFFFFF
            self.ioctls += 1
            argument = client.get_arg()
            try:
                result = self.handle(client, request, argument)
            except OSError as error:
                client.complete(-1, error.errno)
            else:
                client.complete(result, 0)
            self.show()
        return True

    def handle(self, client, request, argument):
        """Return what the ioctl returns, or raise what it fails with."""
        if self.gone:
            raise OSError(errno.ENODEV, "gone")
        if request == SUBMITURB:
            return self.submit(client, argument)
        if request == REAPURBNDELAY:
            return self.reap(client, argument)
        if request == DISCARDURB:
            return self.discard(argument)
        size = (request >> 16) & 0x3FFF
        data = argument.resolve(0, size) if size else argument
        if request == GET_CAPABILITIES:
            data.update(0, list(struct.pack("<I", 0x1F)))
        elif request == GET_SPEED:
            return 3
        elif request == GETDRIVER:
            (interface,) = struct.unpack_from("<I", bytes(data.retrieve()))
            if interface not in self.drivers:
                raise OSError(errno.ENODATA, "no driver")
            data.update(4, list(self.drivers[interface].encode() + b"\0"))
        elif request == IOCTL:
            interface, code = struct.unpack_from("<ii", bytes(data.retrieve()))
            return self.bind(interface, code)
        elif request in NAMES:
            values = struct.unpack(f"<{size // 4}I", bytes(data.retrieve()))
            if request == CLAIMINTERFACE and (values[0] in self.busy or values[0] in self.drivers):
                raise OSError(errno.EBUSY, "claimed by another")
            if request == CLAIMINTERFACE:
                self.claimed.add(values[0])
            elif request == RELEASEINTERFACE:
                self.claimed.discard(values[0])
            elif request == CLEAR_HALT:
                self.stalled.discard(values[0])
            self.log.append([NAMES[request], *values])
        elif request == RESET:
            self.stalled.clear()
            self.mute.clear()
            self.log.append(["reset"])
        else:
            self.log.append(["unknown", hex(request)])
            raise OSError(errno.ENOTTY, "unknown")
        return 0

    def bind(self, interface, code):
        if code == DISCONNECT:
            if interface not in self.drivers:
                raise OSError(errno.ENODATA, "no driver")
            self.log.append(["detach", interface, self.drivers.pop(interface)])
            return 0
        if code != CONNECT:
            raise OSError(errno.ENOTTY, "unknown")
        if interface in self.claimed:
            raise OSError(errno.EBUSY, "claimed")
        self.drivers[interface] = "usbhid"
        self.log.append(["attach", interface])
        return 1

    # Transfers.

    def submit(self, client, argument):
        urb = argument.resolve(0, 56)
        kind, endpoint, length = struct.unpack_from("<BB22xi", bytes(urb.retrieve()))
        buffer = urb.resolve(16, length)
        self.pending.append(Transfer(client, urb, buffer, kind, endpoint, length))
        self.serve()
        return 0

    def reap(self, client, argument):
        for transfer in self.finished:
            if transfer.client == client or not transfer.client.get_connected():
                self.finished.remove(transfer)
                argument.resolve(0, 8).set_ptr(0, transfer.urb)
                return 0
        raise OSError(errno.EAGAIN, "nothing is finished")

    def discard(self, argument):
        address = argument.client_addr or int.from_bytes(bytes(argument.retrieve())[:8], "little")
        for transfer in self.pending:
            if address in (transfer.urb.client_addr, 0):
                self.finish(transfer, -errno.ENOENT)
                return 0
        raise OSError(errno.EINVAL, "not in flight")

    def serve(self):
        """Finish every transfer that can be."""
        # Who has closed the device has none in flight; the kernel takes them back.
        self.pending = [each for each in self.pending if each.client.get_connected()]
        for transfer in list(self.pending):
            endpoint = transfer.endpoint
            if transfer.kind == CONTROL:
                self.control(transfer)
            elif endpoint in self.stalled:
                self.finish(transfer, -errno.EPIPE)
            elif endpoint in self.mute:
                pass
            elif endpoint & 0x80:
                queue = self.queues.get(endpoint)
                if queue:
                    self.hand_out(transfer, queue)
            else:
                data = bytes(transfer.buffer.retrieve())
                self.sent.append([endpoint, data.hex()])
                self.finish(transfer, 0, actual=len(data))
                if endpoint in self.echo:
                    self.queues.setdefault(self.echo[endpoint], []).append(data)
                    self.serve()
        self.show()

    def hand_out(self, transfer, queue):
        data = queue.pop(0)
        if data == "stamp":
            data = struct.pack("<Q", time.monotonic_ns())
        elif data == "stall":
            self.stalled.add(transfer.endpoint)
            self.finish(transfer, -errno.EPIPE)
            return
        elif data == "noise":
            self.finish(transfer, -errno.EPROTO)
            return
        status = -errno.EOVERFLOW if len(data) > transfer.length else 0
        data = data[: transfer.length]
        self.finish(transfer, status, data)

    def control(self, transfer):
        setup = bytes(transfer.buffer.retrieve())
        kind, request, value, index, length = SETUP.unpack_from(setup)
        if (kind, request, value >> 8) == (0x80, 6, 3):
            answer = self.string(value & 0xFF)
        else:
            answer = self.answers.get(f"{kind:02x} {request:02x}")
            self.log.append(["control", kind, request, value, index, setup[8:].hex()])
        if answer == "mute":
            return
        if answer is None:
            self.finish(transfer, -errno.EPIPE)
        elif kind & 0x80:
            data = bytes.fromhex(answer)[:length]
            self.finish(transfer, 0, data, offset=SETUP.size)
        else:
            self.finish(transfer, 0, actual=length)

    def string(self, index):
        if index == 0:
            return "04030904"
        text = self.strings.get(index)
        if text is None or text.startswith("raw:"):
            return text and text[4:]
        data = text.encode("utf-16-le")
        return (bytes([len(data) + 2, 3]) + data).hex()

    def finish(self, transfer, status, data=b"", offset=0, actual=None):
        if data:
            transfer.buffer.update(offset, list(data))
        transfer.urb.update(STATUS, list(struct.pack("<i", status)))
        count = len(data) if actual is None else actual
        transfer.urb.update(ACTUAL, list(struct.pack("<i", count)))
        self.pending.remove(transfer)
        self.finished.append(transfer)

    def show(self):
        """Let the node be writable while something is finished, as usbfs is."""
        if not self.gone and self.flows != bool(self.finished):
            self.flows = bool(self.finished)
            termios.tcflow(self.slave, termios.TCOON if self.flows else termios.TCOOFF)

    def obey(self, word, order):
        """Carry out what is said to a device that is plugged in."""
        with self.lock:
            endpoint = order.get("endpoint")
            if word == "feed":
                queue = self.queues.setdefault(endpoint, [])
                for each in order["payloads"]:
                    queue.append(each if each in WORDS else base64.b64decode(each))
            elif word == "stall":
                self.stalled.add(endpoint)
            elif word == "mute":
                self.mute.add(endpoint)
            elif word == "speak":
                self.mute.discard(endpoint)
            self.serve()
            return {
                "log": self.log,
                "sent": self.sent[-100:],
                "waiting": [each.endpoint for each in self.pending],
                "queued": sum(map(len, self.queues.values())),
                "drivers": self.drivers,
                "ioctls": self.ioctls,
            }

    def vanish(self):
        with self.lock:
            self.gone = True
            os.close(self.slave)
            os.close(self.master)


class Emulator:
    """The bus: plugs devices in and out as a client on the socket says."""

    def __init__(self, folder):
        self.testbed = UMockdev.Testbed.new()
        self.devices = {}
        self.gone = {}  # by node, until another has it
        self.tomb = os.openpty()
        self.address = 1
        self.add_device(BUS, "/dev/bus/usb/001/001", ROOT_HUB, {"port": "0", "address": 1})
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(os.path.join(folder, "emulator.sock"))
        self.listener.listen()
        GLib.io_add_watch(self.listener.fileno(), GLib.IO_IN, self.accept)

    def add_device(self, path, node, descriptors, spec):
        vendor, product = struct.unpack_from("<HH", descriptors, 8)
        lines = [
            "P: " + path.removeprefix("/sys"),
            "E: DEVNAME=" + node,
            "E: DEVTYPE=usb_device",
            "E: SUBSYSTEM=usb",
            "E: BUSNUM=001",
            "E: DEVNUM={address:03d}".format(**spec),
            f"E: ID_VENDOR_ID={vendor:04x}",
            f"E: ID_MODEL_ID={product:04x}",
            "E: MAJOR=189",
            "E: MINOR={address}".format(**spec),
            "A: busnum=1\\n",
            "A: devnum={address}\\n".format(**spec),
            f"A: idVendor={vendor:04x}\\n",
            f"A: idProduct={product:04x}\\n",
            "A: speed=12\\n",
            "A: bConfigurationValue=" + spec.get("configured", "1\\n"),
            "A: devpath={}\\n".format(spec["port"]),
            *["A: {}={}\\n".format(*item) for item in spec.get("attributes", {}).items()],
            *["E: {}={}".format(*item) for item in spec.get("properties", {}).items()],
            "H: descriptors=" + descriptors.hex().upper(),
        ]
        umockdev_testbed.wait_for_room(self.testbed)
        self.testbed.add_from_string("\n".join(lines) + "\n\n")

    def plug(self, spec):
        if spec["port"] in self.devices:
            raise ValueError("something is plugged in there")
        # As the kernel does: a device that comes back has the next address, up to 127.
        self.address = self.address + 1 if self.address < 127 else 2
        spec["address"] = self.address
        device = Device(spec)
        if before := self.gone.pop(device.node, None):
            self.testbed.detach_ioctl(before.node)
        # Whoever opens the node is to find all of it: the ioctls, then the node, then
        # the device; a scan may see it before its event comes.
        self.testbed.attach_ioctl(device.node, device)
        node = self.testbed.get_root_dir() + device.node
        os.makedirs(os.path.dirname(node), exist_ok=True)
        lead(node, os.ttyname(device.slave))
        self.add_device(device.path, device.node, bytes.fromhex(spec["descriptors"]), spec)
        self.devices[spec["port"]] = device
        umockdev_testbed.wait_for_room(self.testbed)
        self.testbed.uevent(device.path, "add")
        return spec["address"]

    def unplug(self, port):
        device = self.devices.pop(port)
        # The node first: its terminal's number may be another's soon. Who opens it, or has
        # by now, still gets his answers, which are that it is gone.
        lead(self.testbed.get_root_dir() + device.node, os.ttyname(self.tomb[1]))
        self.gone[device.node] = device
        device.vanish()
        umockdev_testbed.obey(self.testbed, {"op": "pull", "path": device.path})

    def obey(self, order):
        """Carry out one order; return what it asks for."""
        match order.pop("do"):
            case "plug":
                return self.plug(order)
            case "unplug":
                self.unplug(order["port"])
            case "feed" | "stall" | "mute" | "speak" | "look" as word:
                return self.devices[order["port"]].obey(word, order)
            case word:  # whatever concerns no live device, such as a tty
                return umockdev_testbed.obey(self.testbed, {"op": word, **order})
        return None

    # The socket.

    def accept(self, *_):
        connection, _ = self.listener.accept()
        GLib.io_add_watch(
            connection.fileno(), GLib.IO_IN | GLib.IO_HUP, self.read, connection, bytearray()
        )
        return True

    def read(self, _descriptor, _events, connection, kept):
        data = connection.recv(65536)
        if not data:
            connection.close()
            return False
        kept += data
        while b"\n" in kept:
            line, _, rest = bytes(kept).partition(b"\n")
            kept[:] = rest
            try:
                answer = {"ok": self.obey(json.loads(line))}
            except (KeyError, ValueError, OSError, GLib.Error) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            connection.sendall(json.dumps(answer).encode() + b"\n")
        return True


def lead(link, target):
    """Have ``link`` lead to ``target``, with no moment at which it leads nowhere."""
    os.symlink(target, link + ".new")
    os.replace(link + ".new", link)


WORDS = ("stamp", "stall", "noise")

if __name__ == "__main__":
    emulator = Emulator(sys.argv[1])
    loop = GLib.MainLoop()
    # Whoever started this holds the other end, also where it is killed.
    GLib.io_add_watch(0, GLib.IO_HUP, lambda *_: loop.quit())
    sys.stdout.write(emulator.testbed.get_root_dir() + "\n")
    sys.stdout.flush()
    loop.run()
