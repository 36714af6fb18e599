"""A fake device, and links to it that are closed when the test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.device.usb import Endpoint, UsbInterface
from routes.usb.place import UsbPlace
from routes.usb.settings import UsbSettings
from routes.usb.usb_link import UsbLink
from tests.routes.usb.fake_backend import FakeBackend

BOTH = UsbInterface(number=0, read=Endpoint(0x81), write=Endpoint(0x02))
PLACE = UsbPlace(1, 5, 0x1209, 0x0001)
SETTINGS = UsbSettings(match={"ID_VENDOR_ID": "1209"}, write_timeout=0.3)

OpenLink = Callable[..., UsbLink]


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def open_link(backend: FakeBackend) -> Iterator[OpenLink]:
    links: list[UsbLink] = []

    def opened(
        wanted: UsbInterface = BOTH, place: UsbPlace = PLACE, settings: Any = SETTINGS, **more: Any
    ) -> UsbLink:
        links.append(UsbLink.open(place, wanted, settings, backend=backend, **more))
        return links[-1]

    yield opened
    for link in links:
        link.close()
