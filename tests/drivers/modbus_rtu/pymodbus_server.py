"""pymodbus's own serial server, as a program: one slave behind the port that it is given.

It says ``ready`` when it listens, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys

from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice


async def serve(port: str) -> None:
    """Serve ``port`` until standard input ends."""
    device = SimDevice(
        7,
        (
            [SimData(0, count=16, values=False, datatype=DataType.BITS)],
            [SimData(0, count=16, values=[True, False] * 8, datatype=DataType.BITS)],
            [
                SimData(0, values=[215, 0], datatype=DataType.REGISTERS),
                SimData(2, values=12.5, datatype=DataType.FLOAT32),
            ],
            [SimData(0, values=-42, datatype=DataType.INT16)],
        ),
    )
    server = ModbusSerialServer(device, framer=FramerType.RTU, port=port, baudrate=115200)
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
