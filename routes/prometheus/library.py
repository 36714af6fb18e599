"""prometheus-client, or what to install where it is missing.

Imported with the route, so that ``gateway check`` finds its absence.
"""

from __future__ import annotations

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        InfoMetricFamily,
        Metric,
        UnknownMetricFamily,
    )
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImportError(
        "prometheus-client is not installed; install it: pip install 'hardware-gateway[prometheus]'"
    ) from error

__all__ = [
    "Collector",
    "CollectorRegistry",
    "CounterMetricFamily",
    "GaugeMetricFamily",
    "InfoMetricFamily",
    "Metric",
    "UnknownMetricFamily",
    "choose_encoder",
]
