"""A root logger of one's own."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def own_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give `logging` its handlers and level back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    root.setLevel(level)
