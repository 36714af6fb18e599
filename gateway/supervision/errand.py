"""What the forked child of one errand does: calls a function with a letter, and answers.

It has no mailbox and stands in no book. Its answer goes straight to whoever
wrote the letter. TERM ends it at once; Ctrl-C is the main process's business.
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
from gateway.errors import GatewayError, RecipientGoneError, in_words
from gateway.mail.body import checked
from gateway.mail.codec import decode
from gateway.mail.message import Message, bounce_of, is_solicited, reply_to
from gateway.process.forked_callback import function_at
from gateway.process.whereabouts import enter, handles_letters, rename_os_process
from gateway.supervision.exit_status import status_of
from gateway.supervision.life import exit_in_words, log_bug

log = logging.getLogger(__name__)

REPLIED = b"1"
"""What it notes where it has replied, or had nothing to say."""

SENT_BACK = b"2"
"""What it notes where it has sent the letter back."""

_task_decoder = msgspec.msgpack.Decoder(tuple[str, bytes, bytes])
_book_decoder = msgspec.msgpack.Decoder(Book)


def run_errand(name: str, task: int, done: int, *, folder: Path, clock: Clock) -> int:
    """Do what stands in the memory file ``task``, note in ``done`` how it ended; return the status.

    A bug of the function is logged, and told to whoever asked: the application may be over soon
    after that. One that leaves by ``sys.exit()`` has nothing to say; whether it failed, its
    status tells.
    """
    threading.main_thread().name = name
    # What it logs is logged by the process whose callback it is.
    owner = name.partition("@")[2]
    rename_os_process(owner)
    enter(owner)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    with open(task, "rb") as file:
        file.seek(0)
        function, packed, book = _task_decoder.decode(file.read())
    letter = decode(packed)
    office = Office(folder, clock=clock)
    try:
        office.update(_book_decoder.decode(book))
        try:
            ending = _answer(office, letter, function)
        except SystemExit as leaving:
            status = status_of(leaving)
            if status:
                exit_in_words(name, leaving)
                return status
            ending = REPLIED
        except Exception as bug:  # noqa: BLE001 - it is logged, and told
            log_bug(name, bug)
            if letter.kind == "letter":
                gone = RecipientGoneError(f"{name} did not answer: {in_words(bug)}")
                _bounce(office, letter, gone)
                os.write(done, SENT_BACK)
            return 1
    finally:
        office.shut()
    os.write(done, ending)
    return 0


@handles_letters
def _answer(office: Office, message: Message, function: str) -> bytes:
    try:
        body = function_at(function)(message)
        if body is None:
            return REPLIED
        body, body_type = checked(body)
        office.answer(
            reply_to(message, office.new_id(), office.clock.time(), body, body_type=body_type)
        )
    except GatewayError as error:
        log.info("%s refused %r of %s: %s", function, message.subject, message.sender, error)
        if message.kind == "letter":
            _bounce(office, message, error)
        return SENT_BACK
    return REPLIED


def _bounce(office: Office, letter: Message, error: GatewayError) -> None:
    if not is_solicited(letter):
        return
    try:
        office.answer(bounce_of(letter, office.new_id(), office.clock.time(), error))
    except GatewayError as failure:
        log.info("%s could not be told: %s", letter.sender, failure)
