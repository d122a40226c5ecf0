"""What an operator watches of a container, as Prometheus's text: labels are models and versions, never callers.

Written by hand from the counters that there are: the client library would be the slowest import of a start, and its
labels a fifth of a request's path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from runtime.batcher import Batcher
from runtime.container.model import Model
from runtime.container.models import Models
from runtime.container.statistics import BUCKETS_S, Tally

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]
"""A suffix of the metric's name, labels and a value."""


def exposition(models: Models, batcher: Batcher, connections: int) -> bytes:
    """Every metric as of now."""
    lines: list[str] = []
    for name, kind, text, samples in _metrics(models, batcher, connections):
        lines += (f"# HELP {name} {text}", f"# TYPE {name} {kind}")
        lines += (f"{name}{suffix}{_labelled(labels)} {value:.10g}" for suffix, labels, value in samples)
    return ("\n".join(lines) + "\n").encode()


def _metrics(models: Models, batcher: Batcher, connections: int) -> Iterator[tuple[str, str, str, list[Sample]]]:
    tallies = list(_tallies(models.all()))
    prefix = "modelless_container"
    yield (
        f"{prefix}_requests_total",
        "counter",
        "Requests by what came of them.",
        [sample for labels, tally in tallies for sample in _outcomes(labels, tally)],
    )
    yield (
        f"{prefix}_latency_seconds",
        "histogram",
        "Arrival to answer.",
        [sample for labels, tally in tallies for sample in _histogram(labels, tally)],
    )
    for name, text, values in (
        ("queue_seconds_total", "Time that answered requests waited.", [(la, t.queue.s) for la, t in tallies]),
        ("run_seconds_total", "Time that runs took.", [(la, _run_s(t)) for la, t in tallies]),
        ("rows_total", "Rows of answered requests.", [(la, float(t.rows)) for la, t in tallies]),
        ("runs_total", "Runs; rows over runs is the mean batch.", [(la, float(t.runs)) for la, t in tallies]),
    ):
        yield f"{prefix}_{name}", "counter", text, [("", labels, value) for labels, value in values]
    for name, text, value in (
        ("loaded", "Sessions that are loaded.", len(models.loaded)),
        ("memory_megabytes", "Private memory of what is loaded.", models.used_mb),
        ("memory_budget_megabytes", "Most private memory that may be loaded.", models.budget_mb),
        ("waiting", "Requests that wait.", batcher.waiting),
        ("running", "Runs that are under way.", batcher.running),
        ("connections", "Connections that are open.", connections),
    ):
        yield f"{prefix}_{name}", "gauge", text, [("", {}, float(value))]


def _tallies(models: Iterable[Model]) -> Iterator[tuple[Labels, Tally]]:
    for model in models:
        for version, served in model.versions.items():
            # Of thousands in a folder most are never asked; all of them took the loop half a second.
            if served.tally.asked:
                yield {"model": model.name, "version": version}, served.tally


def _run_s(tally: Tally) -> float:
    return sum(batch.s for batch in tally.batches.values())


def _outcomes(labels: Labels, tally: Tally) -> Iterator[Sample]:
    yield "", {**labels, "outcome": "answered"}, float(tally.success.count)
    for fault, count in sorted(tally.faults.items()):
        yield "", {**labels, "outcome": fault}, float(count)


def _histogram(labels: Labels, tally: Tally) -> Iterator[Sample]:
    total = 0
    for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), tally.buckets, strict=True):
        total += count
        yield "_bucket", {**labels, "le": bound}, float(total)
    yield "_sum", labels, tally.success.s
    yield "_count", labels, float(tally.success.count)


def _labelled(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
