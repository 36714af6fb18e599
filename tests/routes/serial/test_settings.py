"""What may be configured for a serial port, and what is refused before anything is opened."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from routes.serial.settings import AUTO, SerialSettings


def load(**values: Any) -> SerialSettings:
    return msgspec.convert(values, SerialSettings)


def test_a_port_is_all_that_is_needed() -> None:
    settings = load(port="/dev/ttyACM0")
    assert (settings.baud, settings.bytesize, settings.parity, settings.stopbits) == (
        *(115200, 8, "N"),
        1,
    )
    assert settings.exclusive
    assert settings.write_timeout == 1.0
    assert not settings.is_socket


@pytest.mark.parametrize(
    ("port", "address"),
    [
        ("socket://127.0.0.1:4000", ("127.0.0.1", 4000)),
        ("socket://[::1]:4000", ("::1", 4000)),
        ("rfc2217://127.0.0.1:4000", ("127.0.0.1", 4000)),
        ("socket://port-server.example:65535", ("port-server.example", 65535)),
    ],
)
def test_a_port_server_is_host_and_port(port: str, address: tuple[str, int]) -> None:
    assert load(port=port).socket_address() == address


@pytest.mark.parametrize(
    "port",
    [
        *("", "ttyACM0", "./ttyACM0", "COM1", "rfc2217://host", "loop://", "socket:/host:1"),
        *("socket://", "socket://host", "socket://:4000", "socket://host:0", "socket://host:65536"),
        *("socket://host:x", "socket://host:1/x", "socket://host:1?logging=debug", "socket://[::1"),
        "socket://me@host:1",
    ],
)
def test_any_other_port_is_refused_with_what_would_be_right(port: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="not '"):
        load(port=port)


@pytest.mark.parametrize(
    "values",
    [
        {"baud": 0},
        {"baud": "115200"},
        {"bytesize": 9},
        {"parity": "n"},
        {"stopbits": 3},
        {"write_timeout": 0},
        {"write_timeout": 3600},
        {"connect_timeout": -1},
        {"exclusive": 1},
        {"speed": 9600},
        {"baud": "fast"},
        {"baud": []},
        {"baud": [9600, 12]},
        {"rs485": True},
        {"rs485": {"delay_before_send": 3}},
        {"reset": {"line": "cts"}},
        {"reset": {"seconds": 60}},
    ],
)
def test_a_mistyped_setting_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        load(port="/dev/ttyACM0", **values)


def test_a_device_may_be_found_by_what_it_is() -> None:
    settings = load(match={"ID_VENDOR_ID": "2341", "@serial": "A*"})
    assert settings.match == {"ID_VENDOR_ID": "2341", "@serial": "A*"}
    assert not settings.is_socket


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "at a port, or is found by a match: give one of them"),
        ({"match": {}}, "give one of them"),
        ({"port": "/dev/ttyACM0", "match": {"ID_BUS": "usb"}}, "give one of them, not '/dev/tty"),
        ({"match": {"@": "usb"}}, "'@' is no key to match by"),
        ({"match": {"idVendor": 2341}}, "Expected `str`, got `int`"),
    ],
)
def test_it_is_either_a_port_or_a_match(values: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        load(**values)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("baud", "rates"), [(9600, (9600,)), ("auto", AUTO), ([9600, 250000], (9600, 250000))]
)
def test_a_rate_is_known_or_to_be_found_among_several(baud: object, rates: tuple[int, ...]) -> None:
    assert load(port="/dev/ttyUSB0", baud=baud).rates == rates


def test_the_likely_rates_are_no_more_than_a_list_may_hold() -> None:
    assert load(port="/dev/ttyUSB0", baud=list(AUTO)).rates == AUTO


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"baud": [9600, 9600]}, "names a rate twice: 9600, 9600"),
        ({"port": "socket://host:1", "baud": "auto"}, "or use rfc2217://"),
        ({"rtscts": True, "xonxoff": True}, "choose one of"),
        ({"dsrdtr": True}, "wire the board for rtscts or use xonxoff"),
        ({"rs485": {}, "rtscts": True}, "leave rtscts and rts out"),
        ({"rs485": {}, "rts": False}, "leave rtscts and rts out"),
        ({"rtscts": True, "rts": True}, "leave rts out"),
        ({"rtscts": True, "reset": {"line": "rts"}}, "pull dtr"),
        ({"rs485": {}, "reset": {"line": "rts"}}, "pull dtr"),
        ({"dtr": False, "reset": {"line": "dtr"}}, "leave dtr = false out"),
        ({"port": "rfc2217://host:1", "rs485": {}}, "set it up there"),
        ({"port": "rfc2217://host:1", "hupcl": False}, "set it up there"),
        ({"port": "socket://host:1", "share": "socket://:1"}, "that machine's to share"),
        ({"share": "tcp://127.0.0.1:1"}, "share is rfc2217://127.0.0.1:port"),
        ({"share": "rfc2217://127.0.0.1"}, "share is rfc2217://127.0.0.1:port"),
    ],
)
def test_settings_that_no_port_could_have_are_refused_with_what_would_be_right(
    values: dict[str, Any], advice: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=advice):
        load(**{"port": "/dev/ttyUSB0", **values})


def test_flow_control_by_dtr_is_for_port_servers() -> None:
    assert load(port="rfc2217://host:4000", dsrdtr=True).dsrdtr


def test_a_port_is_shared_on_loopback_unless_an_address_is_named() -> None:
    assert load(port="/dev/x", share="socket://:4000").share_address() == ("127.0.0.1", 4000)
    assert load(port="/dev/x", share="rfc2217://10.0.0.1:4000").share_address()[0] == "10.0.0.1"
