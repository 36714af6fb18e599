"""What may be configured for a USB device."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from routes.usb.settings import UsbSettings


def test_a_match_or_a_simulated_device_is_enough() -> None:
    settings = msgspec.convert({"match": {"idVendor": "05e0"}}, UsbSettings)
    assert settings.detach
    assert not settings.reset
    assert msgspec.convert({"simulated": "/tmp/scanner"}, UsbSettings).simulated


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "say which device, such as match"),
        ({"match": {}}, "say which device"),
        ({"match": {"idVendor": "1"}, "simulated": "/tmp/x"}, "not both"),
        ({"match": {"id vendor": "1"}}, "is no key to match by"),
        ({"simulated": "scanner"}, "a whole path"),
        ({"match": {"idVendor": "1"}, "write_timeout": 0}, "write_timeout"),
        ({"match": {"idVendor": "1"}, "endpoint": 1}, "endpoint"),
        ({"match": {"idVendor": 1}}, "str"),
    ],
)
def test_what_is_wrong_is_named(table: dict[str, Any], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(table, UsbSettings)
