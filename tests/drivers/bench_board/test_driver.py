"""The driver against the simulated board, with a host that is a function call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import pytest

from drivers.bench_board import protocol
from drivers.bench_board.analogue import Analogue
from drivers.bench_board.board import Board
from drivers.bench_board.driver import BenchBoard, BenchBoardSettings
from gateway.device import Identity
from gateway.errors import CallTimeoutError, ProtocolError, RefusedError
from gateway.framing import Frame
from gateway.mail.body import checked


class StillClock:
    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class Desk:
    """A `DriverHost` whose wire leads straight into a board; damages requests on demand."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.board = Board(clock=self.clock, voltage=lambda seconds: 2.5)
        self.decoder = BenchBoard.framing.decoder()
        self.written: list[bytes] = []
        self.published: list[tuple[str, object]] = []
        self.faults: list[str] = []
        self.damage = 0
        self.driver = BenchBoard("bench", self, {"stream_hz": 20})
        self._unasked: deque[bytes] = deque()

    def ask(self, request: bytes, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        answer = None
        for frame in self._exchange(request):
            if answer is None and answers(frame):
                answer = frame
            else:
                self._unasked.append(frame)
        if answer is None:
            raise CallTimeoutError(f"no answer to {request!r} within {timeout} s")
        return answer

    def listen(self, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        raise CallTimeoutError("nobody listens to a bench board, one asks it")

    def ask_many(
        self,
        requests: Sequence[bytes],
        answers: Callable[[bytes, bytes], bool],
        timeout: float,
        in_flight: int,
    ) -> list[bytes]:
        return [self.ask(request, partial(answers, request), timeout) for request in requests]

    def write(self, payload: bytes) -> None:
        self._unasked += self._exchange(payload)

    def publish(self, topic: str, body: object, *, retain: bool = False) -> None:
        assert checked(body)
        self.published.append((topic, body))

    def fault(self, cause: str) -> None:
        self.faults.append(cause)

    def _exchange(self, request: bytes) -> list[bytes]:
        self.written.append(request)
        data = BenchBoard.framing.encode(request)
        if self.damage:
            self.damage -= 1
            data = b"#" + data
        return self._frames(self.board.receive(data))

    def _frames(self, data: bytes) -> list[bytes]:
        return [event.payload for event in self.decoder.feed(data) if isinstance(event, Frame)]

    def hear(self) -> None:
        """Give the driver what the board has to say."""
        self._unasked += self._frames(self.board.poll())
        while self._unasked:
            self.driver.received(self._unasked.popleft())


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.hear()
    desk.written.clear()
    return desk


def test_the_handshake_asks_who_is_there_and_sets_the_rate(desk: Desk) -> None:
    identity = desk.driver.handshake()
    assert identity == Identity(firmware="1.0.0", model="bench-board", serial_number="BB-0001")
    assert desk.board.hz == 20
    assert desk.written == [b"ID", b"S20"]


def test_a_board_of_another_model_is_refused(desk: Desk) -> None:
    desk.board._identity = b"toaster 1.0.0 T-1"
    with pytest.raises(
        RefusedError, match="this is a toaster, and the driver is for a bench-board"
    ):
        desk.driver.handshake()


def test_a_board_that_says_nothing_times_out(desk: Desk) -> None:
    desk.driver.inject_fault("silence")
    with pytest.raises(CallTimeoutError):
        desk.driver.handshake()


def test_readings_are_published(desk: Desk) -> None:
    desk.driver.handshake()
    desk.clock.now += 0.1
    desk.hear()
    assert desk.published == [
        ("analogue", Analogue(milliseconds=50, raw=512, volts=2.5)),
        ("analogue", Analogue(milliseconds=100, raw=512, volts=2.5)),
    ]


def test_a_reported_fault_is_passed_on(desk: Desk) -> None:
    desk.driver.inject_fault("report", 2)
    desk.hear()
    assert desk.faults == ["supply voltage low (fault 2)"]


def test_a_board_that_has_restarted_gets_its_last_rate_back(desk: Desk) -> None:
    desk.driver.handshake()
    desk.driver.stream(50)
    desk.board.reset()
    assert desk.board.hz == 0
    desk.hear()
    assert desk.board.hz == 50


def test_the_led_command_says_what_the_led_is(desk: Desk) -> None:
    assert desk.driver.led(True) is True
    assert desk.board.led
    assert desk.driver.led(False) is False
    assert not desk.board.led


def test_the_analogue_input_is_read_with_a_new_tag_each_time(desk: Desk) -> None:
    assert [desk.driver.read_analogue() for _ in range(3)] == [2.5] * 3
    assert len(set(desk.written)) == 3


def test_a_late_answer_is_neither_taken_for_another_nor_an_error(desk: Desk) -> None:
    desk.driver.received(b"R1 99,0")
    desk.driver.received(b"Nchecksum")
    assert not desk.driver.answers(b"R2", b"R1 99,0")
    assert desk.published == []


def test_a_request_that_arrives_damaged_is_sent_once_more(desk: Desk) -> None:
    desk.damage = 1
    assert desk.driver.led(True) is True
    assert desk.written == [b"L1", b"L1"]


def test_a_wire_that_damages_everything_is_an_error(desk: Desk) -> None:
    desk.damage = 2
    with pytest.raises(ProtocolError, match="damaged"):
        desk.driver.led(True)
    assert desk.written == [b"L1", b"L1"]


def test_a_nonsense_reading_is_a_protocol_error(desk: Desk) -> None:
    with pytest.raises(ProtocolError):
        desk.driver.received(b"A12,9999")


def test_the_counters_have_names(desk: Desk) -> None:
    desk.driver.led(True)
    assert desk.driver.counters() == {
        "accepted": 3,  # the rate that its banner asked for, the LED, and this
        "bad_checksums": 0,
        "long_lines": 0,
        "refused": 0,
        "overruns": 0,
        "unsent": 0,
    }


def test_faults_are_switched_on_and_off(desk: Desk) -> None:
    desk.driver.inject_fault("corrupt", 2)
    desk.driver.led(True)
    with pytest.raises(CallTimeoutError):
        desk.driver.led(True)
    desk.driver.inject_fault("none")
    for _ in range(4):
        desk.driver.led(False)
    desk.driver.inject_fault("hang")
    with pytest.raises(CallTimeoutError):
        desk.driver.led(True)


def test_a_fault_that_the_board_does_not_have_is_refused(desk: Desk) -> None:
    with pytest.raises(RefusedError, match="faults 1 to 3, not 4"):
        desk.driver.inject_fault("report", 4)
    assert desk.written == []


@pytest.mark.parametrize(
    ("name", "body", "mistake"),
    [
        ("led", {"on": 1}, "'on'"),
        ("led", {}, "needs the parameter 'on'"),
        ("led", {"om": True}, "has no parameter 'om'"),
        ("stream", {"hz": 201}, "'hz'"),
        ("stream", {"hz": "10"}, "'hz'"),
        ("inject_fault", {"kind": "explode"}, "'kind'"),
    ],
)
def test_letters_that_do_not_fit_are_refused_by_parameter(
    name: str, body: dict[str, object], mistake: str
) -> None:
    with pytest.raises(RefusedError, match=mistake):
        BenchBoard.commands()[name].check(body)


def test_its_settings_have_a_default_and_bounds() -> None:
    assert BenchBoardSettings().stream_hz == 10
    with pytest.raises(msgspec.ValidationError):
        BenchBoard("bench", Desk(), {"stream_hz": 201})
    with pytest.raises(msgspec.ValidationError):
        BenchBoard("bench", Desk(), {"steam_hz": 1})


def test_what_it_offers_can_be_read_as_data() -> None:
    info = BenchBoard.describe(None)
    assert set(info["commands"]) == {"led", "stream", "read_analogue", "counters", "inject_fault"}
    assert info["publications"][0]["fields"]["volts"] == {"type": "float", "unit": "V"}
    assert msgspec.json.encode(info)


def test_every_request_fits_the_boards_line() -> None:
    longest = max(len(protocol.read_analogue(999)), len(protocol.corrupt_every(255)))
    assert longest <= protocol.PAYLOAD_LIMIT
