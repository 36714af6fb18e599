r"""Log records for the systemd journal, in its native protocol.

One datagram a record: ``KEY=value`` lines, or, for a value with a newline in
it, ``KEY``, a newline, the length as 64 bits little-endian, and the value. A
record that is larger than a datagram travels as a sealed memory file
(systemd's "Native Journal Protocol").

Nothing here waits. A journal that is absent or full is counted, and the record
goes to standard error, cut to what that takes at once; where not even that has
room it is lost, and counted. Once the journal takes records again the next one
says how many it has missed, as ``GATEWAY_MISSED``.
"""

from __future__ import annotations

import array
import errno
import fcntl
import logging
import os
import select
import socket
import stat
import struct
from collections.abc import Mapping

from gateway.process.whereabouts import Whereabouts, here

SOCKET = "/run/systemd/journal/socket"
"""Where journald listens."""

_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def datagram(fields: Mapping[str, str]) -> bytes:
    r"""Return ``fields`` as journald reads them; empty ones are left out.

    >>> datagram({"MESSAGE": "hello", "PRIORITY": "6", "GATEWAY_DEVICE": ""})
    b'MESSAGE=hello\nPRIORITY=6\n'
    >>> datagram({"MESSAGE": "a\nb"})
    b'MESSAGE\n\x03\x00\x00\x00\x00\x00\x00\x00a\nb\n'
    """
    parts = []
    for name, text in fields.items():
        # What is no Unicode (half a surrogate pair) is still worth reading.
        value = text.encode("utf-8", "backslashreplace")
        if b"\n" in value:
            parts.append(b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(value)), value))
        elif value:
            parts.append(b"%s=%s\n" % (name.encode(), value))
    return b"".join(parts)


def priority(level: int) -> int:
    """Return syslog's number for a level of `logging` (RFC 5424, section 6.2.1).

    >>> priority(logging.WARNING), priority(logging.DEBUG)
    (4, 7)
    """
    return next((number for least, number in _PRIORITIES if level >= least), 7)


def is_the_journal(fd: int, variable: str | None) -> bool:
    """Tell whether ``fd`` is the stream that systemd names in ``$JOURNAL_STREAM``."""
    try:
        device, inode = map(int, (variable or "").split(":"))
        found = os.fstat(fd)
    except (ValueError, OSError):
        return False
    return (found.st_dev, found.st_ino) == (device, inode)


class JournalHandler(logging.Handler):
    """Writes records to the journal's socket at ``path``, else to the descriptor ``stderr``.

    Forked children may go on with it: each opens a socket of its own.
    """

    def __init__(self, identifier: str, *, path: str = SOCKET, stderr: int = 2) -> None:
        super().__init__()
        # `basicConfig` gives one that says the level again to who has none.
        self.setFormatter(logging.Formatter())
        self._identifier = identifier
        self._path = path
        self._stderr = stderr
        self._socket: socket.socket | None = None
        self._owner = 0
        self._missed = 0
        self.sent = 0
        """Records that the journal took."""
        self.fallen_back = 0
        """Records that went to standard error, since the journal was absent or full."""
        self.lost = 0
        """Records that found no room anywhere."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write ``record``, here or there, at once."""
        try:
            fields = self._fields(record)
            if self._missed:
                fields["GATEWAY_MISSED"] = str(self._missed)
            if self._send(datagram(fields)):
                self.sent += 1
                self._missed = 0
                return
            self._missed += 1
            level = fields["PRIORITY"]
            line = f"<{level}>{fields['MESSAGE']}\n".encode("utf-8", "backslashreplace")
            if self._write(line):
                self.fallen_back += 1
            else:
                self.lost += 1
        except Exception:  # noqa: BLE001 - as every handler of logging's: a record breaks nobody
            self.handleError(record)

    def close(self) -> None:
        """Give the socket back."""
        self.acquire()
        try:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
        finally:
            self.release()
        super().close()

    def _fields(self, record: logging.LogRecord) -> dict[str, str]:
        where: Whereabouts = getattr(record, "whereabouts", None) or here()
        return {
            "MESSAGE": self.format(record),
            "PRIORITY": str(priority(record.levelno)),
            "SYSLOG_IDENTIFIER": self._identifier,
            "GATEWAY_PROCESS": where.process,
            "GATEWAY_DEVICE": where.device,
            "MAIL_THREAD": where.mail_thread,
            "LOGGER": record.name,
            "THREAD_NAME": record.threadName or "",
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
        }

    def _send(self, data: bytes) -> bool:
        """Tell whether the journal took ``data``."""
        try:
            used = self._own_socket()
            try:
                used.sendto(data, self._path)
            except OSError as error:
                # What is too long for a datagram the journal takes as a file.
                if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                    raise
                _send_sealed(used, data, self._path)
        except OSError:
            return False
        return True

    def _own_socket(self) -> socket.socket:
        # One that is shared with a parent would be full for both when it is for one.
        if self._socket is None or self._owner != os.getpid():
            if self._socket is not None:
                self._socket.close()
            kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            self._socket = socket.socket(socket.AF_UNIX, kind)
            self._owner = os.getpid()
        return self._socket

    def _write(self, line: bytes) -> bool:
        """Write ``line`` to standard error if there is room at once; tell whether there was."""
        try:
            if stat.S_ISSOCK(os.fstat(self._stderr).st_mode):
                with socket.socket(fileno=os.dup(self._stderr)) as stream:
                    stream.send(line, socket.MSG_DONTWAIT)
                return True
            poller = select.poll()
            poller.register(self._stderr, select.POLLOUT)
            if not any(events & select.POLLOUT for _, events in poller.poll(0)):
                return False
            # As much as a pipe with room is sure to take without a wait.
            os.write(self._stderr, line[: select.PIPE_BUF])
        except OSError:
            return False
        return True


def _send_sealed(used: socket.socket, data: bytes, path: str) -> None:
    descriptor = os.memfd_create("journal-record", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        rights = array.array("i", [descriptor])
        used.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], 0, path)
    finally:
        os.close(descriptor)
