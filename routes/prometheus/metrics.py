"""The metrics, made anew for each scrape from what is known then.

Names follow Prometheus' own advice: base units (seconds, bytes, degrees
Celsius), ``_total`` behind what only grows, and nothing behind what does not.
What this machine cannot know has no sample; it is not 0. Label values are
names of the configuration, states of tables, and counters of our own; of the
first ``most`` of each kind are told, in their order, and the rest is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from routes.prometheus.known import Known, as_list, as_number, as_table
from routes.prometheus.library import (
    Collector,
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    UnknownMetricFamily,
)

ROUTE_STATES = ("starting", "connected", "waiting", "failed", "stopped")
DEVICE_STATES = ("absent", "present", "open", "proven", "healthy", "stale", "failed")
LEVELS = ("fine", "warning", "critical")

COUNTERS = 128
"""Counters of one route or device that are told at the most."""

LETTERS = ("accepted", "delivered", "dropped", "expired", "bounced", "lost_with_reader", "refused")
"""What becomes of the mail of a process, as its ledger has it; the rest of that is no counter."""

DRIVER = (
    *("openings", "connections", "losses", "failures", "frames", "noise", "dropped", "late"),
    *("nonsense", "pings", "pongs", "accepted", "refused", "answered", "bounced", "unheard"),
)
"""What a driver's thread counts since its start."""

Labelled = tuple[tuple[str, ...], float | None]


class GatewayCollector(Collector):
    """Collects from ``known``; ``own`` are the counts of the route itself."""

    def __init__(self, known: Known, own: Mapping[str, int], *, most: int) -> None:
        self._known = known
        self._own = own
        self._most = most
        self._left_out: Counter[str] = Counter()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric that has a sample."""
        self._left_out = Counter()
        # Last what the others have found to be too much.
        for part in (self._report, self._machine, self._processes, self._routes, self._devices):
            for metric in part():
                if metric.samples:
                    yield metric
        told = [((outcome,), float(number)) for outcome, number in sorted(self._own.items())]
        yield counter("gateway_prometheus_requests", "HTTP requests here.", ["outcome"], told)
        left_out = [((kind,), float(number)) for kind, number in sorted(self._left_out.items())]
        yield gauge(
            "gateway_metrics_left_out",
            "Names that have no metrics, since there are more than most_names.",
            ["kind"],
            left_out,
        )

    def _report(self) -> Iterator[Metric]:
        report = self._known.report
        if not report:
            return
        info = InfoMetricFamily("gateway", "The gateway and its version.")
        node, version = str(report.get("node", "")), str(report.get("version", ""))
        info.add_metric([], {"node": node, "version": version})
        yield info
        yield single(
            "gateway_health_report_timestamp_seconds",
            "When the health report was made, since 1970.",
            report.get("time"),
        )
        verdict = report.get("verdict")
        level = LEVELS.index(verdict) if verdict in LEVELS else None
        yield single(
            "gateway_health_level", "0 is fine, 1 a warning, 2 critical: the worst problem.", level
        )
        problems = [as_table(each).get("level") for each in as_list(report.get("problems"))]
        counted = [((level,), float(problems.count(level))) for level in LEVELS[1:]]
        yield gauge("gateway_problems", "What is not well now.", ["level"], counted)
        seen = sorted(self._known.table("errors_seen").items())
        told = [((str(level),), as_number(number)) for level, number in seen[:8]]
        yield counter(
            "gateway_log_records", "Warnings, errors and so on of the log.", ["level"], told
        )

    def _machine(self) -> Iterator[Metric]:
        known, read = self._known, self._known.reading
        yield single(
            "gateway_machine_uptime_seconds", "Since its start.", read("uptime").get("seconds")
        )
        load = [
            ((minutes[:-1],), as_number(read("load").get(minutes)))
            for minutes in ("1m", "5m", "15m")
        ]
        yield gauge("gateway_machine_load", "Tasks that want to run.", ["minutes"], load)
        yield single("gateway_machine_cores", "Cores that are online.", read("load").get("cores"))
        for name, key, said in (
            ("memory_size_bytes", "total", "Memory that there is."),
            ("memory_available_bytes", "available", "Memory that can still be had."),
            ("swap_size_bytes", "swap_total", "Swap that there is."),
            ("swap_free_bytes", "swap_free", "Swap that is free."),
        ):
            yield single(f"gateway_machine_{name}", said, read("memory").get(key))
        zones = islice(sorted(as_table(read("temperature").get("zones")).items()), 64)
        hot = [((str(zone),), as_number(celsius)) for zone, celsius in zones]
        yield gauge("gateway_machine_temperature_celsius", "By thermal zone.", ["zone"], hot)
        for name, said in (
            ("under_voltage", "Whether the supply is too weak now."),
            ("under_voltage_since_start", "Whether the supply was too weak since the start."),
            ("throttled", "Whether the processor is slowed down now."),
            ("throttled_since_start", "Whether the processor was slowed down since the start."),
        ):
            yield single(f"gateway_machine_{name}", said, read("power").get(name))
        for name, key, said in (
            ("size_bytes", "total", "Size of the file system."),
            ("free_bytes", "free", "Room on it for us."),
            ("inodes", "inodes", "Inodes that it has."),
            ("inodes_free", "inodes_free", "Inodes that are free."),
            ("read_only", "read_only", "Whether it can only be read."),
        ):
            told = [
                ((folder,), as_number(read(f"disk_{folder}").get(key)))
                for folder in ("state", "run")
            ]
            yield gauge(f"gateway_machine_filesystem_{name}", said, ["folder"], told)
        clock = read("clock")
        yield single(
            "gateway_machine_clock_synchronized",
            "Whether somebody who knows the time sets the clock.",
            clock.get("synchronized"),
        )
        yield single(
            "gateway_machine_clock_error_seconds",
            "How wrong it is at the most, as the kernel estimates.",
            clock.get("error_seconds"),
        )
        machine = sorted(known.table("machine").items())
        ages = [((name,), as_number(as_table(each).get("age"))) for name, each in machine]
        yield gauge(
            "gateway_reading_age_seconds", "How old a reading was in the report.", ["reading"], ages
        )
        good = [
            ((name,), float(as_table(each).get("quality") == "good"))
            for name, each in machine
            if as_table(each).get("quality") != "absent"
        ]
        yield gauge(
            "gateway_reading_good", "Whether it could be read, and lately.", ["reading"], good
        )

    def _processes(self) -> Iterator[Metric]:
        processes = self._names("processes", self._known.table("processes"))
        living = [((name,), float(each.get("state") == "living")) for name, each in processes]
        yield gauge("gateway_process_up", "Whether a process lives.", ["process"], living)
        restarts = [((name,), as_number(each.get("restarts"))) for name, each in processes]
        yield counter(
            "gateway_process_restarts", "How often it was restarted.", ["process"], restarts
        )

    def _routes(self) -> Iterator[Metric]:
        routes = self._names("routes", self._known.routes)
        yield gauge(
            "gateway_route_state",
            "1 for the state that a route is in, 0 for the others.",
            ["route", "state"],
            _one_hot(routes, ROUTE_STATES),
        )
        letters: list[Labelled] = []
        statistics: list[Labelled] = []
        for name, counters in self._counters("routes", routes):
            for key, number in islice(sorted(counters.items()), COUNTERS):
                outcome = key.removeprefix("mail.")
                if key.startswith("mail.") and outcome in LETTERS:
                    letters.append(((name, outcome), as_number(number)))
                elif not key.startswith("spool."):
                    statistics.append(((name, key), as_number(number)))
        yield counter(
            "gateway_route_letters",
            "What became of the mail to a route.",
            ["route", "outcome"],
            letters,
        )
        unknown = UnknownMetricFamily(
            "gateway_route_statistic",
            "What else a route says of itself, by its own names.",
            labels=["route", "statistic"],
        )
        yield _filled(unknown, statistics)
        yield from self._spools(routes)

    def _spools(self, routes: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[Metric]:
        table = self._known.table("spools")
        values = [(name, as_table(as_table(table.get(name)).get("value"))) for name, _ in routes]
        for key, said in (
            ("queued", "Letters that wait in files."),
            ("in_hand", "Letters that are under way and not acknowledged."),
        ):
            told = [((name,), as_number(value.get(key))) for name, value in values]
            yield gauge(f"gateway_spool_{key}_letters", said, ["route"], told)
        for key, said in (
            ("dropped", "Letters that were lost, since there was no room."),
            ("forwarded", "Letters that were handed on."),
        ):
            told = [((name,), as_number(value.get(key))) for name, value in values]
            yield counter(f"gateway_spool_{key}_letters", said, ["route"], told)

    def _devices(self) -> Iterator[Metric]:
        devices = self._names("devices", self._known.devices)
        connected = [((name,), as_number(each.get("connected"))) for name, each in devices]
        yield gauge("gateway_device_connected", "Whether it takes commands.", ["device"], connected)
        yield gauge(
            "gateway_device_state",
            "1 for the state that a device is in, 0 for the others.",
            ["device", "state"],
            _one_hot(devices, DEVICE_STATES),
        )
        since = [((name,), as_number(each.get("since"))) for name, each in devices]
        yield gauge(
            "gateway_device_state_since_timestamp_seconds",
            "Since when it is in that state, since 1970.",
            ["device"],
            since,
        )
        events: list[Labelled] = []
        reported = self._known.table("devices")
        for name, _ in devices:
            counted = as_table(as_table(as_table(reported.get(name)).get("events")).get("value"))
            for event, number in islice(sorted(counted.items()), 32):
                events.append(((name, str(event)), as_number(number)))
        yield counter(
            "gateway_device_events", "What happened to a device.", ["device", "event"], events
        )
        counters = [
            ((name, key), as_number(table.get(key)))
            for name, table in self._counters("devices", devices)
            for key in DRIVER
        ]
        yield counter(
            "gateway_device_driver",
            "What the driver of a device has counted since it was started.",
            ["device", "counter"],
            counters,
        )

    def _names(self, kind: str, table: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
        """Return as many names as may be told, with what is known of each."""
        if len(table) > self._most:
            self._left_out[kind] = len(table) - self._most
        return [(name, as_table(table[name])) for name in sorted(table)[: self._most]]

    def _counters(
        self, kind: str, names: Iterable[tuple[str, Mapping[str, Any]]]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        table = self._known.table(kind)
        for name, _ in names:
            yield name, as_table(as_table(as_table(table.get(name)).get("counters")).get("value"))


def gauge(name: str, said: str, labels: list[str], samples: Iterable[Labelled]) -> Metric:
    """Return a gauge; what has no number has no sample."""
    return _filled(GaugeMetricFamily(name, said, labels=labels), samples)


def counter(name: str, said: str, labels: list[str], samples: Iterable[Labelled]) -> Metric:
    """Return a counter, which is told with ``_total`` behind its name."""
    return _filled(CounterMetricFamily(name, said, labels=labels), samples)


def single(name: str, said: str, value: object) -> Metric:
    """Return a gauge without labels; without a sample where ``value`` is no number."""
    number = as_number(value)
    return GaugeMetricFamily(name, said, value=number)


def _filled(family: Any, samples: Iterable[Labelled]) -> Metric:
    for labels, number in samples:
        if number is not None:
            family.add_metric(labels, number)
    metric: Metric = family
    return metric


def _one_hot(
    names: Iterable[tuple[str, Mapping[str, Any]]], states: tuple[str, ...]
) -> Iterator[Labelled]:
    for name, each in names:
        if each.get("state") in states:
            for state in states:
                yield (name, state), float(each["state"] == state)
