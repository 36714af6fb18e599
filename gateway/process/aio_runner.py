"""One asyncio process from birth to death, as a coroutine on its loop.

The same steps as `gateway.process.runner`, with an ``await`` wherever the
author's methods may want one. `death` runs whatever happened before, a
cancellation included. An exception is left to rise, after `death`; so is what
tells of a `Pending` that was dropped, also in `death` itself.
"""

from __future__ import annotations

from gateway.process.aio_process import AsyncProcess
from gateway.process.process import Process
from gateway.process.stray import end_stray, heed_forks


async def run(process: AsyncProcess) -> None:
    """Run ``process`` until it is told to die; raise what it raised."""
    report = process._context.report
    has_failed = True
    process._enter_loop()
    heed_forks(process._box)
    try:
        process._run_level = "born"
        report("born")
        process._add_marked_filters()
        process._context.serve_commands(process)
        await process._settle(process.birth())
        process._run_level = "living"
        report("living")
        await _live(process)
        has_failed = False
    except BaseException as raised:
        end_stray(process._box, raised)
        raise
    finally:
        process._run_level = "dying"
        process._ending.set()
        try:
            report("dying")
        finally:
            try:
                await process._settle(process.death())
            finally:
                await process._leave_loop()
                process._run_level = "dead"
                process._ending.close()
            if process._dropped is not None and not has_failed:
                raise process._dropped
            report("dead")


async def _live(process: AsyncProcess) -> None:
    letters, frames, ending = process.letters, process._frames, process._ending
    monotonic = process._clock.monotonic
    has_life = type(process).life not in (Process.life, AsyncProcess.life)
    agenda = process._agenda
    while not ending.is_set:
        left: float | None = None
        if agenda.is_busy:
            process._do_what_is_due()
            await process._settle(None)
            left = agenda.left(monotonic())
        if has_life and frames.due is not None:
            until_frame = frames.due - monotonic()
            left = until_frame if left is None else min(left, until_frame)
            if until_frame <= 0:
                frames.advance(monotonic())
                await process._settle(process.life())
                # One look at the mail between frames, however late they are.
                left = 0.0
        message = await letters.get(left)
        if message is not None:
            process._handle(message)
        await process._settle(None)
        if process._child_error is not None:
            raise process._child_error
