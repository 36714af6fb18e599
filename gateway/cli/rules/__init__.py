"""udev rules from a configuration: quoting, matches, the file."""

from __future__ import annotations
