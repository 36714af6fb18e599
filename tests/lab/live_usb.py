"""A live USB bus made of software, under the real libusb: plug, feed, stall, unplug.

`LiveUsb` starts the emulator (`tests.lab.usb_emulator`), which umockdev shows to
programs that are preloaded: whoever is started with `LiveUsb.environment`. A test is
not one of these, so what it wants done with libusb stands in a *scene*, a function that
`LiveUsb.play` has called in a process of its own with a `UsbBus` to play on; an
assertion that fails there fails here. What a scene leaves behind fails it as well.

Tests that use it are marked ``needs("umockdev")``.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tests.lab.output import Output
from tests.lab.usb_descriptors import Device

ROOT = Path(__file__).parents[2]
PRELOAD = "libumockdev-preload.so.0"
DEADLINE = 20.0
"""Seconds that the emulator has to start, to obey, and to end."""
SCENE_SECONDS = 50.0

Payload = bytes | Literal["stamp", "stall", "noise"]
"""What an endpoint sends: bytes, or the moment it is sent (nanoseconds of the monotonic
clock in 8 bytes), or a STALL, or a transfer that was garbled on the wire."""


class UsbBus:
    """A client of the emulator: the hand that holds the cables."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(DEADLINE)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")

    def close(self) -> None:
        """Let go of the emulator; what is plugged in stays so."""
        self._lines.close()
        self._socket.close()

    def plug(self, port: str, device: Device, **more: Any) -> int:
        """Plug ``device`` into ``port``; return its address, a new one each time.

        ``more``: ``strings`` by index, ``control`` answers in hexadecimal by
        ``"type request"`` ("mute": none), ``echo`` endpoints, kernel ``drivers`` by
        interface, ``busy`` interfaces, sysfs ``attributes``, udev ``properties``,
        ``configured`` (empty for a device without configuration), ``descriptors`` as
        bytes where they are to lie.
        """
        descriptors = more.pop("descriptors", device.pack())
        return int(self._do("plug", port=port, descriptors=descriptors.hex(), **more))

    def unplug(self, port: str) -> None:
        """Pull it out; every transfer in flight ends with that."""
        self._do("unplug", port=port)

    def feed(self, port: str, *payloads: Payload, endpoint: int = 0x81) -> None:
        """Let an endpoint send ``payloads``, one a transfer."""
        made = [
            base64.b64encode(each).decode() if isinstance(each, bytes) else each
            for each in payloads
        ]
        self._do("feed", port=port, endpoint=endpoint, payloads=made)

    def stall(self, port: str, endpoint: int) -> None:
        """Answer STALL on ``endpoint`` until it is cleared."""
        self._do("stall", port=port, endpoint=endpoint)

    def mute(self, port: str, endpoint: int) -> None:
        """Neither take nor give anything on ``endpoint`` until `speak`."""
        self._do("mute", port=port, endpoint=endpoint)

    def speak(self, port: str, endpoint: int) -> None:
        """End `mute`."""
        self._do("speak", port=port, endpoint=endpoint)

    def look(self, port: str) -> dict[str, Any]:
        """Return what was done to the device: ``log``, ``sent``, ``queued``, ``drivers``."""
        found = self._do("look", port=port)
        assert isinstance(found, dict)
        return found

    def done(self, port: str) -> list[list[Any]]:
        """Return what was done to the device, control transfers left out."""
        return [each for each in self.look(port)["log"] if each[0] != "control"]

    def add(self, text: str) -> None:
        """Plug in what is no live USB device, such as a tty, in umockdev's words."""
        self._do("add", text=text)

    def remove(self, *paths: str) -> None:
        """Pull what `add` plugged in, by its paths in /sys, children before parents."""
        for path in paths:
            self._do("pull", path=path)

    def tell_late(self, path: str, **properties: str) -> None:
        """Give the device at ``path`` what udev found out about it by now, and say so."""
        for name, value in properties.items():
            self._do("property", path=path, name=name, value=value)
        self._do("uevent", path=path, action="add")

    def _do(self, order: str, **more: Any) -> Any:
        self._socket.sendall(json.dumps({"do": order, **more}).encode() + b"\n")
        answer = json.loads(self._lines.readline())
        assert "ok" in answer, answer
        return answer["ok"]


class LiveUsb:
    """The emulator's process and its folder; ``with`` ends both."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="usb-"))
        self._process = subprocess.Popen(
            ["umockdev-wrapper", "/usr/bin/python3", "tests/lab/usb_emulator.py", str(self.folder)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(self.folder)},  # its test bed, to go with ours
            stdin=subprocess.PIPE,  # its end is ours
            stdout=subprocess.PIPE,
            text=True,
        )
        self._output = Output(self._process)
        self.bus: UsbBus
        try:
            self.root = self._output.wait_for(lambda line: line.startswith("/"), DEADLINE)
            self.bus = UsbBus(self.folder / "emulator.sock")
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bus.close()
        self._end()

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(DEADLINE)
            raise
        finally:
            self._output.join()
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The emulator's process."""
        return self._process.pid

    @property
    def environment(self) -> dict[str, str]:
        """What a program must have in its environment to see this bus."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return {
            **os.environ,
            "LD_PRELOAD": PRELOAD,
            "UMOCKDEV_DIR": self.root,
            "PYTHONPATH": path,
        }

    def assert_everybody_hears(self) -> None:
        """Fail where two who listen to udev's events have one socket between them.

        umockdev names it by its descriptor's number, which two processes may well share;
        the later of them then hears everything, and the other nothing.
        """
        names = [
            line.split()[-1]
            for line in Path("/proc/net/unix").read_text().splitlines()
            if f"{self.root}/event" in line
        ]
        assert len(names) == len(set(names)), (
            f"{names}: give the routes numbers of devices that lie farther apart"
        )

    def play(
        self, scene: Callable[..., Any], *arguments: Any, seconds: float = SCENE_SECONDS
    ) -> Any:
        """Return what ``scene(bus, *arguments)`` returns in a process that sees this bus.

        ``scene`` is a function of a module; what goes in and out is written in JSON.
        """
        order = {
            "scene": f"{scene.__module__}:{scene.__qualname__}",
            "arguments": arguments,
            "socket": str(self.bus.path),
        }
        result = subprocess.run(
            [sys.executable, "-m", "tests.lab.usb_scene", json.dumps(order)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert result.returncode == 0, f"{scene.__name__}:\n{result.stderr[-8000:]}"
        return json.loads(result.stdout.splitlines()[-1])
