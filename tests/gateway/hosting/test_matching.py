"""Which plugged-in device is meant, and why another is not."""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.hosting.matching import Match
from tests.gateway.hosting.plugging import tty


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({"ID_SERIAL_SHORT": "S0"}, True),
        ({"ID_SERIAL_SHORT": "s0"}, False),
        ({"ID_SERIAL_SHORT": "S*"}, True),
        ({"ID_SERIAL_SHORT": "S[0-4]"}, True),
        ({"ID_SERIAL_SHORT": "S?", "ID_BUS": "pci"}, False),
        ({"dev": "166:0"}, True),
        ({"idVendor": "2341"}, False),
        ({"@idVendor": "2341"}, True),
        ({"@idVendor": "1d6b"}, True),
        ({"@idVendor": "0403"}, False),
        ({"@idVendor": "2341", "@bInterfaceNumber": "00"}, True),
        ({"@DEVTYPE": "usb_device"}, True),
        ({"@dev": "166:0"}, False),
        ({"ID_NONE": "*"}, False),
    ],
)
def test_all_pairs_must_fit(match: dict[str, str], fits: bool) -> None:
    assert Match(match)(tty(0)) is fits
    assert (Match(match).misses(tty(0)) == []) is fits


def test_it_says_of_each_pair_why_it_does_not_fit() -> None:
    match = Match(
        {"ID_BUS": "pci", "ID_NONE": "1", "speed": "12", "@idVendor": "0403", "@x": "1", "@Y": "*"}
    )
    assert match.misses(tty(0)) == [
        "ID_BUS is 'usb', not 'pci'",
        "it has no property ID_NONE",
        "it has no attribute speed",
        "@idVendor is '2341' and '1d6b', not '0403'",
        "no ancestor of it has the attribute x",
        "no ancestor of it has the property Y",
    ]


def test_what_misses_least_comes_nearest() -> None:
    match = Match({"ID_VENDOR_ID": "2341", "ID_SERIAL_SHORT": "S9", "ID_BUS": "usb"})
    far = tty(1, properties={"ID_BUS": "usb"})
    near = match.nearest(iter([far, tty(2), tty(3)]))
    assert near == (tty(2), ["ID_SERIAL_SHORT is 'S2', not 'S9'"])
    assert match.nearest(iter([tty(1, properties={})])) is None
    assert match.nearest(iter([])) is None


@pytest.mark.parametrize("match", [{}, {"": "x"}, {"@": "x"}, {"@@serial": "x"}, {"a b": "x"}])
def test_what_cannot_be_a_match_is_refused(match: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        Match(match)


TEXT = st.text(alphabet="ab*?[]!-", max_size=6)


@given(value=TEXT, pattern=TEXT)
def test_a_value_is_exact_unless_it_is_a_glob(value: str, pattern: str) -> None:
    device = tty(0, properties={"ID_X": value})
    is_glob = any(mark in pattern for mark in "*?[")
    expected = fnmatchcase(value, pattern) if is_glob else value == pattern
    assert Match({"ID_X": pattern})(device) is expected


PAIRS = st.dictionaries(st.sampled_from(["ID_A", "ID_B", "a", "b"]), st.sampled_from("xyz"))


@given(has=PAIRS, wants=PAIRS.filter(bool), above=st.booleans())
def test_a_match_is_the_conjunction_of_its_pairs(
    has: dict[str, str], wants: dict[str, str], above: bool
) -> None:
    properties = {name: value for name, value in has.items() if name.isupper()}
    attributes = {name: value for name, value in has.items() if name.islower()}
    device = tty(0)
    if above:
        ancestor = msgspec.structs.replace(
            device.ancestors[0], properties=properties, attributes=attributes
        )
        device = tty(0, ancestors=(ancestor,))
        match = Match({f"@{name}": value for name, value in wants.items()})
    else:
        device = tty(0, properties=properties, attributes=attributes)
        match = Match(wants)
    assert match(device) is (wants.items() <= has.items())
    assert len(match.misses(device)) == len(wants.items() - has.items())
