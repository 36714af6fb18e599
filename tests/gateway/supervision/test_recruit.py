"""A crew member as plain data: what can stand, and what is refused by name."""

from __future__ import annotations

import tomllib
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from gateway.application import Application
from gateway.bus.lanes import Order, Policy
from gateway.config.crew import CrewMember, Launch, Restart
from gateway.errors import ConfigError
from gateway.process.context import Context, Mode
from gateway.process.process import Process
from gateway.supervision.program import Program
from gateway.supervision.recruit import LARGEST, spec_of
from gateway.supervision.restart import RestartPolicy
from gateway.supervision.spec import ProcessSpec, WhenStuck, class_named

WHEELS = {
    "name": "wheels",
    "process": "gateway.process.process:Process",
    "tock": 0.02,
    "start_after": 1.5,
    "limit": 3600.0,
    "temporary_folder": True,
    "depends": ["power"],
    "restart": {"kind": "transient", "most": 3},
    "parameters": {"port": "/dev/ttyUSB0", "speeds": [1, 2]},
}


def test_a_member_is_data_that_survives_a_letter_or_a_file() -> None:
    toml = """
        name = "wheels"
        process = "gateway.process.process:Process"
        tock = 0.02
        start_after = 1.5
        limit = 3600.0
        temporary_folder = true
        depends = ["power"]
        restart = { kind = "transient", most = 3 }
        parameters = { port = "/dev/ttyUSB0", speeds = [1, 2] }
    """
    for form in (tomllib.loads(toml), msgspec.msgpack.decode(msgspec.msgpack.encode(WHEELS))):
        spec = spec_of(form)
        assert (spec.name, spec.mode, spec.frequency) == ("wheels", "fork", 50.0)
        assert (spec.start_after, spec.limit, spec.temporary_folder) == (1.5, 3600.0, True)
        assert spec.restart == RestartPolicy("transient", most=3)
        assert spec.depends == ("power",)
        assert spec.parameters == {"port": "/dev/ttyUSB0", "speeds": [1, 2]}
        assert spec.kind == "Process"
        assert spec.data == WHEELS


def test_the_words_of_the_configuration_are_those_of_the_code() -> None:
    hints = get_type_hints(CrewMember)
    assert set(get_args(hints["mode"])) == set(get_args(Mode))
    assert set(get_args(hints["mailbox_order"])) == set(get_args(Order))
    assert set(get_args(hints["mailbox_policy"])) == set(get_args(Policy))
    assert set(get_args(hints["when_stuck"])) == set(get_args(WhenStuck))
    assert RestartPolicy(**msgspec.structs.asdict(Restart())) == RestartPolicy()
    assert Launch(command=("a",)).patience == Program(("a",)).patience


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"tick": 1}, "tick"),
        ({"process": "gateway.process.process"}, r"process"),
        ({"process": 5}, "process"),
        ({"mode": "steam"}, "mode"),
        ({"real": False}, "simulated time"),
        ({"tock": 0.0}, "> 0.*tock"),
        ({"frequency": 5.0}, "no frequency beside it"),
        ({"limit": -1.0}, "> 0.*limit"),
        ({"limit": 2_000_001.0}, "<= 2000000.*limit"),
        ({"start_after": -1.0}, "start_after"),
        ({"start_after": 2_000_001.0}, "<= 2000000.*start_after"),
        ({"stuck_after": 1e300}, "<= 2000000.*stuck_after"),
        ({"stuck_after": 0.0}, "stuck_after"),
        ({"restart": {"kind": "forever"}}, "forever"),
        ({"bound_shutdown": True, "restart": {"kind": "permanent"}}, "never be over"),
        ({"mode": "thread", "force_stop": True}, "thread cannot be killed"),
        ({"parameters": {"callback": print}}, "wheels"),
        ({"parameters": {"text": "a" * LARGEST}}, "is the most"),
        ({"name": "wheels@serial"}, "route"),
        ({"mailbox_size": 0}, "mailbox_size"),
        ({"tock": None, "frequency": -1.0}, "frequency"),
        ({"tock": None, "frequency": float("inf")}, "frequency"),
        ({"tock": 1e-320}, "frequency=inf"),
    ],
)
def test_nonsense_is_refused_and_named(change: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        spec_of({**WHEELS, **change})


@pytest.mark.parametrize("key", ["limit", "stuck_after", "grace", "start_after"])
@pytest.mark.parametrize("seconds", [2_000_001, 1e300, 10**400])
def test_no_time_is_longer_than_anybody_waits(key: str, seconds: float) -> None:
    longest: dict[str, Any] = {key: 2_000_000.0}
    longer: dict[str, Any] = {key: seconds}
    ProcessSpec("a", Process, **longest)
    with pytest.raises(ConfigError, match=f"{key}=.* 2,000,000"):
        ProcessSpec("a", Process, **longer)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"mailbox_size": 1.5}, "mailbox_size=1.5: use a whole number"),
        ({"mailbox_order": "lifo"}, "mailbox_order='lifo': use fifo or priority"),
        ({"mailbox_policy": "drop"}, "mailbox_policy='drop': use block, reject or drop_oldest"),
        ({"when_stuck": "kill"}, "when_stuck='kill': use report or restart"),
        ({"frequency": float("nan")}, "frequency=nan"),
        ({"depends": "power"}, "depends='power': use a list"),
    ],
)
def test_what_no_type_checker_saw_is_refused_before_anything_starts(
    change: dict[str, Any], match: str
) -> None:
    class App(Application):
        def build(self) -> None:
            self.add_process("wheels", **change)

    with pytest.raises(ConfigError, match=match):
        App().run()


def test_who_ends_the_application_is_not_restarted_unless_that_is_said() -> None:
    bound = {**WHEELS, "bound_shutdown": True}
    assert spec_of(bound).restart.kind == "transient"
    del bound["restart"]
    assert spec_of(bound).restart.kind == "temporary"


def test_a_class_is_found_by_its_name_or_the_name_is_wrong() -> None:
    assert class_named("gateway.process.process:Process") is Process
    for wrong in (
        "no.such.module:Process",
        "gateway.process.process:Nobody",
        "gateway.process.context:Context",
        "gateway.process.process:Process.birth",
        ":",
    ):
        with pytest.raises(ConfigError, match=wrong):
            class_named(wrong)
    assert Context.__name__ == ProcessSpec("a", "x:Context").kind
