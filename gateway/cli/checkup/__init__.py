"""What may be wrong with a machine that hosts devices: facts, checks, findings."""

from __future__ import annotations
