"""What is read of a socket: letters, large bodies beside them, and what is neither."""

from __future__ import annotations

import array
import fcntl
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.bus.inlet import Inlet, new_buffer
from gateway.bus.mailbox import Mailbox
from gateway.bus.parcels import LARGEST
from gateway.bus.wire import ANNOUNCEMENT, BESIDE, INLINE, Folder, Outlet, socket_name
from gateway.mail.codec import encode
from gateway.mail.message import Message

Make = Callable[..., Message]
Boxes = Callable[..., Mailbox]
Outlets = Callable[..., Outlet]

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def memory_file(data: bytes, seals: int) -> int:
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, data)
    if seals:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


@pytest.mark.parametrize(
    "attack",
    [
        "unsealed",
        "half sealed",
        "a plain file",
        "a pipe",
        "two files",
        "no letter beside it",
        "garbage in it",
        "empty",
        "too large",
        "shorter than it should be",
        "less than nothing of it",
        "no size beside it",
        "not said to be beside it",
        "not announced",
        "a long envelope",
    ],
)
def test_a_wrong_large_body_is_garbage_and_leaves_no_descriptor(
    letter: Make, box: Boxes, outlet: Outlets, folder: Folder, tmp_path: Path, attack: str
) -> None:
    target = box()
    outlet().deliver(letter("warm"))
    assert target.get(5.0) is not None
    before = len(os.listdir("/proc/self/fd"))
    body = encode("body")
    envelope = encode(letter(body=[len(body), False], body_type=BESIDE))
    opened = []
    if attack == "a plain file":
        path = tmp_path / "body"
        path.write_bytes(body)
        opened.append(os.open(path, os.O_RDONLY))
    elif attack == "a pipe":
        opened.extend(os.pipe())
    else:
        seals = {"unsealed": 0, "half sealed": fcntl.F_SEAL_SHRINK}.get(attack, SEALS)
        content = {"garbage in it": b"\xc1", "empty": b""}.get(attack, body)
        if attack == "too large":
            envelope = encode(letter(body=[LARGEST + 1, True], body_type=BESIDE))
            descriptor = memory_file(b"", 0)
            os.truncate(descriptor, LARGEST + 1)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
            opened.append(descriptor)
        else:
            opened.append(memory_file(content, seals))
    if attack == "two files":
        opened.append(memory_file(body, SEALS))
    if attack == "no letter beside it":
        envelope = b"garbage"
    if attack == "shorter than it should be":
        envelope = encode(letter(body=[len(body) + 1, False], body_type=BESIDE))
    if attack == "less than nothing of it":
        envelope = encode(letter(body=[-1, True], body_type=BESIDE))
    if attack == "no size beside it":
        envelope = encode(letter(body_type=BESIDE))
    if attack == "not said to be beside it":
        envelope = encode(letter(body=[len(body), False]))
    if attack == "a long envelope":
        envelope = encode(letter("x" * 150_000))
    sent = opened if attack == "two files" else opened[:1]
    with folder.connect(socket_name("worker", 1, "mail")) as rogue:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", sent))]
        if attack != "not announced":
            rogue.send(ANNOUNCEMENT)
        rogue.sendmsg([envelope], rights)
    for descriptor in opened:
        os.close(descriptor)
    outlet().deliver(letter("real"))
    assert target.get(5.0).subject == "real"  # type: ignore[union-attr]
    assert target.statistics().garbage == 1
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_was_announced_and_never_came_holds_up_nothing(
    letter: Make, box: Boxes, outlet: Outlets, folder: Folder
) -> None:
    target = box()
    with folder.connect(socket_name("worker", 1, "mail")) as killed:
        killed.send(ANNOUNCEMENT)
        killed.send(ANNOUNCEMENT)
    assert target.get(0.0) is None
    for body in ("small", "x" * INLINE, "small", b"x" * (INLINE + 1)):
        outlet().deliver(letter(body=body))
        assert target.get(5.0).body == body  # type: ignore[union-attr]
    assert target.statistics().garbage == 0


def test_who_reads_after_the_dead_finds_what_was_announced_to_them(
    letter: Make, folder: Folder
) -> None:
    with folder.bind(socket_name("worker", 1, "mail")) as ours:
        out = Outlet(folder, "worker", 1)
        out.deliver(letter(body="x" * INLINE))
        # Somebody read this far, and was killed.
        assert ours.recv(1) == ANNOUNCEMENT
        heir = Inlet(ours.dup(), new_buffer(), wary=True)
        found = list(heir.rest())
        heir.close()
    assert [each.body for each in found if each is not None] == ["x" * INLINE]


def test_a_letter_that_was_cut_short_is_garbage(
    letter: Make, box: Boxes, outlet: Outlets, folder: Folder
) -> None:
    target = box()
    with folder.connect(socket_name("worker", 1, "mail")) as rogue:
        rogue.send(encode(letter("x" * 150_000)))
    outlet().deliver(letter("real"))
    assert target.get(5.0).subject == "real"  # type: ignore[union-attr]
    assert target.statistics().garbage == 1


def test_garbage_uses_up_nobodys_announcement(
    letter: Make, box: Boxes, outlet: Outlets, folder: Folder
) -> None:
    target, body = box(), b"x" * (INLINE + 1)
    with folder.connect(socket_name("worker", 1, "mail")) as honest:
        honest.send(ANNOUNCEMENT)
        with folder.connect(socket_name("worker", 1, "mail")) as rogue:
            file = memory_file(b"", SEALS)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
            rogue.sendmsg([b"garbage"], rights)
            os.close(file)
        file = memory_file(body, SEALS)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
        honest.sendmsg([encode(letter(body=[len(body), True], body_type=BESIDE))], rights)
        os.close(file)
    assert target.get(5.0).body == body  # type: ignore[union-attr]
    assert target.statistics().garbage == 1
