"""What the configuration may say about the front door."""

from __future__ import annotations

import msgspec
import pytest

from routes.unix_socket.settings import Guest, Settings


def read(**values):
    return msgspec.convert(values, Settings)


def test_the_defaults_let_nobody_else_in():
    assert read().allow == ()
    assert read().observers == ()


def test_users_are_numbers_or_names():
    allow = [{"user": "kiosk", "to": "*@serial", "subject": "led"}, {"user": 1000, "to": "main"}]
    settings = read(path="/run/x/y.sock", allow=allow, observers=[0, "panel"])
    assert settings.allow[0] == Guest(user="kiosk", to="*@serial", subject="led")
    assert settings.allow[1].subject == "*"


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"pth": "/x"}, "pth"),
        ({"path": "relative"}, "path"),
        ({"path": "/run/folder/"}, "path"),
        ({"allow": [{"to": "main"}]}, "user"),
        ({"allow": [{"user": 1000}]}, "to"),
        ({"allow": [{"user": -1, "to": "main"}]}, "user"),
        ({"allow": [{"user": "two words", "to": "main"}]}, "user"),
        ({"observers": [True]}, "observers"),
        ({"max_clients": 0}, "max_clients"),
        ({"max_line": 1 << 30}, "max_line"),
    ],
)
def test_a_mistake_says_where_it_is(values, where):
    with pytest.raises(msgspec.ValidationError, match=where):
        read(**values)
