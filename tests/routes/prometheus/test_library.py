"""Where prometheus-client is missing the error says what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

SCRIPT = """
import sys
sys.modules["prometheus_client"] = None
try:
    import routes.prometheus.router
except ImportError as error:
    print(error)
"""


def test_a_missing_library_is_named_with_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "pip install 'hardware-gateway[prometheus]'" in done.stdout
