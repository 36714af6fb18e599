"""What ``[routes.mqtt.mail]`` may hold."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest

from routes.mqtt.mail_settings import MailAccess, MailRule
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


def test_nobody_passes_for_another_by_what_it_says_its_senders_are_called() -> None:
    access = MailAccess((MailRule(sender="main@kitchen-*", to="*"),))
    assert access.allows("main@kitchen-1", "oven", "heat")
    assert not access.allows("main@kitchen-1@evil", "oven", "heat")
    assert not access.allows("wheels@main@kitchen-1", "oven", "heat")
    devices = MailAccess((MailRule(sender="*@serial@kitchen-*", to="*"),))
    assert devices.allows("wheels@serial@kitchen-1", "oven", "heat")
    assert not devices.allows("wheels@serial@kitchen-1@evil", "oven", "heat")


def test_a_glob_without_a_node_is_matched_with_name_and_node_together() -> None:
    access = MailAccess((MailRule(sender="main*", to="*"),))
    assert access.allows("main@kitchen-1", "oven", "heat")
    assert not MailAccess((MailRule(sender="main", to="*"),)).allows("main@x", "oven", "heat")


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
