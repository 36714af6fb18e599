"""Datagrams between OS processes: names, large bodies, full sockets, dead peers."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.inlet import Inlet, new_buffer
from gateway.bus.lanes import Policy
from gateway.bus.mailbox import Mailbox
from gateway.bus.outlets import outlet_to
from gateway.bus.parcels import LARGEST
from gateway.bus.pump import Pump
from gateway.bus.wire import INLINE, Folder, Outlet, socket_name
from gateway.errors import BodyError, MailboxFullError, RecipientGoneError
from gateway.mail.body import register
from gateway.mail.message import Message

Make = Callable[..., Message]
Boxes = Callable[..., Mailbox]
Outlets = Callable[..., Outlet]

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


# Names


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), st.integers(1, 10**9))
def test_every_name_makes_a_short_plain_file_name(name: str, incarnation: int) -> None:
    for lane in ("mail", "urgent"):
        made = socket_name(name, incarnation, lane)
        assert len(made) <= 90
        assert made.isascii()
        assert "/" not in made
        assert made not in (".", "..")


def test_no_two_mailboxes_share_a_file() -> None:
    names = ["a", "a.1", "a.1.urgent", "a/b", "a%2Fb", "é", "x" * 200, "x" * 201, "x" * 40, "~"]
    made = [
        socket_name(name, incarnation, lane)
        for name in names
        for incarnation in (1, 2, 11)
        for lane in ("mail", "urgent")
    ]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("name", ["plant/soil", "..", "x" * 250, "naïve name", "%", "a\\b"])
def test_a_mailbox_of_any_name_gets_its_mail(
    letter: Make, box: Boxes, outlet: Outlets, name: str
) -> None:
    target = box(name)
    outlet(name).deliver(letter("hello"))
    assert target.get(5.0).subject == "hello"  # type: ignore[union-attr]


def test_a_folder_may_lie_as_deep_as_it_likes(letter: Make, tmp_path: Path) -> None:
    folder = Folder(tmp_path.joinpath(*["a-long-folder-name"] * 20))
    try:
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        with folder.bind("worker.1"):
            Outlet(folder, "worker", 1).deliver(letter())
        assert folder.clean() == 1
        assert not list(folder.path.iterdir())
    finally:
        folder.close()


# Large bodies


@pytest.mark.parametrize("size", [INLINE - 500, INLINE, INLINE + 1, 200_000, 6_000_000])
def test_a_body_of_any_size_arrives_whole(
    letter: Make, box: Boxes, outlet: Outlets, size: int
) -> None:
    target = box()
    body = {"data": os.urandom(size), "text": "é"}
    outlet().deliver(letter(body=body))
    outlet().deliver(letter("next"))
    assert target.get(5.0).body == body  # type: ignore[union-attr]
    assert target.get(5.0).subject == "next"  # type: ignore[union-attr]


@register
class Picture(msgspec.Struct, frozen=True):
    """Large, and registered."""

    pixels: str


def test_a_large_struct_arrives_as_what_it_was(box: Boxes, letter: Make, outlet: Outlets) -> None:
    target = box()
    outlet().deliver(letter(body=Picture("x" * INLINE), body_type="Picture"))
    assert target.get(5.0).body == Picture("x" * INLINE)  # type: ignore[union-attr]


@pytest.mark.parametrize("policy", ["block", "reject", "drop_oldest"])
@pytest.mark.parametrize("kind", ["letter", "reply", "bounce"])
def test_what_is_too_large_for_a_small_buffer_of_the_kernels_goes_beside(
    letter: Make, box: Boxes, folder: Folder, pump: Pump, policy: Policy, kind: Any
) -> None:
    target, out = box(), outlet_to(folder, "worker", 1, policy, pump)
    for lane in ("mail", "urgent"):
        out.socket_for(lane).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    for body in ({"text": "x" * 40_000}, b"y" * 40_000, "small"):
        out.deliver(letter(kind=kind, body=body))
        assert target.get(5.0).body == body  # type: ignore[union-attr]


def test_what_cannot_even_go_beside_in_a_small_buffer_is_told_of(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    box()
    out = outlet()
    out.socket_for("mail").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    body: Any
    for body in ({}, b"", bytes(INLINE + 1)):
        with pytest.raises(BodyError, match=r"raise net\.core\.wmem_default"):
            out.deliver(letter("x" * 20_000, body=body))


def test_large_bodies_one_after_the_other_do_not_mix(
    box: Boxes, letter: Make, outlet: Outlets
) -> None:
    target, out = box(), outlet()
    bodies = [bytes([number]) * (INLINE + 1000 - number) for number in range(5)]
    for body in bodies[:2]:
        out.deliver(letter(body=body))
    found = [target.get(5.0).body]  # type: ignore[union-attr]
    for body in bodies[2:]:
        out.deliver(letter(body=body))
        found.append(target.get(5.0).body)  # type: ignore[union-attr]
    found.append(target.get(5.0).body)  # type: ignore[union-attr]
    assert found == bodies


def test_a_large_body_leaves_no_descriptor_wherever_it_ends(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    target, out = box(), outlet()
    out.deliver(letter())
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        out.deliver(letter(body=bytes(INLINE + 1)))
    while out.try_send(letter(body=bytes(INLINE + 1)), "mail"):
        pass
    assert target.get(5.0) is not None
    target.close()
    with pytest.raises(RecipientGoneError):
        out.deliver(letter(body=bytes(INLINE + 1)))
    assert len(os.listdir("/proc/self/fd")) <= before


def test_what_no_mailbox_takes_is_refused_by_the_sender(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    target = box()
    with pytest.raises(BodyError, match="the most"):
        outlet().deliver(letter(body=bytes(LARGEST + 1)))
    for size in (100_000, 150_000, 1_000_000):
        with pytest.raises(BodyError, match="the most"):
            outlet().deliver(letter("x" * size))
        with pytest.raises(BodyError, match="the most"):
            outlet().deliver(letter(headers={"big": "x" * size}))
    with pytest.raises(BodyError, match="no Unicode"):
        outlet().deliver(letter(body="\ud800"))
    assert target.get(0.0) is None
    assert target.statistics().garbage == 0


@pytest.mark.parametrize("places", [0, 1, 2])
def test_a_large_letter_waits_for_room_and_is_announced_once(
    letter: Make, folder: Folder, places: int
) -> None:
    inlet = Inlet(folder.bind(socket_name("worker", 1, "mail")), new_buffer())
    out = Outlet(folder, "worker", 1)
    sent = fill(out, letter())
    for _ in range(places):
        assert inlet.read() is not None
    tries = 1
    while not out.try_send(letter("large", body="x" * INLINE), "mail"):
        assert inlet.read() is not None
        places += 1
        tries += 1
    # One place is for the announcement, one for the letter.
    assert (tries, places) in [(1, 2), (2, 2), (3, 2)]
    found = [message.subject for message in iter(inlet.read, None)]
    assert found == ["hello"] * (sent - places) + ["large"]
    # It looks for descriptors no more.
    assert inlet._awaited == 0
    inlet.close()


def test_who_is_interrupted_after_a_large_letter_left_announces_the_next(
    letter: Make, box: Boxes, outlet: Outlets, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interruption(BaseException):
        """As a signal handler raises it."""

    def interrupted(descriptor: int) -> None:
        monkeypatch.undo()
        os.close(descriptor)
        raise Interruption

    target, out = box(), outlet()
    # From now on the first that is closed is what was sent.
    out.deliver(letter(body="0" * INLINE))
    assert target.get(5.0) is not None
    monkeypatch.setattr("gateway.bus.wire.os.close", interrupted)
    with pytest.raises(Interruption):
        out.deliver(letter(body="1" * INLINE))
    out.deliver(letter(body="2" * INLINE))
    assert [target.get(5.0).body[0] for _ in range(2)] == ["1", "2"]  # type: ignore[union-attr]
    assert target.statistics().garbage == 0


def test_a_fork_does_not_use_up_what_its_parent_announced(
    letter: Make, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    inlet = Inlet(folder.bind(socket_name("worker", 1, "mail")), new_buffer())
    out = Outlet(folder, "worker", 1)
    fill(out, letter())
    assert inlet.read() is not None
    # There is room for the announcement alone.
    assert not out.try_send(letter(body="x" * INLINE), "mail")
    while inlet.read() is not None:
        pass
    parents = out._announced.copy()
    with monkeypatch.context() as fork:
        fork.setattr("gateway.bus.wire.os.getpid", lambda: -1)
        assert out.try_send(letter(body="child's" * INLINE), "mail")
    # What the child did to its copy the parent does not see.
    out._announced[:] = parents
    assert out.try_send(letter(body="parent's" * INLINE), "mail")
    found = list(iter(inlet.read, None))
    assert [message.body[:6] for message in found] == ["child'", "parent"]
    inlet.close()


# Full sockets and dead peers


def fill(out: Outlet, message: Message, lane: Any = "mail") -> int:
    sent = 0
    while out.try_send(message, lane):
        sent += 1
    assert sent > 0
    return sent


def test_a_full_socket_refuses_at_the_deadline_and_does_not_spin(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    box()
    fill(outlet(), letter())
    before = os.times()
    with pytest.raises(MailboxFullError, match=r"took no mail for 0\.3 s"):
        outlet().deliver(letter(), 0.3)
    after = os.times()
    assert after.user + after.system - before.user - before.system < 0.15, "it spun"


def test_a_full_socket_takes_the_letter_as_soon_as_there_is_room(
    letter: Make, box: Boxes, outlet: Outlets, run: Any
) -> None:
    target = box()
    sent = fill(outlet(), letter())
    writer = run(lambda: outlet().deliver(letter("last"), 10.0))
    got = [target.get(5.0).subject for _ in range(sent + 1)]  # type: ignore[union-attr]
    writer.result()
    assert got == ["hello"] * sent + ["last"]


def test_a_stuck_reader_does_not_hold_up_third_parties(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    idle = box("idle")
    for name, large in (("stuck", b""), ("very stuck", bytes(60_000))):
        box(name)
        fill(outlet(name), letter(body=large))
        outlet("idle").deliver(letter("through"), 0.0)
        assert idle.get(5.0).subject == "through"  # type: ignore[union-attr]


def test_full_mail_does_not_hold_up_replies(letter: Make, box: Boxes, outlet: Outlets) -> None:
    target = box()
    out = outlet()
    fill(out, letter())
    out.deliver(letter("bounce", kind="bounce"), 0.0)
    assert target.get(5.0) is not None


def test_mail_that_waits_in_full_sockets_is_bounded(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    box()
    assert fill(outlet(), letter()) <= 64


@pytest.mark.parametrize("how", ["never there", "closed", "closed while it was full", "unlinked"])
def test_a_dead_peer_is_a_typed_error_at_once(
    letter: Make, box: Boxes, outlet: Outlets, folder: Folder, run: Any, until: Any, how: str
) -> None:
    out = outlet()
    if how != "never there":
        target = box()
        out.deliver(letter())
    if how == "closed while it was full":
        fill(out, letter())
        writer = run(lambda: out.deliver(letter(), 60.0))
        pause = select.poll()
        pause.poll(20)
        target.close()
        with pytest.raises(
            RecipientGoneError, match="'worker' is gone: nobody reads its mail any more"
        ):
            writer.result()
    elif how != "never there":
        target.close()
        if how == "unlinked":
            folder.unlink(socket_name("worker", 1, "mail"))
            out = outlet()
    for kind in ("letter", "bounce", "control"):
        with pytest.raises(RecipientGoneError):
            out.deliver(letter(kind=kind), 60.0)


def test_a_letter_never_reaches_a_successor(letter: Make, box: Boxes, outlet: Outlets) -> None:
    first, out = box(incarnation=1), outlet(incarnation=1)
    out.deliver(letter())
    first.close()
    second = box(incarnation=2)
    with pytest.raises(RecipientGoneError):
        out.deliver(letter())
    assert second.get(0.0) is None


def test_outlets_give_their_descriptors_back(letter: Make, box: Boxes, outlet: Outlets) -> None:
    target = box()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        outlet().deliver(letter())
        outlet().deliver(letter(kind="bounce"))
        assert target.get(5.0) is not None
        assert target.get(5.0) is not None
    assert len(os.listdir("/proc/self/fd")) == before
