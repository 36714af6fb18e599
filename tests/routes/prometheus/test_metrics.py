"""Metrics from whatever was published: nothing of another shape breaks a scrape."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.mail.message import Message
from routes.prometheus.known import Known
from routes.prometheus.metrics import GatewayCollector

names = st.sampled_from(
    ["machine", "processes", "routes", "devices", "spools", "errors_seen", "verdict", "value",
     "problems", "counters", "events", "state", "connected", "uptime", "load", "zones", "x"]
)  # fmt: skip
bodies = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)


def publication(topic: str, body: object) -> Message:
    return Message("1", "1", 1, 0.0, "x", "", topic, body, kind="publication")


def scrape(known: Known) -> str:
    registry = CollectorRegistry()
    registry.register(GatewayCollector(known, {}, most=10))
    return generate_latest(registry).decode()


@given(bodies, bodies, st.text(max_size=5))
def test_no_publication_breaks_a_scrape(report: object, state: object, name: str) -> None:
    known = Known()
    known.take_report(publication("health", report))
    known.take_state(publication(f"devices/{name}/state".replace("//", "/ /"), state))
    list(text_string_to_metric_families(scrape(known)))


def test_what_is_retained_no_more_has_no_metrics() -> None:
    known = Known()
    known.take_state(publication("devices/a/state", {"connected": True, "state": "healthy"}))
    assert 'gateway_device_connected{device="a"} 1.0' in scrape(known)
    known.take_state(publication("devices/a/state", None))
    assert "gateway_device_connected" not in scrape(known)
