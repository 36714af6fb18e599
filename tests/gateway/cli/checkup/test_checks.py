"""Every check, on facts made up: what is wrong is called wrong, with what to type."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.checkup import grabbers, ports, power, rules, system
from gateway.cli.checkup.checks import CHECKS, examine
from gateway.cli.checkup.facts import Facts, Port, Rules, User
from gateway.cli.checkup.finding import Finding, as_json, render
from gateway.cli.inventory.holders import Holder

PAT = User(name="pat", uid=1000, groups=frozenset({"pat", "dialout"}))
UNO = Port(
    node="/dev/ttyACM0",
    name="Arduino Uno",
    usb_id="2341:0043",
    mode=0o660,
    group="dialout",
    control="on",
    control_path="/sys/x/power/control",
    ignored=True,
    device="wheels",
)
RULES = Rules(path="/etc/udev/rules.d/90-gateway.rules", right="a", installed="a", named=1)
WELL = Facts(
    user=PAT,
    config="g.toml",
    ports=(UNO,),
    rules=RULES,
    udevd=True,
    throttled=0,
    libusb="/usr/lib/libusb-1.0.so.0",
    run_type="tmpfs",
    kernel=(),
)


def facts(**changes: Any) -> Facts:
    from msgspec.structs import replace

    return replace(WELL, **changes)


def port(**changes: Any) -> Port:
    from msgspec.structs import replace

    return replace(UNO, **changes)


def one(found: Any) -> Finding:
    (finding,) = found
    assert isinstance(finding, Finding)
    return finding


def test_a_machine_that_is_well_has_one_fine_finding_of_each_check() -> None:
    findings = examine(WELL)
    assert [each.verdict for each in findings] == ["fine"] * len(CHECKS)
    assert as_json(findings)["ok"]


def test_whatever_is_wrong_says_what_to_do() -> None:
    ill = facts(
        user=User(name="pat", uid=1000),
        config_problem="g.toml:1: unknown key",
        ports=(port(control="auto", ignored=False, holders=(Holder(7, "minicom"),)),),
        partial_holders=True,
        udevd=False,
        running=frozenset({"ModemManager"}),
        installed=frozenset({"brltty"}),
        brltty_ids=frozenset({"2341:0043"}),
        throttled=0x50001,
        libusb=None,
        needs_libusb=True,
        run_type="ext4",
        kernel=("usb 1-1: device descriptor read/64, error -71",),
    )
    findings = examine(ill)
    wrong = [each for each in findings if each.verdict == "wrong"]
    assert {each.check for each in wrong} == {
        *("configuration", "power", "kernel", "udevd", "permissions", "in use"),
        *("ModemManager", "brltty", "autosuspend", "libusb", "sockets"),
    }
    assert all(each.mend for each in wrong)
    assert not as_json(findings)["ok"]


# Permissions


def test_root_and_members_of_the_group_may() -> None:
    assert one(ports.permissions(WELL)).verdict == "fine"
    closed = port(mode=0o600, uid=7, group="x")
    root = facts(user=User(name="root", uid=0), ports=(closed,))
    assert one(ports.permissions(root)).verdict == "fine"


def test_a_user_outside_the_group_is_told_how_to_get_in() -> None:
    finding = one(ports.permissions(facts(user=User(name="pat", uid=1000))))
    assert "user pat may not open /dev/ttyACM0, Arduino Uno (mode 0660, group dialout)" in (
        finding.says
    )
    assert "sudo usermod -aG dialout pat" in finding.mend


def test_a_session_that_began_before_the_group_is_told_to_begin_anew() -> None:
    user = User(name="pat", uid=1, groups=frozenset({"dialout"}), session=frozenset({"pat"}))
    finding = one(ports.permissions(facts(user=user)))
    assert finding.verdict == "wrong"
    assert "this session began before that: log out and in again" in finding.mend


@pytest.mark.parametrize("group", ["root", "dialout"])
def test_a_port_that_no_group_may_open_wants_rules(group: str) -> None:
    mode = 0o600 if group == "dialout" else 0o660
    stranger = port(mode=mode, group=group, device="")
    finding = one(ports.permissions(facts(ports=(stranger,))))
    assert "gateway devices /dev/ttyACM0" in finding.mend
    named = one(ports.permissions(facts(ports=(port(mode=mode, group=group),))))
    assert "give wheels a match" in named.mend


def test_a_port_that_cannot_be_looked_at_is_unknown() -> None:
    assert one(ports.permissions(facts(ports=(port(mode=None),)))).verdict == "unknown"


def test_everybody_may_open_what_is_open_to_everybody() -> None:
    free = port(mode=0o666, group="root")
    assert (
        one(ports.permissions(facts(user=User(name="x", uid=5), ports=(free,)))).verdict == "fine"
    )


# In use


def test_a_program_that_has_the_port_is_named() -> None:
    taken = port(holders=(Holder(78, "minicom"),))
    finding = one(ports.in_use(facts(ports=(taken,))))
    assert "minicom (pid 78)" in finding.says
    assert "sudo kill 78" in finding.mend


def test_what_others_have_open_is_unknown_to_an_ordinary_user() -> None:
    finding = one(ports.in_use(facts(partial_holders=True)))
    assert finding.verdict == "unknown"
    assert "sudo gateway doctor" in finding.mend


def test_the_kernels_console_on_a_devices_port_is_wrong_and_elsewhere_is_not() -> None:
    serial = port(node="/dev/ttyAMA0", is_console=True)
    finding = one(ports.console(facts(ports=(serial,))))
    assert "serial-getty@ttyAMA0" in finding.mend
    free = port(is_console=True, device="")
    assert one(ports.console(facts(ports=(free,)))).verdict == "fine"


# Rules


def test_rules_that_differ_or_are_not_there_are_written_anew() -> None:
    differ = Rules(path="/etc/r", right="a", installed="b", named=1)
    finding = one(rules.rules(facts(rules=differ)))
    assert "sudo gateway udev-rules -c g.toml --output /etc/r" in finding.mend
    absent = Rules(path="/etc/r", right="a", named=2)
    assert "2 devices would be named" in one(rules.rules(facts(rules=absent))).says


def test_rules_that_nobody_needs_are_not_missed() -> None:
    none = Rules(path="/etc/r", right="a", named=0)
    assert one(rules.rules(facts(rules=none))).verdict == "fine"


def test_a_match_that_no_rule_can_say_is_told() -> None:
    mistaken = Rules(path="/etc/r", named=1, mistake="devices.a.match: 'x|y' holds '|'")
    assert "'x|y'" in one(rules.rules(facts(rules=mistaken))).says


def test_without_a_configuration_the_rules_are_unknown() -> None:
    finding = one(rules.rules(facts(config_problem="no such file")))
    assert finding.verdict == "unknown"


# Grabbers


def test_modem_manager_that_is_told_to_leave_ports_alone_is_fine() -> None:
    runs = frozenset({"ModemManager"})
    assert one(grabbers.modem_manager(facts(running=runs))).verdict == "fine"
    probed = one(grabbers.modem_manager(facts(running=runs, ports=(port(ignored=False),))))
    assert "/dev/ttyACM0" in probed.says
    assert "systemctl disable --now ModemManager" in probed.mend
    uart = port(node="/dev/ttyAMA0", usb_id="", ignored=False)
    assert one(grabbers.modem_manager(facts(running=runs, ports=(uart,)))).verdict == "fine"
    idle = facts(installed=runs, ports=(port(ignored=False),))
    assert one(grabbers.modem_manager(idle)).says == "it is installed and does not run"


def test_brltty_counts_only_where_it_would_take_what_is_plugged_in() -> None:
    installed = frozenset({"brltty"})
    ids = frozenset({"1a86:7523"})
    assert one(grabbers.brltty(facts(installed=installed, brltty_ids=ids))).verdict == "fine"
    adapter = port(node="/dev/ttyUSB0", usb_id="1a86:7523")
    taken = one(grabbers.brltty(facts(installed=installed, brltty_ids=ids, ports=(adapter,))))
    assert "/dev/ttyUSB0 (1a86:7523)" in taken.says
    assert "sudo apt remove brltty" in taken.mend


# Power


@pytest.mark.parametrize(
    ("bits", "is_pi", "verdict", "said"),
    [
        (0, True, "fine", "no under-voltage"),
        (0x1, True, "wrong", "under-voltage, now (0x1)"),
        (0x10000, True, "wrong", "under-voltage since the start"),
        (0x8, True, "wrong", "slowed down by heat"),
        (0x40000, True, "wrong", "slowed down by heat"),
        (None, True, "unknown", "cannot be read"),
        (None, False, "fine", "does not tell"),
    ],
)
def test_the_firmwares_bits(bits: int | None, is_pi: bool, verdict: str, said: str) -> None:
    finding = one(power.supply(facts(throttled=bits, is_pi=is_pi)))
    assert finding.verdict == verdict
    assert said in finding.says


def test_two_ports_of_one_sleeping_adapter_are_told_once() -> None:
    two = (port(control="auto"), port(node="/dev/ttyACM1", control="auto"))
    finding = one(power.autosuspend(facts(ports=two)))
    assert "echo on | sudo tee /sys/x/power/control" in finding.mend


# The ground


def test_libusb_is_missed_only_where_a_route_needs_it() -> None:
    assert one(system.libusb(facts(libusb=None))).verdict == "fine"
    finding = one(system.libusb(facts(libusb=None, needs_libusb=True)))
    assert finding.mend == "sudo apt install libusb-1.0-0"


@pytest.mark.parametrize(
    ("kind", "verdict"), [("tmpfs", "fine"), ("ext4", "wrong"), (None, "unknown")]
)
def test_sockets_belong_in_memory(kind: str | None, verdict: str) -> None:
    assert one(system.memory(facts(run_type=kind))).verdict == verdict


def test_the_remedy_for_sockets_on_a_disk_is_not_where_they_are() -> None:
    inside = one(system.memory(facts(run_type="ext4", sockets="/run/gateway")))
    assert inside.mend.startswith("have /run in memory")
    outside = one(system.memory(facts(run_type="ext4", sockets="/srv/sockets")))
    assert outside.mend.startswith("put it below /run")


def test_the_kernels_newest_complaint_is_told() -> None:
    finding = one(system.kernel(facts(kernel=("old", "usb 1-1: error -71"))))
    assert finding.says == "2 complaints about USB or power, the newest: usb 1-1: error -71"
    assert one(system.kernel(facts(kernel=None))).verdict == "unknown"


# As it is shown


def test_what_is_wrong_stands_last_with_its_remedy_below() -> None:
    lines = render(
        [
            Finding("udevd", "wrong", "it does not run", "start it\nor do not"),
            Finding("libusb", "fine", "it is installed"),
            Finding("kernel", "unknown", "may not be read"),
        ],
        0,
        colour=False,
    )
    assert lines == [
        "fine     libusb  it is installed",
        "unknown  kernel  may not be read",
        "wrong    udevd   it does not run",
        "                 mend it: start it",
        "                          or do not",
        "",
        "1 thing is wrong, 1 could not be looked at",
    ]
