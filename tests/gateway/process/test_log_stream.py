"""Records on their way to the bus: which, how many, and never because of themselves."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from gateway.bus.directory import Book
from gateway.bus.office import Office
from gateway.clock import VirtualClock
from gateway.mail.message import Message
from gateway.process import log_stream
from gateway.process.log_levels import Levels, sieve
from gateway.process.log_stream import TEXT, LogCopies, LogStream, follow, release
from gateway.process.whereabouts import enter, handles_letters

DEADLINE = 20.0

log = logging.getLogger("tests.stream")


class FakeOffice:
    """Takes what is published; `gate` holds the one who publishes."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.book = Book(1, {"main": 3})
        self.published: queue.Queue[Message] = queue.Queue()
        self.handed: queue.Queue[tuple[str, Message]] = queue.Queue()
        self.gate = threading.Event()
        self.gate.set()
        self._ids = iter(range(10**6))

    def new_id(self) -> str:
        return f"c0ffee-{next(self._ids)}"

    def publish(self, message: Message) -> None:
        assert self.gate.wait(DEADLINE)
        log.warning("this is about publishing a log")
        self.published.put(message)

    def publish_to(self, name: str, message: Message) -> None:
        self.handed.put((name, message))

    def line(self) -> Message:
        return self.published.get(timeout=DEADLINE)


@pytest.fixture
def office(own_root: None) -> Iterator[FakeOffice]:
    office = FakeOffice()
    yield office
    office.gate.set()
    release(cast(Office, office))
    sieve.apply(Levels(), ())


def stream(office: FakeOffice, level: str = "", rate: int = 50, warnings_to: str = "") -> None:
    wanted = LogStream(level, rate, warnings_to)
    sieve.apply(Levels(), (), wanted.floor)
    follow(cast(Office, office), wanted)


def copies(office: FakeOffice) -> list[LogCopies]:
    handlers = logging.getLogger().handlers
    return [
        each
        for each in handlers
        if isinstance(each, LogCopies) and each.office is cast(Office, office)
    ]


def test_a_record_is_published_on_its_process_topic(office: FakeOffice) -> None:
    stream(office, "info")
    log.info("the %s is out", "cable")
    line = office.line()
    assert (line.kind, line.subject, line.sender, line.sender_incarnation) == (
        "publication",
        "log/main",
        "main",
        3,
    )
    assert not line.retain
    assert {**line.body, "time": 0} == {
        "time": 0,
        "level": "info",
        "logger": "tests.stream",
        "process": "main",
        "text": "the cable is out",
    }


def test_below_the_level_nothing_is_published(office: FakeOffice) -> None:
    stream(office, "error")
    log.warning("not this")
    log.error("this")
    assert office.line().body["text"] == "this"


def test_a_stream_makes_records_that_the_written_log_does_not_show(office: FakeOffice) -> None:
    shown: list[str] = []

    class Written(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.append(record.getMessage())

    root = logging.getLogger()
    root.setLevel("WARNING")
    root.addHandler(Written())
    stream(office, "debug")
    log.debug("only on the bus")
    log.warning("in both")
    assert [office.line().body["text"] for _ in range(2)] == ["only on the bus", "in both"]
    stream(office)
    assert not log.isEnabledFor(logging.INFO)
    # Its carrier warns of itself, which is written and not streamed.
    assert [text for text in shown if "publishing" not in text] == ["in both"]


def test_what_is_logged_by_publishing_a_line_is_not_streamed(office: FakeOffice) -> None:
    stream(office, "debug")
    log.debug("one")
    log.debug("two")
    assert [office.line().body["text"] for _ in range(2)] == ["one", "two"]
    release(cast(Office, office))
    assert office.published.empty()


def test_what_is_logged_while_a_line_is_handled_as_mail_is_not_streamed(
    office: FakeOffice,
) -> None:
    @handles_letters
    def handle(message: Message) -> None:
        log.info("I carry %s", message.subject)

    stream(office, "debug")
    log.info("first")
    line = office.line()
    handle(line)
    handle(Message("1", "1", 1, 0.0, "a", "b", "letter", None))
    assert office.line().body["text"] == "I carry letter"


def test_beyond_the_rate_lines_are_left_out_and_one_says_how_many(office: FakeOffice) -> None:
    stream(office, "debug", rate=3)
    for number in range(10):
        log.debug("%s", number)
    office.clock.now = 1.0
    log.debug("later")
    said = [office.line().body for _ in range(5)]
    assert [line["text"] for line in said] == [
        "0",
        "1",
        "2",
        "7 lines were left out: more than 3 a second",
        "later",
    ]
    assert said[3]["left_out"] == 7


def test_what_was_left_out_is_told_at_the_end_where_nothing_came_after(office: FakeOffice) -> None:
    stream(office, "debug", rate=1)
    log.debug("one")
    log.debug("two")
    release(cast(Office, office))
    assert office.line().body["text"] == "one"
    assert office.line().body["left_out"] == 1


def test_what_was_left_out_is_told_when_the_lease_is_over_and_warnings_go_on(
    office: FakeOffice,
) -> None:
    stream(office, "debug", rate=1, warnings_to="health")
    log.debug("one")
    log.debug("two")
    stream(office, rate=1, warnings_to="health")
    assert office.line().body["text"] == "one"
    assert office.line().body["left_out"] == 1
    log.debug("three")
    log.warning("four")
    assert office.handed.get(timeout=DEADLINE)[1].body["text"] == "four"
    assert office.published.empty()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_publishing_costs_one_line(
    office: FakeOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = office.publish
    ended = threading.Event()

    def tell_of_it(_: object) -> None:
        log.error("on the thread that carries: this would go on without an end")
        ended.set()

    monkeypatch.setattr(threading, "excepthook", tell_of_it)

    def break_once(message: Message) -> None:
        monkeypatch.setattr(office, "publish", publish)
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(office, "publish", break_once)
    stream(office, "info")
    log.info("lost")
    assert ended.wait(DEADLINE)
    # The thread that the bug has ended may be alive for a moment still.
    log.info("told")
    assert office.line().body["text"] == "told"


def test_warnings_go_to_their_mailbox_without_a_stream(office: FakeOffice) -> None:
    stream(office, warnings_to="health")
    log.info("nobody wants this")
    log.error("the arm is loose")
    name, line = office.handed.get(timeout=DEADLINE)
    assert (name, line.subject, line.body["text"]) == ("health", "log/main", "the arm is loose")
    assert office.published.empty()


def test_both_get_a_body_of_their_own(office: FakeOffice) -> None:
    stream(office, "debug", warnings_to="health")
    log.error("x")
    _, handed = office.handed.get(timeout=DEADLINE)
    assert handed.body == (published := office.line()).body
    assert handed.body is not published.body


def test_a_text_is_bounded_and_its_traceback_with_it(office: FakeOffice) -> None:
    stream(office, "info")
    try:
        raise ValueError("a bug")
    except ValueError:
        log.exception("x")
    assert office.line().body["text"].endswith("ValueError: a bug")
    log.info("%s", "\ud800" * 2 * TEXT)
    text = office.line().body["text"]
    assert len(text) == TEXT + 1
    text.encode()


def test_who_logs_never_waits_and_what_is_too_much_is_counted(
    office: FakeOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_stream, "DEPTH", 2)
    stream(office, "debug", rate=1000)
    office.gate.clear()
    for number in range(50):
        log.debug("%s", number)
    office.gate.set()
    (handler,) = copies(office)
    carrier = handler._carrier
    release(cast(Office, office))
    if carrier is not None:
        # It has a second in `release`, which a machine that stands still takes from it.
        carrier.join(DEADLINE)
    lines = list(office.published.queue)
    told = [line for line in lines if "left_out" not in line.body]
    assert len(told) + sum(line.body.get("left_out", 0) for line in lines) == 50
    assert len(told) <= 4


def test_a_process_and_a_device_are_named_and_make_a_topic(office: FakeOffice) -> None:
    stream(office, "info")

    def work() -> None:
        enter("a/b+c", "wheels")
        log.info("x")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(DEADLINE)
    line = office.line()
    assert (line.subject, line.body["device"]) == ("log/a_b_c", "wheels")


def test_loggers_with_levels_of_their_own_keep_them_while_warnings_are_wanted(
    office: FakeOffice,
) -> None:
    shown: list[str] = []

    class Written(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.append(record.getMessage())

    logging.getLogger().setLevel("INFO")
    logging.getLogger().addHandler(Written())
    chatty = logging.getLogger("tests.chatty")
    chatty.setLevel("DEBUG")
    try:
        stream(office, warnings_to="health")
        chatty.debug("of its own accord")
    finally:
        chatty.setLevel(logging.NOTSET)
    assert shown == ["of its own accord"]


def test_a_level_is_lowered_while_it_streams(office: FakeOffice) -> None:
    logging.getLogger().setLevel("WARNING")
    stream(office, "info")
    stream(office, "debug")
    log.debug("x")
    assert office.line().body["text"] == "x"


def test_the_handler_is_taken_away_with_the_stream(office: FakeOffice) -> None:
    stream(office, "info")
    stream(office, "debug")
    assert len(copies(office)) == 1
    stream(office)
    assert copies(office) == []


def test_a_broken_record_breaks_nobody(
    office: FakeOffice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    stream(office, "info")
    log.info("%d", "no number")
    log.info("next")
    assert office.line().body["text"] == "next"


def test_streams_say_the_lowest_level_that_they_want() -> None:
    cases: list[tuple[Any, int | None]] = [
        (LogStream(), None),
        (LogStream("debug"), logging.DEBUG),
        (LogStream("error", warnings_to="health"), logging.WARNING),
    ]
    assert [each.floor for each, _ in cases] == [floor for _, floor in cases]
