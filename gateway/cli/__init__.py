"""The ``gateway`` command: one file a command."""

from __future__ import annotations
