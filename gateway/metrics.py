"""What an operator watches, for Prometheus: labels are tasks, tiers, placements and codes, never callers or inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.backends.protocol import Backend
from gateway.capacity.carry_out import tier_of
from gateway.capacity.report import Report
from gateway.decisions import Record
from gateway.measures import measures_of
from registry.catalogue import Catalogue
from registry.measures import Measure
from scheduler.fleet import Fleet
from scheduler.probing import Probe

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""From the overhead of an inline run to the timeout of a tier."""


class Metrics:
    """Counters of one gateway, in a registry of its own; `observe` is one of the service's observers."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Environments(backends))
        labels = ("task", "tier")
        answers = self._counter("modelless_answers", "Requests answered.", *labels)
        latency = Histogram(
            "modelless_latency_seconds", "Arrival to answer.", labels, registry=self._registry, buckets=BUCKETS_S
        )
        missed = self._counter(
            "modelless_slo_missed", "Answers that broke a bound, and requests that we failed (tier none).", *labels
        )
        cold = self._counter("modelless_cold_starts", "Answers that had to wait for a start.", *labels)
        cost = self._counter("modelless_cost_usd", "Cost by the tiers' price models.", *labels)
        retried = self._counter("modelless_fallbacks", "Placements tried in vain.", *labels)
        # By the names of registry.measures; what is not here, Prometheus derives, or nobody asked for on one machine.
        self._counted: dict[str, Callable[[Measure], None]] = {
            "E2ELatency": partial(_answered, answers, latency),
            "SloMissed": lambda m: missed.labels(m.task, m.tier).inc(),
            "ColdStart": lambda m: cold.labels(m.task, m.tier).inc(),
            "EstimatedCost": lambda m: cost.labels(m.task, m.tier).inc(m.value / 1e6),
            "Fallback": lambda m: retried.labels(m.task, m.tier).inc(),
        }
        self._probes = self._counter("modelless_probes", "Requests run again to see if a placement recovered.", *labels)
        self._actions = Counter(
            "modelless_capacity_actions",
            "Planned actions: warm, unload, shrink and provision, by what came of them.",
            ("action", "tier", "result"),
            registry=self._registry,
        )
        self._planned = Gauge(
            "modelless_capacity_planned_usd_per_hour", "Cost of what is to be kept warm.", registry=self._registry
        )
        self._refused = Counter("modelless_refusals", "Requests refused, by code.", ("code",), registry=self._registry)

    def observe(self, record: Record) -> None:
        """Count one request that was decided."""
        for measure in measures_of(record):
            count = self._counted.get(measure.metric)
            if count is not None:
                count(measure)

    def watch(self, view: Callable[[], tuple[Catalogue, Fleet]], clock: Callable[[], float]) -> None:
        """Show what is believed of placements too, as of when it is looked at; once for each gateway."""
        self._registry.register(_Paces(view, clock))

    def probed(self, probe: Probe) -> None:
        """Count one probe when it starts."""
        placement = probe.estimate.placement
        self._probes.labels(placement.task, placement.tier).inc()

    def kept_warm(self, report: Report) -> None:
        """Count what came of one plan."""
        self._planned.set(report.plan.usd_per_h)
        for outcome in report.outcomes:
            action = outcome.action
            self._actions.labels(type(action).__name__.lower(), tier_of(action), outcome.result.value).inc()

    def refused(self, code: str) -> None:
        """Count one request that was refused, decided or not."""
        self._refused.labels(code).inc()

    def exposition(self, owns: Callable[[str], bool] = lambda _: True) -> bytes:
        """In Prometheus's text format, of tasks that `owns` says yes to, and of what is no task's."""
        shown = CollectorRegistry()
        shown.register(_Owned(self._registry, owns))
        return generate_latest(shown)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, registry=self._registry)


def _answered(answers: Counter, latency: Histogram, measure: Measure) -> None:
    answers.labels(measure.task, measure.tier).inc()
    latency.labels(measure.task, measure.tier).observe(measure.value / 1000)


class _Owned(Collector):
    """Of a registry what some tasks concerns, and what is no task's."""

    def __init__(self, registry: CollectorRegistry, owns: Callable[[str], bool]) -> None:
        self._registry = registry
        self._owns = owns

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if self._shown(sample.labels)]
            yield metric

    def describe(self) -> Iterable[Metric]:
        return []

    def _shown(self, labels: Mapping[str, str]) -> bool:
        task = labels.get("task", labels.get("placement", "").partition("/")[0])
        return not task or self._owns(task)


class _Environments(Collector):
    """Environments by tier and state, asked of the backends when scraped."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends

    def collect(self) -> Iterable[Metric]:
        gauge = GaugeMetricFamily("modelless_environments", "Execution environments.", labels=("tier", "state"))
        for tier, backend in list(self._backends.items()):
            status = backend.status()
            for state, count in (("idle", status.idle), ("busy", status.busy), ("starting", status.starting)):
                gauge.add_metric((tier, state), count)
        return [gauge]


class _Paces(Collector):
    """Live over profiled service of every placement that has been running, asked of the fleet when scraped."""

    def __init__(self, view: Callable[[], tuple[Catalogue, Fleet]], clock: Callable[[], float]) -> None:
        self._view = view
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        _, fleet = self._view()
        now = self._clock()
        gauge = GaugeMetricFamily("modelless_pace", "Live over profiled service time.", labels=("placement",))
        for tier in fleet.beliefs:
            for placement in tier.drifts:
                gauge.add_metric((placement,), fleet.pace(placement, now))
        return [gauge]
