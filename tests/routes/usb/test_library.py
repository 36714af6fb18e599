"""A machine without libusb says what to install, and is asked again."""

from __future__ import annotations

import pytest
import usb.backend.libusb1

from gateway.errors import LinkLostError
from routes.usb.library import library
from routes.usb.usb_link import UsbOpener
from tests.routes.usb.conftest import BOTH, PLACE, SETTINGS


def test_without_libusb_the_text_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = [None, None, object()]
    monkeypatch.setattr(usb.backend.libusb1, "get_backend", lambda: found.pop(0))
    with pytest.raises(LinkLostError, match=r"sudo apt install libusb-1\.0-0"):
        library()
    with pytest.raises(LinkLostError, match=r"sudo apt install libusb-1\.0-0"):
        UsbOpener(SETTINGS)(PLACE, BOTH)
    assert library() is not None
    assert caplog.text == ""
