"""The log on the bus: records of every OS process as publications, for as long as somebody asks.

A `LogStream` stands in the book (under `NOTICE`), and with it reaches every OS
process; `follow` puts a handler beside those that write the log, or takes it
away again. Records from its ``level`` upwards are published on
``log/<process>``; warnings and worse go, whether anybody asked or not, straight
to the mailbox ``warnings_to``, where one is named.

Whoever logs waits for nothing: a thread that lives only while there is
something to carry publishes. So many lines a second pass; then one line says
how many were left out. What that thread logs, and what is logged while a line
of the log is handled as mail, is left out, or the log would tell of itself for
ever.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import msgspec

from gateway.bus.office import Office
from gateway.mail.abridged import as_unicode
from gateway.mail.message import BULK, Message
from gateway.process.log_levels import number
from gateway.process.log_rate import LogRate
from gateway.process.whereabouts import here

NOTICE = "log_stream"
"""Under what the book carries it."""

TOPIC = "log"
"""The topics are ``log/<process>``."""

TEXT = 4096
"""Characters that are kept of one record, its traceback included."""

DEPTH = 256
"""Lines that wait to be published at the most, and two that say what was left out."""

LINGER = 1.0
"""Seconds that the thread waits for more before it ends."""

_THREAD = "log-"
"""With what the thread ids of these publications begin; those of letters are hexadecimal."""


class LogStream(msgspec.Struct, frozen=True):
    """What is to be published: records from ``level``, ``rate`` a second; nothing where empty."""

    level: str = ""
    rate: int = 50
    warnings_to: str = ""

    @property
    def floor(self) -> int | None:
        """The lowest level, as a number, that is wanted; None where nothing is."""
        wanted = [logging.WARNING] if self.warnings_to else []
        return min([*wanted, *([number(self.level)] if self.level else [])], default=None)


def follow(office: Office, stream: LogStream) -> None:
    """Carry the records of this OS process as ``stream`` says, or no longer."""
    root = logging.getLogger()
    known = next(
        (each for each in root.handlers if isinstance(each, LogCopies) and each.office is office),
        None,
    )
    if stream.floor is None:
        if known is not None:
            root.removeHandler(known)
            known.close()
    elif known is None:
        root.addHandler(LogCopies(office, stream))
    else:
        known.set(stream)


def release(office: Office) -> None:
    """Publish what waits, a second at the most, and carry nothing any more."""
    follow(office, LogStream())


class _Line(NamedTuple):
    content: dict[str, Any]
    is_streamed: bool
    is_warning: bool


class LogCopies(logging.Handler):
    """The handler of one office; emits to nobody but its queue."""

    is_sieved = False
    """Its records are not judged by the levels of the log that is written."""

    def __init__(self, office: Office, stream: LogStream) -> None:
        super().__init__()
        self.office = office
        self._stream = stream
        self._rate = LogRate(stream.rate)
        self._warning_rate = LogRate(stream.rate)
        self._lines: SimpleQueue[_Line | None] = SimpleQueue()
        self._carrier: threading.Thread | None = None
        self._ended: threading.Thread | None = None
        self._is_closed = False
        self._numbers: Counter[str] = Counter()
        self._formatter = logging.Formatter()

    def set(self, stream: LogStream) -> None:
        """Go on with another level, rate or mailbox."""
        with self._held():
            if self._stream.level and not stream.level:
                self._put(None)
            if stream.rate != self._stream.rate:
                self._rate, self._warning_rate = LogRate(stream.rate), LogRate(stream.rate)
            self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Note ``record`` for whoever wants it."""
        try:
            self._note(record)
        except Exception:  # noqa: BLE001 - as every handler of logging's: a record breaks nobody
            self.handleError(record)

    def close(self) -> None:
        """Have what waits published, a second at the most, and end the thread."""
        with self._held():
            self._is_closed = True
            carrier = self._carrier
            if carrier is not None:
                self._lines.put(None)
        if carrier is not None and carrier is not threading.current_thread():
            carrier.join(1.0)
        super().close()

    def _held(self) -> Any:
        assert self.lock is not None
        return self.lock

    def _note(self, record: logging.LogRecord) -> None:
        # What publishing has to say of itself would be published without an end.
        if self._is_closed or threading.current_thread() in (self._carrier, self._ended):
            return
        stream, level = self._stream, record.levelno
        is_streamed = bool(stream.level) and level >= number(stream.level)
        is_warning = bool(stream.warnings_to) and level >= logging.WARNING
        if not is_streamed and not is_warning:
            return
        where = getattr(record, "whereabouts", None) or here()
        if where.mail_thread.startswith(_THREAD):
            return
        now = self.office.clock.monotonic()
        is_streamed = is_streamed and self._rate.lets(now)
        is_warning = is_warning and self._warning_rate.lets(now)
        if self._lines.qsize() >= DEPTH:
            for rate, wanted in ((self._rate, is_streamed), (self._warning_rate, is_warning)):
                if wanted:
                    rate.count()
            return
        if not is_streamed and not is_warning:
            return
        text = self._formatter.format(record)
        content = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": as_unicode(record.name[:200]),
            "process": where.process,
            "text": as_unicode(text if len(text) <= TEXT else f"{text[:TEXT]}…"),
        }
        if where.device:
            content["device"] = where.device
        if where.mail_thread:
            content["thread"] = where.mail_thread
        if is_streamed and (left_out := self._rate.take_left_out()):
            self._put(_Line(_gap(content, left_out, stream.rate), True, False))
        if is_warning and (left_out := self._warning_rate.take_left_out()):
            self._put(_Line(_gap(content, left_out, stream.rate), False, True))
        self._put(_Line(content, is_streamed, is_warning))

    def _put(self, line: _Line | None) -> None:
        """Have ``line`` published; None has it said how many were left out."""
        self._lines.put(line)
        # A fork has the object of its parent's thread, and no thread.
        if self._carrier is None or not self._carrier.is_alive():
            self._start_carrier()

    def _start_carrier(self) -> None:
        self._carrier = threading.Thread(target=self._carry, name="log-copies", daemon=True)
        # At its very end the interpreter makes no threads any more.
        try:
            self._carrier.start()
        except RuntimeError:
            self._carrier = None

    # The thread's

    def _carry(self) -> None:
        try:
            self._carry_lines()
        except BaseException:
            # It is alive for a moment still, and another carries what comes by then.
            with self._held():
                self._ended, self._carrier = self._carrier, None
                if not self._lines.empty() and not self._is_closed:
                    self._start_carrier()
            raise

    def _carry_lines(self) -> None:
        while True:
            try:
                line = self._lines.get(timeout=LINGER)
            except Empty:
                with self._held():
                    if self._lines.empty():
                        self._carrier = None
                        return
                continue
            if line is not None:
                self._publish(line)
                continue
            self._tell_the_rest()
            if self._is_closed and self._lines.empty():
                return

    def _tell_the_rest(self) -> None:
        """Say how many were left out that no line said yet."""
        if left_out := self._rate.take_left_out():
            where = here().process
            content = {"time": self.office.clock.time(), "process": where}
            self._publish(_Line(_gap(content, left_out, self._stream.rate), True, False))

    def _publish(self, line: _Line) -> None:
        office, process = self.office, line.content["process"]
        topic = f"{TOPIC}/{process.translate(_NO_LEVELS)}"
        self._numbers[topic] += 1
        message_id = office.new_id()
        message = Message(
            message_id,
            f"{_THREAD}{message_id}",
            self._numbers[topic],
            office.clock.time(),
            process,
            "",
            topic,
            line.content,
            BULK,
            kind="publication",
            sender_incarnation=office.book.incarnations.get(process, 0),
        )
        # An office that is being shut has descriptors no more; nobody is left to be told.
        with suppress(OSError):
            if line.is_warning:
                own = msgspec.structs.replace(message, body=dict(line.content))
                office.publish_to(self._stream.warnings_to, own)
            if line.is_streamed:
                office.publish(message)


_NO_LEVELS = str.maketrans("/+#", "___")


def _gap(beside: dict[str, Any], left_out: int, rate: int) -> dict[str, Any]:
    lines = "1 line was" if left_out == 1 else f"{left_out} lines were"
    return {
        "time": beside["time"],
        "level": "warning",
        "logger": __name__,
        "process": beside["process"],
        "text": f"{lines} left out: more than {rate} a second",
        "left_out": left_out,
    }
