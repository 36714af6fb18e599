"""The one place where a process's bug is caught: its supervisor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from traceback import format_tb

from gateway.errors import LONGEST, ConfigError, in_words, reason_of
from gateway.process.process import Process
from gateway.process.runner import run

log = logging.getLogger(__name__)


def end_of(name: str, make: Callable[[], Process]) -> str:
    """Make the process ``name`` and run it to its end; return what went wrong, or ``""``."""
    try:
        run(make())
    except SystemExit as leaving:
        return exit_in_words(name, leaving)
    except ConfigError as mistake:
        # It says all that whoever wrote the configuration needs.
        log.error("process %s: %s", name, mistake)
        return str(mistake)
    except KeyboardInterrupt:
        # Of main alone: who pressed it knows, and wants no traceback.
        return "it was interrupted"
    except BaseException as bug:  # noqa: BLE001 - it is logged, and judged by the boss
        log_bug(name, bug)
        return in_words(bug)
    return ""


def exit_in_words(name: str, leaving: SystemExit) -> str:
    """Return what went wrong, and log it, where the process ``name`` called ``sys.exit()``.

    Nothing where its status is 0.
    """
    if not leaving.code:
        return ""
    words = f"it called exit({leaving.code!r})"
    log.error("process %s failed: %s", name, words)
    return words


def log_bug(name: str, bug: BaseException) -> None:
    """Log of what the process ``name`` dies, and where it was raised.

    Of one that says more than anybody reads, no more than `in_words` does.
    """
    if len(reason_of(bug)) <= LONGEST:
        log.error("process %s failed", name, exc_info=bug)
    else:
        frames = "".join(format_tb(bug.__traceback__))
        log.error("process %s failed\n%s%s", name, frames, in_words(bug))
