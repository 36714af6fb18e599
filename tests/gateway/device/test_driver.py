"""The driver class: what its author gets without a thread or a link."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypedDict

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
    publications = {"odometry": Odometry, "voltage": Annotated[float, Unit("V")]}

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

    def listen(self, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        self.calls.append(("listen", timeout))
        self.accepts = answers
        return b"B 3"

    def ask_many(
        self,
        requests: Sequence[bytes],
        answers: Callable[[bytes, bytes], bool],
        timeout: float,
        in_flight: int,
    ) -> list[bytes]:
        self.calls.append(("ask_many", requests, timeout, in_flight))
        assert all(answers(request, request) for request in requests)
        return [b"ID 3" for _ in requests]

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
    assert wheels.ask_many([b"A", b"B"], timeout=2.0) == [b"ID 3", b"ID 3"]
    wheels.halt()
    wheels.publish("odometry", Odometry(1, 2), retain=True)
    wheels.fault("too hot")
    assert host.calls == [
        ("ask", b"ID?", 1.0),
        ("ask_many", [b"A", b"B"], 2.0, 1),
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


def test_a_late_answer_is_received_unless_the_driver_has_a_method_for_it(
    host: RecordingHost,
) -> None:
    class Ears(Wheels):
        def received(self, frame: bytes) -> None:
            host.calls.append(("received", frame))

    Ears("wheels", host).late(b"ID?", b"ID 3")
    assert host.calls == [("received", b"ID 3")]


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
            "unit": "",
            "description": "What the wheels have turned.",
            "fields": {
                "left": {"type": "int", "unit": "mm"},
                "right": {"type": "int", "unit": "mm"},
            },
        },
        {"topic": "voltage", "body": "float", "unit": "V", "description": "", "fields": {}},
    ]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(info)) == info
    assert Wheels.describe(None)["identity"] is None


@pytest.mark.parametrize("name", ["name", "settings", "publish", "handshake"])
def test_a_command_cannot_take_a_name_that_every_driver_needs(name: str) -> None:
    clash: Any = type("Clash", (Wheels,), {name: command(lambda self: None)})
    with pytest.raises(TypeError, match=f"command {name}: every driver has a {name} already"):
        clash.commands()


def test_a_list_is_published_as_it_is(host: RecordingHost) -> None:
    class Lister(Wheels):
        publications = {"all": list[int]}

    assert Lister.describe(None)["publications"][0]["fields"] == {}


def test_a_driver_without_a_handshake_cannot_be_made(host: RecordingHost) -> None:
    class Nobody(Driver):
        framing = Line()

    with pytest.raises(TypeError, match="handshake"):
        Nobody("nobody", host)  # type: ignore[abstract]


def test_listening_waits_for_a_frame_and_writes_nothing(
    wheels: Wheels, host: RecordingHost
) -> None:
    assert wheels.listen(lambda frame: frame.startswith(b"B"), timeout=2.0) == b"B 3"
    assert host.calls == [("listen", 2.0)]
    assert host.accepts(b"B 3")
    assert not host.accepts(b"A 3")


def test_a_driver_has_nothing_to_do_by_itself_unless_it_says_so(wheels: Wheels) -> None:
    assert wheels.tick(10.0) is None


def test_the_class_for_a_configuration_is_the_class_itself_unless_it_says_so() -> None:
    assert Wheels.configured({"track": 3}) is Wheels
    assert Wheels.typed({"track": 3}) == Wheels.Settings(track=3)
    assert Wheels.typed(Wheels.Settings(track=4)) == Wheels.Settings(track=4)
    with pytest.raises(msgspec.ValidationError):
        Wheels.typed({"treck": 3})


def test_a_variant_is_the_same_driver_with_other_attributes(host: RecordingHost) -> None:
    made = Wheels.variant(publications={"voltage": float})
    assert issubclass(made, Wheels)
    assert (made.__name__, made.__module__, made.__doc__) == (
        "Wheels",
        Wheels.__module__,
        Wheels.__doc__,
    )
    assert list(made.publications) == ["voltage"]
    assert list(Wheels.publications) == ["odometry", "voltage"]
    made("wheels", host).halt()
    assert made.describe(None)["commands"].keys() == {"halt"}


def test_what_is_an_answer_may_be_decided_by_a_function(
    wheels: Wheels, host: RecordingHost
) -> None:
    wheels.ask(b"ID?", answer=lambda frame: frame.endswith(b"!"))
    assert host.accepts(b"OK!")
    assert not host.accepts(b"ID?")


def test_a_typed_dict_is_described_by_its_fields() -> None:
    class Climate(TypedDict):
        warmth: Annotated[float, Unit("°C")]
        open: bool

    (described,) = Wheels.variant(publications={"climate": Climate}).describe(None)["publications"]
    assert described["fields"] == {
        "warmth": {"type": "float", "unit": "°C"},
        "open": {"type": "bool", "unit": ""},
    }
