"""What the forked child of one errand does: calls a function with a letter, and answers.

It has no mailbox and stands in no book. Its answer goes straight to whoever
wrote the letter; what it cannot answer goes back by the process that handed it over
(`gateway.supervision.sent_back`). TERM ends it at once; Ctrl-C is the main process's
business.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path

import msgspec

from gateway.bus.directory import Book
from gateway.bus.office import Office
from gateway.clock import Clock
from gateway.errors import GatewayError, MailboxFullError, RecipientGoneError, in_words
from gateway.mail.body import checked
from gateway.mail.codec import decode
from gateway.mail.message import Message, reply_to
from gateway.process.forked_callback import function_at
from gateway.supervision.life import log_bug
from gateway.supervision.sent_back import Owner, send_back, tell_writer

log = logging.getLogger(__name__)

_task_decoder = msgspec.msgpack.Decoder(tuple[str, bytes, bytes, Owner])
_book_decoder = msgspec.msgpack.Decoder(Book)

PATIENCE = 5.0
"""Seconds until whoever wrote a letter is told past the process that is to count it."""


def run_errand(name: str, task: int, done: int, *, folder: Path, clock: Clock) -> int:
    """Do what stands in the memory file ``task``, note in ``done`` that it is; return the status.

    A bug of the function is logged, and told to whoever asked: the application may be over soon
    after that.
    """
    threading.main_thread().name = name
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    with open(task, "rb") as file:
        file.seek(0)
        function, packed, book, owner = _task_decoder.decode(file.read())
    letter = decode(packed)
    office = Office(folder, clock=clock)
    try:
        office.update(_book_decoder.decode(book))
        try:
            _answer(office, letter, function, owner)
        except Exception as bug:  # noqa: BLE001 - it is logged, and told
            log_bug(name, bug)
            if letter.kind == "letter":
                gone = RecipientGoneError(f"{name} did not answer: {in_words(bug)}")
                _bounce(office, letter, gone, owner)
                os.write(done, b"1")
            return 1
    finally:
        office.shut()
    os.write(done, b"1")
    return 0


def _answer(office: Office, letter: Message, function: str, owner: Owner) -> None:
    try:
        body = function_at(function)(letter)
        if body is None:
            return
        body, body_type = checked(body)
        office.answer(
            reply_to(letter, office.new_id(), office.clock.time(), body, body_type=body_type)
        )
    except GatewayError as error:
        log.info("%s refused %r of %s: %s", function, letter.subject, letter.sender, error)
        _bounce(office, letter, error, owner)


def _bounce(office: Office, letter: Message, error: GatewayError, owner: Owner) -> None:
    try:
        send_back(office, owner, letter, error, PATIENCE)
    except MailboxFullError:
        tell_writer(office, letter, error, PATIENCE)
