"""TOML into frozen, typed structs; every mistake with its file, line and remedy."""

from __future__ import annotations
