"""Who may do what."""

from __future__ import annotations

import os
import pwd

import pytest

from gateway.errors import RefusedError
from routes.unix_socket.rights import Rights, uid_of
from routes.unix_socket.settings import Guest

NAMES = {"kiosk": 1000, "panel": 1001}


def make() -> Rights:
    return Rights(
        {0, 900},
        [Guest(user="kiosk", to="*@serial", subject="led"), Guest(user=1002, to="main")],
        ["panel"],
        find=NAMES.get,
    )


@pytest.mark.parametrize("uid", [0, 900])
def test_trusted_users_may_do_everything(uid: int) -> None:
    make().check_send(uid, "boss", "anything")
    make().check_look(uid, "tail")


@pytest.mark.parametrize(
    ("uid", "to", "subject"), [(1000, "board@serial", "led"), (1002, "main", "whatever")]
)
def test_a_guest_may_write_what_is_allowed(uid: int, to: str, subject: str) -> None:
    make().check_send(uid, to, subject)


@pytest.mark.parametrize(
    ("uid", "to", "subject"),
    [
        (1000, "board@serial", "reset"),
        (1000, "main", "led"),
        (1002, "board@serial", "led"),
        (1001, "board@serial", "led"),
        (4242, "main", "stop"),
    ],
)
def test_everything_else_is_refused_with_what_to_do(uid: int, to: str, subject: str) -> None:
    with pytest.raises(RefusedError, match=rf"user {uid} may not.*routes\.unix_socket\.allow"):
        make().check_send(uid, to, subject)


def test_only_observers_may_look() -> None:
    make().check_look(1001, "ps")
    for uid in (1000, 1002, 4242):
        with pytest.raises(RefusedError, match="observers"):
            make().check_look(uid, "ps")


def test_what_shows_or_changes_everything_is_for_the_trusted_alone() -> None:
    for uid in (0, 900):
        make().check_trusted(uid, "tap")
    for uid in (1000, 1001, 4242):
        with pytest.raises(RefusedError, match=rf"'tap' is not open to user {uid}"):
            make().check_trusted(uid, "tap")


def test_a_name_that_nobody_bears_is_granted_nothing_and_named() -> None:
    rights = Rights((), [Guest(user="ghost", to="*")], ["ghost"], find=NAMES.get)
    assert rights.unknown == ["ghost"]


def test_names_are_those_of_this_machine() -> None:
    user = pwd.getpwuid(os.getuid())
    assert uid_of(user.pw_name) == user.pw_uid
    assert uid_of("no-such-user-here") is None
