"""The driver class: what its author gets without a thread or a link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest

from gateway.device import Driver, Identity, Unit, command
from gateway.framing import Line


class Odometry(msgspec.Struct, frozen=True):
    """What the wheels have turned."""

    left: Annotated[int, Unit("mm")]
    right: Annotated[int, Unit("mm")]


class Wheels(Driver):
    """Two-wheel base."""

    class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Of the configuration."""

        track: int = 200

    framing = Line()
    publications = {"odometry": Odometry, "voltage": float}

    def handshake(self) -> Identity:
        return Identity(firmware=self.ask(b"ID?").decode())

    @command
    def halt(self) -> None:
        """Stop."""
        self.write(b"H")


class RecordingHost:
    """Keeps what the driver asks of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.accepts: Callable[[bytes], bool]

    def ask(self, request: bytes, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        self.calls.append(("ask", request, timeout))
        self.accepts = answers
        return b"ID 3"

    def write(self, payload: bytes) -> None:
        self.calls.append(("write", payload))

    def publish(self, topic: str, body: object, *, retain: bool = False) -> None:
        self.calls.append(("publish", topic, body, retain))

    def fault(self, cause: str) -> None:
        self.calls.append(("fault", cause))


@pytest.fixture
def host() -> RecordingHost:
    return RecordingHost()


@pytest.fixture
def wheels(host: RecordingHost) -> Wheels:
    return Wheels("wheels", host)


def test_every_verb_reaches_the_host(wheels: Wheels, host: RecordingHost) -> None:
    assert wheels.handshake() == Identity(firmware="ID 3")
    wheels.halt()
    wheels.publish("odometry", Odometry(1, 2), retain=True)
    wheels.fault("too hot")
    assert host.calls == [
        ("ask", b"ID?", 1.0),
        ("write", b"H"),
        ("publish", "odometry", Odometry(1, 2), True),
        ("fault", "too hot"),
    ]


@pytest.mark.parametrize(
    ("request_", "frame", "is_answer"),
    [
        (b"ID?", b"ID 3", True),
        (b"ID?", b"I", False),
        (b"V10,-10", b"V ok", True),
        (b"V10,-10", b"O1,2", False),
        (b"?", b"? yes", True),
        (b"\n\x01", b"\n\x02", True),
        (b"\x01\x02", b"\x01", True),
        (b"", b"anything", False),
    ],
)
def test_an_answer_begins_as_its_question_does(
    wheels: Wheels, request_: bytes, frame: bytes, is_answer: bool
) -> None:
    assert wheels.answers(request_, frame) is is_answer


def test_a_prefix_that_is_given_wins_over_the_hook(wheels: Wheels, host: RecordingHost) -> None:
    wheels.ask(b"ID?", answer=b"BENCH")
    assert host.accepts(b"BENCH 1")
    assert not host.accepts(b"ID 3")


def test_the_hook_decides_where_no_prefix_is_given(host: RecordingHost) -> None:
    class Numbered(Wheels):
        def answers(self, request: bytes, frame: bytes) -> bool:
            return frame.endswith(request[:1])

    Numbered("wheels", host).ask(b"7 go")
    assert host.accepts(b"gone 7")
    assert not host.accepts(b"7 gone")


@pytest.mark.parametrize("topic", ["state", "info", "events", "events/pong", "moves", "claim"])
def test_the_gateways_own_topics_are_refused(wheels: Wheels, topic: str) -> None:
    with pytest.raises(ValueError, match="published by the gateway itself"):
        wheels.publish(topic, None)


def test_settings_are_typed_by_the_class(host: RecordingHost) -> None:
    assert Wheels("wheels", host, {"track": 180}).settings.track == 180
    assert Wheels("wheels", host, Wheels.Settings(track=170)).settings.track == 170
    assert Wheels("wheels", host).settings.track == 200
    with pytest.raises(ValueError, match="unknown field"):
        Wheels("wheels", host, {"trakc": 180})


def test_the_description_is_data_only() -> None:
    info = Wheels.describe(Identity(firmware="3", model="base"))
    assert info["driver"] == "Wheels"
    assert info["description"] == "Two-wheel base."
    assert info["identity"] == {"firmware": "3", "model": "base", "serial_number": ""}
    assert list(info["commands"]) == ["halt"]
    assert info["publications"] == [
        {
            "topic": "odometry",
            "body": "Odometry",
            "fields": {
                "left": {"type": "int", "unit": "mm"},
                "right": {"type": "int", "unit": "mm"},
            },
        },
        {"topic": "voltage", "body": "float", "fields": {}},
    ]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(info)) == info
    assert Wheels.describe(None)["identity"] is None


def test_a_driver_without_a_handshake_cannot_be_made(host: RecordingHost) -> None:
    class Nobody(Driver):
        framing = Line()

    with pytest.raises(TypeError, match="handshake"):
        Nobody("nobody", host)  # type: ignore[abstract]
