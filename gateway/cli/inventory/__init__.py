"""What is plugged in, and what the running gateway says of it."""

from __future__ import annotations
