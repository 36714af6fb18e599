"""What ``[routes.mqtt.mail]`` may hold."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest

from routes.mqtt.mail_settings import MailAccess
from routes.mqtt.settings import Settings


def settings(text: str) -> Any:
    return msgspec.convert(tomllib.loads(text), Settings).mail


def test_without_the_table_no_mail_goes_between_gateways() -> None:
    assert settings("") is None


def test_a_table_is_read_whole() -> None:
    mail = settings("""
        [mail]
        offline = "bounce"
        allow = [{ from = "*@kitchen-pi", to = "main", subject = "dinner*" }]
        [mail.peers.kitchen-pi]
        offline = "spool"
        [mail.peers.attic-pi]
    """)
    assert [mail.when_offline(node) for node in ("kitchen-pi", "attic-pi", "x")] == [
        "spool",
        "bounce",
        "bounce",
    ]
    access = MailAccess(mail.allow)
    assert access.allows("cook@kitchen-pi", "main", "dinner is ready")
    assert not access.allows("cook@kitchen-pi", "main", "lunch")
    assert not access.allows("cook@kitchen-pi", "mains", "dinner")
    assert not access.allows("cook@kitchen-pi.evil", "main", "dinner")


@pytest.mark.parametrize(
    "text",
    [
        "mail = { offline = 'wait' }",
        "mail = { allow = [{ to = 'main' }] }",
        "mail = { only_peers = true }",
        "mail = { patience = 121 }",
        "mail = { peers = { 'a b' = {} } }",
        "mail = { alow = [] }",
    ],
)
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        settings(text)
