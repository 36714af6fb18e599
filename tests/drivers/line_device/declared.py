"""The declaration of the README's pump, read from there, so that it is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

README = Path(__file__).parents[3] / "drivers/line_device/README.md"


def pump() -> dict[str, Any]:
    """Return the settings of the pump."""
    found = re.search(r"```toml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    settings: dict[str, Any] = tomllib.loads(found[1])["devices"]["pump"]["settings"]
    return settings
