"""Addresses are cut at the last @ and refused where they cannot be one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import AddressError
from gateway.mail.address import LIMIT, Address

parts = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x24F).filter(str.isprintable),
    min_size=1,
    max_size=40,
)


@given(parts, parts.filter(lambda part: "@" not in part))
def test_what_is_put_together_is_cut_again(local: str, route: str) -> None:
    address = Address.parse(f"{local}@{route}")
    assert address == (local, route)
    assert address.mailbox == route
    assert Address.parse(str(address)) == address


@given(parts.filter(lambda part: "@" not in part))
def test_a_name_is_its_own_mailbox(name: str) -> None:
    assert Address.parse(name) == (name, "")
    assert Address.parse(name).mailbox == name
    assert str(Address.parse(name)) == name


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except AddressError:
        return
    assert str(address) == text
    assert address.mailbox


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "@",
        "a@",
        "@b",
        "a@@",
        "a\nb",
        "a\0@b",
        "\x7f",
        "\ud800",
        "x" * 256,
        "é" * 128,
        None,
        5,
        b"a",
    ],
)
def test_what_is_no_address_is_refused(wrong: Any) -> None:
    with pytest.raises(AddressError):
        Address.parse(wrong)


def test_the_longest_address_stands() -> None:
    assert Address.parse("x" * LIMIT).local == "x" * LIMIT
