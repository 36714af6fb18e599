"""A match, and the rules that mean the same."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.cli.rules.file import NamedDevice, rules_for
from gateway.cli.rules.match import steps
from gateway.cli.rules.options import RuleOptions
from gateway.cli.rules.quoting import RuleError
from gateway.hosting.matching import Match
from gateway.hosting.plugged import PluggedAncestor, PluggedDevice
from tests.udev.rule_file import apply, read

values = st.sampled_from(["a", "b", "ab", "", "2341"])
patterns = st.sampled_from(["a", "b", "ab", "a*", "?b", "[ab]", "[!a]*", "2341"])
properties = st.dictionaries(st.sampled_from(["ID_X", "ID_Y"]), values.filter(bool))
# No @line is asked for: to udev the device is among its ancestors, to the gateway it is not.
attributes = st.dictionaries(st.sampled_from(["serial", "idVendor", "line"]), values)
own = st.dictionaries(st.sampled_from(["dev", "line"]), values)
ancestors = st.lists(
    st.builds(
        PluggedAncestor,
        subsystem=st.just("usb"),
        sys_path=st.just("/sys/x"),
        properties=properties,
        attributes=attributes,
    ),
    max_size=3,
)
devices = st.builds(
    PluggedDevice,
    subsystem=st.just("tty"),
    sys_path=st.just("/sys/x/ttyACM0"),
    properties=properties,
    attributes=own,
    ancestors=ancestors.map(tuple),
)
keys = st.sampled_from(["ID_X", "ID_Y", "dev", "line", "@serial", "@idVendor"])
matches = st.dictionaries(keys, patterns, min_size=1)


@given(devices, matches)
@example(
    PluggedDevice(
        subsystem="tty",
        sys_path="/sys/x/ttyACM0",
        ancestors=(
            PluggedAncestor(
                subsystem="usb", sys_path="/sys/x", properties={}, attributes={"line": "a"}
            ),
        ),
    ),
    {"line": "a"},
)
def test_the_rules_name_what_the_gateway_would_claim(
    device: PluggedDevice, match: dict[str, str]
) -> None:
    named = NamedDevice(name="wheels", subsystems=("tty",), match=match)
    links, after = apply(read(rules_for([named], RuleOptions())), device)
    claimed = Match(match)(device)
    assert links == (["gateway/wheels"] if claimed else [])
    assert after.get("GATEWAY_DEVICE") == ("wheels" if claimed else None)


def test_each_ancestor_is_a_rule_of_its_own() -> None:
    assert steps({"@idVendor": "2341", "ID_BUS": "usb", "@bInterfaceNumber": "0?"}) == [
        'ENV{ID_BUS}=="usb", ATTRS{idVendor}=="2341"',
        'ATTRS{bInterfaceNumber}=="0?"',
    ]


@pytest.mark.parametrize(
    ("match", "why"),
    [
        ({}, "every device"),
        ({"@ID_VENDOR_ID": "2341"}, "write @idVendor"),
        ({"@ID_PATH": "x"}, "an attribute"),
        ({"DEVLINKS": "*x*"}, "not there until all rules are through"),
        ({"a}": "x"}, "neither a property"),
        ({"../serial": "x"}, "neither a property"),
        ({'a"': "x"}, "neither a property"),
        ({"serial": "a|b"}, "serial: .*splits"),
    ],
)
def test_what_cannot_be_said_is_refused(match: dict[str, str], why: str) -> None:
    with pytest.raises(RuleError, match=why):
        steps(match)


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=20), min_size=1))
def test_whatever_stands_in_a_match_the_file_stays_a_rules_file(match: dict[str, str]) -> None:
    try:
        lines = steps(match)
    except RuleError:
        return
    for line in lines:
        (rule,) = read(f"{line}\n")
        assert all(token.is_match for token in rule)
