"""Large bodies in sealed memory files: one is kept, and filled anew when nobody has it open."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from gateway.bus import parcels as parcels_module
from gateway.bus.parcels import KEPT, LARGEST, Parcels, contents
from gateway.errors import BodyError, ProtocolError


@pytest.fixture
def parcels() -> Iterator[Parcels]:
    parcels = Parcels()
    yield parcels
    parcels.close()


def file_of(descriptor: int) -> int:
    return os.fstat(descriptor).st_ino


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_file_that_nobody_has_any_more_is_filled_anew(parcels: Parcels) -> None:
    first = parcels.pack(b"first, and longest")
    assert contents(first, 18) == b"first, and longest"
    kept = file_of(first)
    os.close(first)
    second = parcels.pack(b"second")
    assert file_of(second) == kept
    assert contents(second, 6) == b"second"
    os.close(second)


def test_what_somebody_still_reads_is_left_alone(parcels: Parcels) -> None:
    first = parcels.pack(b"first")
    copy = os.dup(first)
    os.close(first)
    second = parcels.pack(b"later")
    assert contents(copy, 5) == b"first"
    assert contents(second, 5) == b"later"
    assert file_of(copy) != file_of(second)
    for descriptor in (copy, second):
        os.close(descriptor)


def test_a_larger_body_gets_a_larger_file(parcels: Parcels) -> None:
    for size in (10, 100_000, 1000, 200_000, KEPT + 1, 5):
        body = os.urandom(size)
        descriptor = parcels.pack(body)
        assert contents(descriptor, size) == body
        os.close(descriptor)


def test_no_more_than_so_much_is_kept(parcels: Parcels) -> None:
    before = open_descriptors()
    descriptor = parcels.pack(bytes(KEPT + 1))
    os.close(descriptor)
    assert open_descriptors() == before
    parcels.close()
    os.close(parcels.pack(bytes(KEPT)))
    assert open_descriptors() == before + 2
    parcels.close()
    parcels.close()
    assert open_descriptors() == before


def test_no_descriptor_writes_and_no_size_changes(parcels: Parcels) -> None:
    descriptor = parcels.pack(b"sealed")
    again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
    with pytest.raises(PermissionError):
        os.write(again, b"broken")
    for size in (0, 100):
        with pytest.raises(PermissionError):
            os.truncate(again, size)
    with pytest.raises(PermissionError):
        fcntl.fcntl(again, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    assert contents(descriptor, 6) == b"sealed"
    for each in (descriptor, again):
        os.close(each)


def test_a_fork_fills_a_file_of_its_own(parcels: Parcels) -> None:
    os.close(parcels.pack(b"parent"))
    told, tell = os.pipe()
    if (child := os.fork()) == 0:
        descriptor = parcels.pack(b"child!")
        os.write(tell, b"%d %s" % (file_of(descriptor), contents(descriptor, 6)))
        os._exit(0)
    os.waitpid(child, 0)
    inode, content = os.read(told, 100).split()
    descriptor = parcels.pack(b"again!")
    assert content == b"child!"
    assert contents(descriptor, 6) == b"again!"
    assert file_of(descriptor) != int(inode)
    for each in (descriptor, told, tell):
        os.close(each)


def test_where_no_lease_is_to_be_had_every_body_gets_a_file(
    parcels: Parcels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETLEASE:
            raise OSError("no leases here")
        return real(descriptor, command, argument)

    real = fcntl.fcntl
    monkeypatch.setattr("gateway.bus.parcels.fcntl.fcntl", refuse)
    for body in (b"one", b"two"):
        descriptor = parcels.pack(body)
        assert contents(descriptor, 3) == body
        os.close(descriptor)


def test_a_lease_that_is_broken_kills_nobody(parcels: Parcels) -> None:
    os.close(parcels.pack(b"kept"))
    sent_when_broken = fcntl.fcntl(parcels._descriptor, fcntl.F_GETSIG)
    assert signal.getsignal(sent_when_broken) is signal.SIG_DFL
    assert sent_when_broken == signal.SIGURG


def test_what_is_larger_than_any_is_refused(parcels: Parcels) -> None:
    with pytest.raises(BodyError, match="the most"):
        parcels.pack(bytes(LARGEST + 1))
    descriptor = parcels.pack(b"small")
    with pytest.raises(ProtocolError, match="short"):
        contents(descriptor, 6)
    os.close(descriptor)


def test_a_file_that_could_not_be_opened_again_costs_nobody_elses_descriptor(
    parcels: Parcels, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.close(parcels.pack(b"first"))
    kept = parcels._descriptor
    opened = parcels_module._opened_again

    def exhausted(descriptor: int) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(parcels_module, "_opened_again", exhausted)
    with pytest.raises(OSError, match="too many"):
        parcels.pack(b"a longer one")
    monkeypatch.setattr(parcels_module, "_opened_again", opened)
    # Somebody else is given the number meanwhile.
    ours, theirs = socket.socketpair()
    os.dup2(ours.fileno(), kept)
    try:
        os.close(parcels.pack(b"the next one"))
        parcels.close()
        os.write(kept, b"still there")
        assert theirs.recv(64) == b"still there"
    finally:
        os.close(kept)
        ours.close()
        theirs.close()
