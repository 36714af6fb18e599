"""One process from birth to death, on whatever thread calls `run`.

``birth`` → frames of ``life`` with mail in between → ``death``, which runs
whatever happened before. An exception is not handled here: it is left to rise,
after ``death``, to the supervisor that called.
"""

from __future__ import annotations

from gateway.process.process import Process
from gateway.process.stray import end_stray, heed_forks
from gateway.process.whereabouts import enter
from gateway.timeout import MOST

BETWEEN_FRAMES = 64
"""Letters that are handled at once between two frames, where there are as many."""


def run(process: Process) -> None:
    """Run ``process`` until it is told to die; raise what it raised."""
    try:
        begin(process)
        _live(process)
    except BaseException as raised:
        end_stray(process._box, raised)
        raise
    finally:
        end(process)


def begin(process: Process) -> None:
    """Have ``process`` born; whatever comes of it, `end` has to follow."""
    enter(process.name)
    process._box.own()
    heed_forks(process._box)
    report = process._context.report
    process._run_level = "born"
    report("born")
    process._add_marked_filters()
    process._context.serve_commands(process)
    process.birth()
    process._run_level = "living"
    report("living")


def end(process: Process) -> None:
    """Have ``process`` die, and give back what it had.

    Signals that came before its ``death`` are handled first. That it is dead is told where
    that returned.
    """
    process._ending.set()
    try:
        process._call_for_signals()
    finally:
        _die(process)


def _die(process: Process) -> None:
    report = process._context.report
    process._run_level = "dying"
    try:
        # Where nobody hears it, since the boss is gone, it dies in order all the same.
        report("dying")
    finally:
        try:
            process.death()
        finally:
            process.cleanup()
            process._run_level = "dead"
            process._ending.close()
        report("dead")


def _live(process: Process) -> None:
    box, frames, ending = process._box, process._frames, process._ending
    agenda = process._agenda
    handle, monotonic = process._handle, process._clock.monotonic
    has_life = type(process).life is not Process.life
    while not ending.is_set:
        left: float | None = None
        if agenda.is_busy:
            process._do_what_is_due()
            left = agenda.left(monotonic())
        due = frames.due
        if has_life and due is not None:
            now = monotonic()
            until_frame = due - now
            if until_frame <= 0:
                frames.advance(now)
                process.life()
                if frames.due is not None and frames.due <= monotonic():
                    _handle_some(process)
                if process._child_error is not None:
                    raise process._child_error
                continue
            if left is None or until_frame < left:
                left = min(MOST, until_frame)
        message = box.get(left)
        if message is not None:
            handle(message)
        if process._child_error is not None:
            raise process._child_error


def _handle_some(process: Process) -> None:
    """Handle what is there, however late the next frame is: mail has its turn as well."""
    for _ in range(BETWEEN_FRAMES):
        if not process.is_active:
            return
        message = process._box.get(0.0)
        if message is None:
            return
        process._handle(message)
