"""Become the external program; run as a script, by path, in an interpreter of its own.

``python -I -S external_launch.py <socket> <parent> <command…>``: puts the
socket where it was promised, has the kernel send a TERM should the gateway be
killed, gives signals back their defaults, and executes the command. It must
import nothing but what is built in, and nothing imports it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
SOCKET = 3
"""The descriptor of the socket in every program; one digit, as some shells want it."""


def launch(socket: int, parent: int, command: list[str]) -> int:
    """Execute ``command``; return 127 where that fails, as a shell does."""
    if socket != SOCKET:
        os.dup2(socket, SOCKET)
        os.close(socket)
    os.set_inheritable(SOCKET, True)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return 1
    # What this interpreter ignores would be ignored by the program as well.
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]} cannot be run: {error.strerror}\n".encode())
    return 127


if __name__ == "__main__":
    sys.exit(launch(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
