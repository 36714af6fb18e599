"""Foreign topics: what becomes a letter, to whom, and what is refused as what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import AddressError, MailboxFullError
from gateway.mail.body import checked
from gateway.mail.message import Message
from routes.mqtt.in_tray import InTray
from routes.mqtt.incoming import Incoming
from routes.mqtt.listening import PATIENCE, Listening
from routes.mqtt.listening_settings import Listen
from routes.mqtt.pace import Pace
from tests.routes.mqtt.broker_side import BrokerSide

RULE: dict[str, Any] = {"topic": "plant/+/command", "to": "main", "subject": "plant"}


class Stage:
    """One rule, and who sends the letters."""

    def __init__(self, *, room: int = 1000, **rule: Any) -> None:
        self.sent: list[tuple[str, str, Any]] = []
        self.waits: list[float] = []
        self.clock = BrokerSide().clock
        self.tray = InTray(room)
        self.error: Exception | None = None
        self.rule = msgspec.convert({**RULE, **rule}, Listen)
        self.listening = Listening(self.rule, send=self.send, tray=self.tray, clock=self.clock)

    def send(self, to: str, subject: str, body: Any, **options: Any) -> Message:
        self.waits.append(options["timeout"])
        if self.error is not None:
            raise self.error
        checked(body)  # whatever gets here can travel
        assert options["expires_in"] == self.rule.fresh
        self.sent.append((to, subject, body))
        return Message("1", "1", 1, 0.0, "mqtt", to, subject, body)

    def hear(self, payload: bytes, topic: str = "plant/3/command", **options: Any) -> None:
        self.listening.hear(Incoming(topic, payload, **options))
        self.tray.empty()

    @property
    def refused(self) -> dict[str, int]:
        found: dict[str, int] = self.listening.statistics()["refused"]
        return found


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.tray.close()


@pytest.fixture
def texts() -> Iterator[Stage]:
    stage = Stage(payload="text")
    yield stage
    stage.tray.close()


@pytest.fixture
def patient() -> Iterator[Stage]:
    stage = Stage(retained=True)
    yield stage
    stage.tray.close()


def test_what_comes_is_a_letter_with_the_topic_that_it_came_on(stage: Stage) -> None:
    stage.hear(b'{"litres": 2}')
    stage.hear(b"null", topic="plant/4/command")
    assert stage.sent == [
        ("main", "plant", {"topic": "plant/3/command", "payload": {"litres": 2}}),
        ("main", "plant", {"topic": "plant/4/command", "payload": None}),
    ]
    assert stage.listening.statistics() == {"delivered": 2, "refused": {}}


def test_what_is_text_is_taken_as_it_is(texts: Stage) -> None:
    texts.hear("ON ü {".encode())
    texts.hear(b"\xff")
    assert [body["payload"] for _, _, body in texts.sent] == ["ON ü {"]
    assert texts.refused == {"no_text": 1}


@pytest.mark.parametrize(
    ("payload", "options", "kind"),
    [
        (b"", {}, "no_json"),
        (b"ON", {}, "no_json"),
        (b"\xff", {}, "no_json"),
        (b'{"a": NaN}', {}, "no_json"),
        (b'"\\ud800"', {}, "no_json"),
        (b"1" * 30, {}, "no_json"),
        (b"[" * 10_000, {}, "no_json"),
        (b"[" * 32 + b"]" * 32, {}, "no_json"),
        (b'"' + b"x" * (16 << 10) + b'"', {}, "too_large"),
        (b"1", {"retained": True}, "retained"),
        (b"1", {"duplicate": True}, "duplicate"),
    ],
)
@pytest.mark.usefixtures("uncollected")
def test_what_does_not_get_in_is_counted_by_kind(
    stage: Stage, payload: bytes, options: dict[str, Any], kind: str
) -> None:
    stage.hear(payload, **options)
    stage.hear(b"[" * 31 + b"]" * 31)
    assert len(stage.sent) == 1
    assert stage.refused == {kind: 1}


def test_what_was_kept_from_an_earlier_time_gets_in_where_that_is_wished(patient: Stage) -> None:
    patient.hear(b"1", retained=True)
    assert len(patient.sent) == 1


def test_a_flood_is_let_in_at_its_rate(stage: Stage) -> None:
    for _ in range(100):
        stage.hear(b"1")
    assert (len(stage.sent), stage.refused) == (20, {"too_fast": 80})
    stage.clock.now += 1.0
    for _ in range(100):
        stage.hear(b"1")
    assert len(stage.sent) == 30


def test_what_finds_no_room_is_counted(stage: Stage) -> None:
    full = Listening(stage.rule, send=stage.send, tray=InTray(0), clock=stage.clock)
    try:
        full.hear(Incoming("plant/3/command", b"1"))
        assert full.statistics() == {"delivered": 0, "refused": {"busy": 1}}
    finally:
        full._tray.close()


@pytest.mark.parametrize("error", [AddressError("there is no main"), MailboxFullError("full")])
def test_what_cannot_be_delivered_is_counted_and_said_once(
    stage: Stage, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    stage.error = error
    for _ in range(5):
        stage.hear(b"1")
    assert stage.refused == {"undeliverable": 5}
    assert caplog.text.count("cannot go to main") == 1
    # It was waited for once, and is again once it has taken a letter.
    stage.error = None
    stage.hear(b"1")
    stage.hear(b"1")
    assert stage.waits == [PATIENCE, 0.0, 0.0, 0.0, 0.0, 0.0, PATIENCE]


@given(st.binary(max_size=60), st.booleans(), st.booleans())
def test_whatever_comes_is_a_letter_or_a_count(payload: bytes, retained: bool, twice: bool) -> None:
    stage = Stage()
    try:
        stage.hear(payload, retained=retained, duplicate=twice)
        assert len(stage.sent) + sum(stage.refused.values()) == 1
    finally:
        stage.tray.close()


@pytest.mark.parametrize(
    "wrong",
    [
        *({"topic": ""}, {"topic": "#"}, {"topic": "+/x"}, {"topic": "a/b+"}, {"topic": "a/#/b"}),
        *({"topic": "$SYS/uptime"}, {"topic": "$share/a/b"}),
        *({"topic": "gateway/#"}, {"topic": "gateway/+/status"}, {"topic": "gateway"}),
        *(
            {"to": ""},
            {"to": "main@"},
            {"subject": ""},
            {"rate": 0},
            {"burst": 0},
            {"most": 0},
            {"fresh": 0},
        ),
        *({"payload": "xml"}, {"colour": "red"}),
    ],
)
def test_a_table_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**RULE, **wrong}, Listen)


def test_what_another_gateway_says_can_be_listened_to() -> None:
    msgspec.convert({**RULE, "topic": "gateway/attic-pi/devices/+/state"}, Listen)


def passes(pace: Pace, now: float) -> bool:
    room = pace.room(now)
    pace.spend(min(room, 1))
    return room > 0


@given(
    st.floats(0.1, 100),
    st.integers(1, 50),
    st.lists(st.floats(0, 10), max_size=50),
)
def test_no_more_pass_than_the_burst_and_the_rate_allow(
    rate: float, burst: int, gaps: list[float]
) -> None:
    pace, now, passed = Pace(rate, now=100.0, burst=burst), 100.0, 0
    for gap in gaps:
        now += gap
        passed += passes(pace, now)
        assert passed <= burst + rate * (now - 100.0) + 1e-6


def test_a_long_pause_saves_up_no_more_than_the_burst() -> None:
    pace = Pace(1.0, now=0.0, burst=3)
    assert passes(pace, 0.0)
    assert sum(passes(pace, 1e6) for _ in range(10)) == 3
