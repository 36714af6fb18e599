"""Commands from afar, as the session's thread hears them: refused, put in line, on record."""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import plugins
from gateway.clock import RealClock
from gateway.config.loading import load
from gateway.errors import CallTimeoutError, ConfigError, RefusedError
from gateway.mail.message import Message
from routes.mqtt.audit import LATER
from routes.mqtt.incoming import Incoming
from routes.mqtt.manage import WAITING, Manage
from routes.mqtt.manage_commands import Commands, DeviceState
from routes.mqtt.manage_config import NAME, Change
from routes.mqtt.manage_settings import ManageSettings
from routes.mqtt.topics import Topics
from tests.lab.os_processes import until
from tests.lab.sudden_death import KilledError

DEADLINE = 10.0
ALL = ("processes", "restart", "config", "configure", "updates", "log", "tail")


class Steward:
    """A route that is asked; ``ps`` waits until it may go on."""

    name = "mqtt"
    node = "lab"
    application: Any = None
    state = "living"

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.restarted: list[str] = []
        self.threads: list[threading.Thread] = []
        self.sent: list[tuple[str, str, Any]] = []

    def add_child_thread(self, name: str, target: Callable[[], object]) -> None:
        self.threads.append(threading.Thread(target=target, name=name))
        self.threads[-1].start()

    def send(self, recipient: str, subject: str, body: Any = None) -> Message:
        self.sent.append((recipient, subject, body))
        return Message("1", "1", 1, 0.0, "mqtt", recipient, subject, body)

    def wait_for_reply(self, message: Message, timeout: float = 5.0) -> Message:
        assert self.may_go_on.wait(DEADLINE)
        if message.recipient == "health":
            return Message("2", "1", 2, 0.0, "health", "mqtt", message.subject, {"topic": "log/1"})
        members = [
            {
                "name": name,
                "state": self.state,
                "cause": "its birth is over",
                "since": 1.0,
                "mode": "fork",
                "kind": "Router",
                "restarts": 0,
                "stuck": False,
                "incarnation": 1,
                "pid": 4711,
            }
            for name in ("mqtt", "serial")
        ]
        return Message("2", "1", 2, 0.0, "boss", "mqtt", "ps", members)

    def restart_process(self, name: str, *, timeout: float = 25.0) -> None:
        self.restarted.append(name)

    def light_sleep(self, seconds: float) -> bool:
        return True


class Scene:
    """A `Manage` and what it said."""

    def __init__(self, *allow: Any, audit_file: str = "") -> None:
        self.steward = Steward()
        self.said: list[tuple[str, dict[str, Any], bytes | None]] = []
        self.manage = Manage(
            ManageSettings(allow=allow, audit_file=audit_file),
            self.steward,
            Topics("lab"),
            clock=RealClock(),
            say=self.say,
            max_payload=4096,
        )
        self.manage.open()

    def say(self, topic: str, payload: bytes, **options: Any) -> bool:
        self.said.append((topic, json.loads(payload), options["properties"].correlation_data))
        return True

    def hear(self, command: str, payload: bytes = b"", **fields: Any) -> None:
        self.manage.hear(Incoming(f"gateway/lab/manage/{command}/call", payload, **fields))

    def end(self) -> None:
        """End everything; return once all that was to be written is."""
        self.steward.may_go_on.set()
        self.manage.close()
        self.manage.seal()
        for thread in self.steward.threads:
            thread.join(DEADLINE)

    def answers(self, count: int) -> list[dict[str, Any]]:
        assert until(lambda: len(self.said) >= count, DEADLINE), self.said
        return [body for _, body, _ in self.said]


@pytest.fixture
def scene() -> Iterator[Callable[..., Scene]]:
    scenes: list[Scene] = []

    def make(*allow: Any, **options: Any) -> Scene:
        scenes.append(Scene(*allow, **options))
        return scenes[-1]

    yield make
    for each in scenes:
        each.end()


def test_nothing_is_carried_out_unless_it_is_allowed(scene: Any) -> None:
    here = scene()
    for command in ALL:
        here.hear(command)
    said = here.answers(len(ALL))
    assert {answer["error"]["code"] for answer in said} == {"refused"}
    assert here.manage.statistics() == {"refused": len(ALL), "audit_lost": 0}
    assert here.steward.sent == []


def test_answers_go_where_the_caller_wants_them(scene: Any) -> None:
    here = scene("updates")
    here.hear("updates", b'{"args": {}, "id": 7}')
    here.hear("updates", response_topic="me/1", correlation_data=b"x")
    here.answers(2)
    assert [(topic, data) for topic, _, data in here.said] == [
        ("gateway/lab/manage/updates/reply", None),
        ("me/1", b"x"),
    ]
    assert here.said[0][1]["id"] == 7


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"payload": b"no json"}, "bad_body: the call is no JSON"),
        ({"payload": b"x" * 5000}, "bad_body: the call has 5000 bytes"),
        ({"payload": b"[" * 100}, "bad_body: the call is nested deeper"),
        ({"retained": True}, "expired: the call was retained"),
        ({"duplicate": True}, "expired: the broker has sent this before"),
        ({"response_topic": "gateway/other/mail/lab"}, "refused: no answer can go"),
        ({"response_topic": "gateway/other/manage/restart/call"}, "refused: no answer can go"),
    ],
)
def test_what_is_no_command_is_on_record(
    scene: Any, caplog: pytest.LogCaptureFixture, fields: Any, said: str
) -> None:
    caplog.set_level("INFO", "gateway.audit")
    here = scene(*ALL)
    here.hear("restart", **{"payload": b"{}", **fields})
    here.end()
    assert said in caplog.text
    assert here.steward.restarted == []


def test_commands_are_carried_out_one_after_the_other_and_so_many_may_wait(scene: Any) -> None:
    here = scene("processes")
    here.hear("processes")
    assert until(lambda: here.steward.sent, DEADLINE)
    for _ in range(WAITING + 1):
        here.hear("processes")
    assert here.answers(1)[0]["error"]["code"] == "mailbox_full"
    here.steward.may_go_on.set()
    assert sum(answer["ok"] for answer in here.answers(WAITING + 2)) == WAITING + 1


def test_who_waits_when_the_route_stops_is_told_so(scene: Any) -> None:
    here = scene("processes")
    here.hear("processes")
    assert until(lambda: here.steward.sent, DEADLINE)
    here.hear("processes")
    here.manage.close()
    here.hear("processes")
    assert [answer["error"]["reason"] for answer in here.answers(2)] == ["the gateway stops"] * 2


def test_what_is_heard_in_the_instant_of_the_end_is_answered_and_on_record(
    scene: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "gateway.audit")
    here = scene("processes")
    put = here.manage._tasks.put_nowait

    def close_first(task: Any) -> None:
        monkeypatch.undo()
        here.manage.close()
        here.steward.threads[0].join(DEADLINE)
        put(task)

    monkeypatch.setattr(here.manage._tasks, "put_nowait", close_first)
    here.hear("processes")
    here.manage.seal()
    here.steward.threads[1].join(DEADLINE)
    assert [body["error"]["reason"] for _, body, _ in here.said] == ["the gateway stops"]
    assert "recipient_gone: the gateway stops" in caplog.text


def notes(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_command_is_on_record_before_it_is_begun_and_after_it(scene: Any, tmp_path: Path) -> None:
    file = tmp_path / "audit"
    here = scene("processes", "restart", audit_file=str(file))
    here.hear("processes")
    assert until(lambda: here.steward.sent, DEADLINE)
    assert [(each["command"], each["result"]) for each in notes(file)] == [("processes", "begun")]
    here.hear("restart")
    here.hear("configure")
    here.steward.may_go_on.set()
    here.answers(3)
    here.end()
    told = notes(file)
    begun = {each["command"]: each["begun"] for each in told if each["result"] == "begun"}
    ended = {each["command"]: each.get("begun") for each in told if each["result"] != "begun"}
    assert ended == {**begun, "configure": None}
    assert begun.keys() == {"processes", "restart"}


def test_a_card_that_stalls_holds_up_nobody_who_hears(scene: Any, tmp_path: Path) -> None:
    # Nobody reads it: whoever opens it to write waits.
    file = tmp_path / "audit"
    os.mkfifo(file)
    here = scene("processes", audit_file=str(file))
    commands = LATER + 10

    def hear() -> None:
        for _ in range(commands):
            here.hear("restart")

    hearing = threading.Thread(target=hear)
    hearing.start()
    hearing.join(DEADLINE)
    was_held_up = hearing.is_alive()
    said = len(here.said)
    with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        hearing.join(DEADLINE)
        here.end()
        written = len(reader.readlines())
    assert not was_held_up
    assert said == commands
    lost = here.manage.statistics()["audit_lost"]
    assert lost in (9, 10)  # one line may be on its way
    assert written + lost == commands


def test_a_secret_in_a_change_is_not_written_down(
    scene: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gateway.audit")
    here = scene("configure")
    text = '[devices.door.settings]\npin = 1234\npassword = "s3cret"\n'
    here.hear("configure", json.dumps({"text": text}).encode())
    answer = here.answers(1)[0]
    assert "not started from a configuration file" in answer["error"]["reason"]
    assert "configure" in caplog.text
    assert "s3cret" not in caplog.text
    assert "1234" not in caplog.text


def test_log_and_tail_are_the_business_of_health(scene: Any) -> None:
    here = scene("log", "tail")
    here.steward.may_go_on.set()
    here.hear("log", b'{"level": "debug"}')
    here.hear("tail", b'{"seconds": 5}')
    assert [answer["result"] for answer in here.answers(2)] == [{"topic": "log/1"}] * 2
    assert here.steward.sent == [
        ("health", "$log_stream", {"level": "debug"}),
        ("health", "$tail", {"seconds": 5}),
    ]


@pytest.mark.parametrize(
    ("command", "arguments", "why"),
    [
        ("restart", {}, "missing required field `process`"),
        ("restart", {"process": 5}, 'write {"process": "serial"}'),
        ("restart", {"process": "mqtt"}, "cannot restart itself"),
        ("processes", {"all": True}, "unknown field `all`"),
        ("configure", {"text": 5}, "Expected `str`"),
        ("config", {}, "not started from a configuration file"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(command: str, arguments: Any, why: str) -> None:
    steward = Steward()
    commands = Commands(ManageSettings(), steward, dict[str, DeviceState], RealClock().monotonic)
    with pytest.raises(RefusedError, match=why.replace("{", r"\{")):
        commands.run(command, arguments)
    assert steward.restarted == []


CONFIGURATION = """
[routes.serial]
[routes.mqtt]
[devices.bench]
driver = "bench_board"
port = "/dev/ttyUSB0"
"""


@pytest.fixture
def configured(tmp_path: Path) -> tuple[Steward, Path]:
    """A steward of a gateway that runs from a file, beside which changes are written."""
    file = tmp_path / "gateway.toml"
    file.write_text(CONFIGURATION)
    steward = Steward()
    steward.may_go_on.set()
    steward.application = SimpleNamespace(
        file=str(file), load=partial(load, find=plugins.find), renew=lambda: None
    )
    return steward, file.parent / "conf.d" / NAME


CHANGE = {"text": "[devices.bench]\nbaud = 9600\n"}


def commands(steward: Steward, *states: DeviceState) -> Commands:
    """Return commands that see the device in one state after the other."""
    left = list(states)

    def devices() -> dict[str, DeviceState]:
        return {"bench": left.pop(0) if len(left) > 1 else left[0]}

    return Commands(ManageSettings(settle=0.5), steward, devices, RealClock().monotonic)


def test_a_change_is_kept_where_the_device_is_back_in_the_new_life(
    configured: tuple[Steward, Path],
) -> None:
    steward, remote = configured
    before = DeviceState("serial", 0, connected=True)
    away = DeviceState("serial", 1, connected=False, state="open")
    back = DeviceState("serial", 1, connected=True)
    result = commands(steward, before, before, away, back).run("configure", CHANGE)
    assert result == {"file": str(remote), "restarted": ["serial"]}
    assert steward.restarted == ["serial"]
    assert remote.read_text() == CHANGE["text"]


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (DeviceState("serial", 0, connected=True), "nothing is heard of bench"),
        (DeviceState("serial", 1, False, "stale", "it is mute"), "bench is stale: it is mute"),
    ],
)
def test_what_an_earlier_life_said_of_a_device_is_no_proof(
    configured: tuple[Steward, Path], after: DeviceState, why: str
) -> None:
    steward, remote = configured
    before = DeviceState("serial", 0, connected=True)
    with pytest.raises(RefusedError, match=f"taken back: {why}"):
        commands(steward, before, after).run("configure", CHANGE)
    assert steward.restarted == ["serial", "serial"]
    assert not remote.exists()


def test_a_device_that_was_away_before_need_not_come_back(
    configured: tuple[Steward, Path],
) -> None:
    steward, remote = configured
    absent = DeviceState("serial", 0, connected=False)
    commands(steward, absent).run("configure", CHANGE)
    assert remote.exists()


BEFORE = DeviceState("serial", 0, connected=True)


def test_a_change_over_which_nobody_can_watch_is_taken_back(
    configured: tuple[Steward, Path],
) -> None:
    steward, remote = configured
    failures = [CallTimeoutError("the boss does not answer")]

    def renew() -> None:
        if failures:
            raise failures.pop()

    steward.application.renew = renew
    with pytest.raises(RefusedError, match="taken back: the boss does not answer"):
        commands(steward, BEFORE).run("configure", CHANGE)
    assert list(remote.parent.iterdir()) == []
    assert steward.restarted == ["serial"]


def test_a_change_that_leaves_a_route_dead_is_taken_back_whatever_it_hosts(
    configured: tuple[Steward, Path],
) -> None:
    steward, remote = configured
    steward.state = "waiting"
    absent = DeviceState("serial", 0, connected=False)
    with pytest.raises(RefusedError, match="taken back: serial does not stay alive"):
        commands(steward, absent).run("configure", CHANGE)
    assert not remote.exists()


def test_a_full_disk_refuses_a_change_and_leaves_no_trial(
    configured: tuple[Steward, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    steward, remote = configured

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="the configuration: No space left"):
        commands(steward, BEFORE).run("configure", CHANGE)
    assert (list(remote.parent.iterdir()), steward.restarted) == ([], [])


def killed(seconds: float) -> bool:
    raise KilledError


def test_killed_while_it_is_taken_back_the_routes_are_restarted_by_the_next_life(
    configured: tuple[Steward, Path],
) -> None:
    steward, remote = configured
    away = DeviceState("serial", 1, connected=False)
    restart, times = steward.restart_process, []

    def killed_at_the_second(name: str, *, timeout: float = 25.0) -> None:
        times.append(name)
        if len(times) == 2:
            raise KilledError
        restart(name)

    steward.restart_process = killed_at_the_second  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        commands(steward, BEFORE, away).run("configure", CHANGE)
    assert "taken back" in commands(steward, away).recover()
    assert times == ["serial"] * 3
    assert list(remote.parent.iterdir()) == []


def test_a_change_on_trial_is_its_watchers_own(configured: tuple[Steward, Path]) -> None:
    steward, remote = configured
    steward.name = "other"
    away = DeviceState("serial", 1, connected=False)
    steward.light_sleep = killed  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        commands(steward, BEFORE, away).run("configure", CHANGE)
    steward.name = "mqtt"
    assert commands(steward, away).recover() == ""
    with pytest.raises(RefusedError, match="another change is on trial"):
        commands(steward, BEFORE).run("configure", {"text": ""})
    assert remote.read_text() == CHANGE["text"]


def test_all_who_are_concerned_are_put_back_where_one_does_not_start(
    configured: tuple[Steward, Path],
) -> None:
    steward, remote = configured
    Path(steward.application.file).write_text(f'{CONFIGURATION}[routes.more]\ntype = "serial"\n')
    tried = []

    def restart(name: str, *, timeout: float = 25.0) -> None:
        tried.append(name)
        if name == "serial":
            raise CallTimeoutError("it hangs")

    steward.restart_process = restart  # type: ignore[method-assign]
    change = {"text": '[devices.bench]\nroute = "more"\n'}
    with pytest.raises(RefusedError, match="it hangs; and then: serial does not start: it hangs"):
        commands(steward, BEFORE).run("configure", change)
    assert tried[-2:] == ["serial", "more"]
    assert list(remote.parent.iterdir()) == []


def test_what_was_taken_back_after_a_kill_is_on_record(
    configured: tuple[Steward, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gateway.audit")
    steward, remote = configured
    remote.parent.mkdir()
    Change(remote, b"", None, ("serial",), "mqtt").write()
    manage = Manage(
        ManageSettings(),
        steward,
        Topics("lab"),
        clock=RealClock(),
        say=lambda topic, payload, **options: True,
        max_payload=4096,
    )
    manage.open()
    manage.close()
    manage.seal()
    for thread in steward.threads:
        thread.join(DEADLINE)
    assert re.search(
        "configure {} by route=mqtt .*: a change was on trial .*: taken back", caplog.text
    )
    assert not remote.exists()
