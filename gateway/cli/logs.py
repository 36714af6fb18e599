"""Where the log goes: standard error, a line each, for the terminal or the journal.

Each line names the OS process or thread that wrote it. With JSON each line is
an object, for whatever collects logs.
"""

from __future__ import annotations

import json
import logging
import sys


def start_logging(level: str, *, as_json: bool = False) -> None:
    """Log from ``level`` ("info", …) upwards, from now on, in children too."""
    handler = logging.StreamHandler(sys.stderr)
    if as_json:
        handler.setFormatter(_JsonLines())
    else:
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-8s %(threadName)s: %(message)s", "%H:%M:%S")
        )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "process": record.threadName,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)
