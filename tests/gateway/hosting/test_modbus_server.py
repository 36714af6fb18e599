"""Frames that silence ends, spoken with a real Modbus server on a real terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import tty
from collections.abc import Iterator

import pytest

from gateway.device import Identity, Link, command
from gateway.errors import LinkLostError
from gateway.framing import Silent, checksums
from gateway.testing.fake_link import FakeLink
from tests.gateway.hosting.conftest import Board

SERVER = """
import sys
from pymodbus.server import StartSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice
registers = SimData(0, values=list(range(200)), datatype=DataType.REGISTERS)
StartSerialServer(SimDevice(1, registers), port=sys.argv[1], baudrate=115200)
"""
# Far more than Modbus asks for: bytes come through two processes on a busy machine.
RTU = Silent(0.03, limit=254, checksum=checksums.CRC16_MODBUS)


class Registers(Board):
    """A Modbus server with 200 registers, each holding its own number."""

    framing = RTU  # type: ignore[assignment]

    def handshake(self) -> Identity:
        """Read one register."""
        return Identity(firmware=str(self.ask(b"\x01\x03\x00\x07\x00\x01")[-1]))

    def answers(self, request: bytes, frame: bytes) -> bool:
        """Say whether server and function are those of the request, or refuse it."""
        return frame[:1] == request[:1] and frame[1] & 0x7F == request[1]

    @command
    def read(self, first: int, count: int) -> list[int]:
        """Read ``count`` holding registers (function 3)."""
        request = b"\x01\x03" + first.to_bytes(2, "big") + count.to_bytes(2, "big")
        answer = self.ask(request, timeout=5.0)
        return [int.from_bytes(answer[at : at + 2], "big") for at in range(3, len(answer), 2)]


class MasterLink(FakeLink):
    """The terminal's other end, as a link."""

    def __init__(self, master: int) -> None:
        Link.__init__(self)
        self._master = master

    def fileno(self) -> int:
        return self._master

    def read(self) -> bytes:
        try:
            return os.read(self._master, 4096)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise LinkLostError(str(error)) from error

    def write(self, data: bytes) -> None:
        assert os.write(self._master, data) == len(data)

    def close(self) -> None:
        pass


@pytest.fixture
def server_link() -> Iterator[MasterLink]:
    """Start the server; it is ready when it answers."""
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        os.set_blocking(master, False)
        with subprocess.Popen([sys.executable, "-c", SERVER, os.ttyname(slave)]) as server:
            try:
                yield MasterLink(master)
            finally:
                server.kill()
    finally:
        os.close(slave)
        os.close(master)


def test_registers_are_read_from_a_real_server(make_rig, server_link: MasterLink) -> None:
    rig = make_rig(Registers, handshake_within=30.0)
    rig.opener.make = lambda: server_link
    rig.thread.start()
    rig.outside.wait_event("board", "connected", seconds=30.0)
    for first, count in ((0, 1), (10, 100), (75, 125), (0, 2)):
        expected = list(range(first, first + count))
        assert rig.call("read", {"first": first, "count": count}) == expected
    assert rig.thread.statistics().noise == 0
