"""Measures as lines of CloudWatch's embedded metric format on stdout; it calls nobody, and imports next to nothing.

Powertools has the same, for some 55 ms of a cold start where nothing else needs Powertools; one line of JSON is all
that the format is. What Lambda writes to its log becomes metrics within a minute or two, and costs a log's price and a
metric's for each value of a dimension (docs/operations.md).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping

from registry.measures import METRICS, NAMESPACE, NOWHERE, Measure
from registry.typed import Any

STACK, BY = "STACK_NAME", "METRICS_BY"
"""The variables that say whose metrics these are, and by what they are told apart: `task` (and tier) or `service`."""

Row = dict[str, float]
"""Values by metric; what is measured several times is added up, as only counts are."""


class Emf:
    """Writes what a service measured, of which tasks and tiers too if `detailed`; without `write`, nothing."""

    def __init__(
        self,
        service: str,
        *,
        detailed: bool = True,
        write: Callable[[str], Any] | None = print,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._service = service
        self._detailed = detailed
        self._write = write
        self._wall = wall

    @classmethod
    def of(cls, variables: Mapping[str, str], function: str) -> Emf:
        """A function's, as its environment variables say; one that writes nothing where they name no stack.

        The stack is part of the service, so that the alarms of two in one account hear of their own only.
        """
        stack = variables.get(STACK, "")
        return cls(f"{stack}-{function}", detailed=variables.get(BY) != "service", write=print if stack else None)

    def put(self, measures: Iterable[Measure], properties: Mapping[str, Any] | None = None) -> None:
        """A line for each task and tier; the last measure's has the properties, which are looked up and not counted."""
        if self._write is None:
            return
        rows: dict[tuple[str, str], Row] = {}
        last = None
        for measure in measures:
            if not math.isfinite(measure.value):  # which JSON cannot say
                continue
            last = measure.task, measure.tier
            row = rows.setdefault(last, {})
            row[measure.metric] = row.get(measure.metric, 0.0) + measure.value
        for (task, tier), row in rows.items():
            more = properties or {} if (task, tier) == last else {}
            self._write(json.dumps(self._document(task, tier, row, more), separators=(",", ":")))

    def _document(self, task: str, tier: str, row: Row, properties: Mapping[str, Any]) -> dict[str, Any]:
        alike: dict[tuple[tuple[str, ...], ...], list[dict[str, str]]] = {}
        for name in row:
            metric = METRICS[name]
            by = metric.by if self._detailed else ((),)
            alike.setdefault(by, []).append({"Name": name, "Unit": metric.unit})
        directives = [
            {"Namespace": NAMESPACE, "Dimensions": [["service", *dimensions] for dimensions in by], "Metrics": metrics}
            for by, metrics in alike.items()
        ]
        return {
            "_aws": {"Timestamp": int(self._wall() * 1000), "CloudWatchMetrics": directives},
            **properties,
            "service": self._service,
            "task": task or NOWHERE,
            "tier": tier or NOWHERE,
            **{metric: round(value, 3) for metric, value in row.items()},
        }
