"""A placement under measurement and every run of it so far; tells INIT, load and service apart, and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from optimizer.backend import cpu_share, hardware
from optimizer.bench import Bench, Run
from optimizer.journal import Journal
from optimizer.plan import Plan
from registry.documents import to_document
from registry.model import Placement, Tier, Variant

CELL = "cell"


@dataclass(slots=True)
class Cell:
    """Warm runs of a placement at one batch size."""

    rows: int
    ms: list[float] = field(default_factory=list)
    billed_ms: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Subject:
    """A placement and the runs of it so far."""

    placement: Placement
    variant: Variant
    cold_ms: list[float] = field(default_factory=list)
    """Runs that started an environment: INIT, load and service."""
    later_ms: list[float] = field(default_factory=list)
    """First runs in an environment that another variant had started: load and service."""
    loading_ms: list[float] = field(default_factory=list)
    """Those of them that did load; a snapshot may come with the variant resident."""
    cold_load_ms: list[float] = field(default_factory=list)
    """As the environment reports it, for a variant that was only ever loaded by the run that started it."""
    peak_mb: list[float] = field(default_factory=list)
    """Of environments that ran nothing but this, at its largest batch."""
    cells: dict[int, Cell] = field(default_factory=dict)
    since: float | None = None
    """When the oldest run of the cells was, in seconds since the epoch; None when all are of now."""

    def note(self, run: Run) -> None:
        """Keep the first run in an environment."""
        (self.cold_ms if run.cold else self.later_ms).append(run.ms)
        if run.loaded and run.cold:
            self.cold_load_ms.append(run.load_ms)
        elif run.loaded:
            self.loading_ms.append(run.ms)

    @property
    def warm_ms(self) -> float:
        """The median service of one row."""
        return median(self.cells[1].ms)

    def loads(self) -> list[float]:
        """Samples of what a load adds; empty when the environment comes with the variant resident."""
        if self.loading_ms:
            return [max(0.0, ms - self.warm_ms) for ms in self.loading_ms]
        return self.cold_load_ms

    def inits(self) -> list[float]:
        """Samples of what a start adds."""
        if self.later_ms:
            beside = median(self.later_ms)
        elif self.cells:
            beside = self.warm_ms + (median(self.cold_load_ms) if self.cold_load_ms else 0.0)
        else:
            return []
        return [max(0.0, ms - beside) for ms in self.cold_ms]


class Notes:
    """A journal's part about one tier: what is noted here is recalled only where all that matters is the same."""

    def __init__(self, journal: Journal, bench: Bench, plan: Plan) -> None:
        self._journal = journal
        self._shared = {
            "tier": _machine(bench.backend.tier),
            "cpu_share": cpu_share(bench.backend),
            "fingerprint": hardware(bench.backend).partition(" ")[0],
            "inputs": bench.inputs,
            # The first run of a burst finds the caches full of another cell's data. All else of a plan says how often.
            "burst": plan.burst,
        }

    def recall(self, subject: Subject, what: str, **more: int) -> Sequence[Any]:
        """What earlier measurements of the same thing noted, oldest first."""
        return self._journal.recall(self._of(subject, what, more))

    def recall_cell(self, subject: Subject, rows: int) -> Cell:
        """What is known of a subject at a batch size, which may be nothing."""
        of = self._of(subject, CELL, {"rows": rows})
        cell = Cell(rows)
        for ms, billed_ms in self._journal.recall(of):
            cell.ms += ms
            cell.billed_ms += billed_ms
        if (since := self._journal.since(of)) is not None:
            subject.since = since if subject.since is None else min(since, subject.since)
        return cell

    def note(self, subject: Subject, what: str, measured: Any, **more: int) -> None:
        """Note what was measured, as JSON."""
        self._journal.note(self._of(subject, what, more), measured)

    def _of(self, subject: Subject, what: str, more: Mapping[str, int]) -> dict[str, Any]:
        placement = subject.placement
        return {
            **self._shared,
            "what": what,
            "artifact": subject.variant.artifact,
            "threads": placement.threads,
            "prepack": placement.prepack,
            **more,
        }


def facts(run: Run) -> dict[str, Any]:
    """A run as JSON; `Run(**facts)` is the run again."""
    return asdict(run)


def _machine(tier: Tier) -> dict[str, Any]:
    """What of a tier decides how fast it runs; its name and its price do not."""
    shown = to_document(tier)
    return {name: shown[name] for name in ("kind", "vcpus", "memory_mb", "concurrency", "start_mode")}
