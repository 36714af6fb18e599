"""A post office for hardware: everything on the machine has an address.

The core. It knows no medium and no device by name: drivers and routers come in
through the entry-point groups ``gateway.drivers`` and ``gateway.routes``.
Nothing is imported here, so that ``gateway --help`` costs next to nothing.
"""

from __future__ import annotations

__version__ = "0.1.0"
