"""The one place where a process's bug is caught: its supervisor."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.errors import ConfigError, in_words
from gateway.process.process import Process
from gateway.process.runner import run

log = logging.getLogger(__name__)


def end_of(name: str, make: Callable[[], Process]) -> str:
    """Make the process ``name`` and run it to its end; return what went wrong, or ``""``."""
    try:
        run(make())
    except SystemExit as leaving:
        return f"it called exit({leaving.code!r})" if leaving.code else ""
    except ConfigError as mistake:
        # It says all that whoever wrote the configuration needs.
        log.error("process %s: %s", name, mistake)
        return str(mistake)
    except KeyboardInterrupt:
        # Of main alone: who pressed it knows, and wants no traceback.
        return "it was interrupted"
    except BaseException as bug:
        log.exception("process %s failed", name)
        return in_words(bug)
    return ""
