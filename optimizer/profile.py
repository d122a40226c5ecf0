"""Measures every variant on one tier, through the backend that will serve it; never decides which is best.

Three passes, each going round all variants so that drift of the machine hits them alike:

1. starts: environments are stopped, and each variant is asked for one row in turn. The first of a round starts an
   environment, and all of them are loaded, with pre-packed weights and without.
2. trials: both forms at the smallest and the largest batch; `prepack.pays` chooses one, and that is the placement.
3. service: the chosen ones at every batch size, warm and resident.

A run takes INIT + load + service, and what is known of a run is its total as the gateway sees it. So load is what a
loading run took beyond a warm one, and INIT what a cold run took beyond a loading one; whatever a start costs is
counted once, the import of onnxruntime in a new environment, say, as INIT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from optimizer.backend import cpu_share
from optimizer.bench import Bench, Timed
from optimizer.errors import MeasurementFailed
from optimizer.fingerprint import fingerprint
from optimizer.plan import Plan
from optimizer.prepack import pays
from optimizer.progress import Steps
from optimizer.quantiles import quantiles
from registry.model import ZERO, Placement, Profile, Quantiles, ServiceTime, StartMode, Tier, Variant
from registry.store import utc_now

Memory = Mapping[tuple[str, bool], float]
"""Private megabytes of one resident copy, by variant id and whether it is pre-packed."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant to place on a tier, and the settings its placement must have."""

    variant: Variant
    max_batch: int = 64
    threads: int | None = None
    """None: as many as the tier has whole vCPUs, and at least one."""
    prepack: bool | None = None
    """None: whichever `prepack.pays` finds better."""

    def placements(self, tier: Tier) -> tuple[Placement, ...]:
        """The forms that come into question, pre-packed first."""
        threads = self.threads or tier.threads
        forms = (True, False) if self.prepack is None else (self.prepack,)
        return tuple(Placement(self.variant.id, tier.name, threads, self.max_batch, prepack) for prepack in forms)


@dataclass(slots=True)
class _Cell:
    """Warm runs of a placement at one batch size."""

    rows: int
    ms: list[float] = field(default_factory=list)
    billed_ms: list[float] = field(default_factory=list)
    spent_s: float = 0.0

    def done(self, plan: Plan) -> bool:
        return len(self.ms) >= plan.most or (len(self.ms) >= plan.least and self.spent_s >= plan.cell_s)


@dataclass(slots=True)
class _Subject:
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
    cells: dict[int, _Cell] = field(default_factory=dict)

    def note(self, timed: Timed) -> None:
        """Keep a run of the starts."""
        (self.cold_ms if timed.reply.cold else self.later_ms).append(timed.ms)
        if timed.reply.loaded and timed.reply.cold:
            self.cold_load_ms.append(timed.reply.load_ms)
        elif timed.reply.loaded:
            self.loading_ms.append(timed.ms)

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


async def profile_tier(
    bench: Bench, candidates: Sequence[Candidate], memory_mb: Memory, plan: Plan, *, steps: Steps | None = None
) -> list[tuple[Placement, Profile]]:
    """One placement of each candidate on the bench's tier, with its profile, in the order of `candidates`.

    Takes about `starts` cold starts plus `cell_s` for each candidate and batch size. Raises MeasurementFailed when
    the tier does not behave as its start mode says, and whatever the backend raises.
    """
    steps = steps or Steps()
    tier = bench.backend.tier
    forms = [[_Subject(placement, c.variant) for placement in c.placements(tier)] for c in candidates]
    every = [subject for pair in forms for subject in pair]
    await _starts(bench, every, plan, steps)
    chosen = await _trials(bench, forms, plan)
    steps.step(f"{tier.name}: pre-packing chosen")
    await _service(bench, chosen, plan, steps)
    init = _init(tier, every)
    return [(subject.placement, _profile(bench, subject, init, memory_mb)) for subject in chosen]


def expected_steps(candidates: Sequence[Candidate], plan: Plan) -> int:
    """How many steps `profile_tier` reports."""
    return plan.starts + 1 + sum(len(plan.sizes(c.max_batch)) for c in candidates)


async def _starts(bench: Bench, subjects: Sequence[_Subject], plan: Plan, steps: Steps) -> None:
    # The first run of all may take a snapshot or write bytecode; later starts find both.
    await bench.run(subjects[0].placement, subjects[0].variant, 1)
    # Small variants go first in turn: INIT is what is left of a cold run, and a long load would blur it.
    subjects = sorted(subjects, key=lambda s: s.variant.size_bytes)
    small = max(2, len(subjects) // 4)
    for turn in range(plan.starts):
        await bench.forget()
        first = turn % small
        for subject in (*subjects[first:], *subjects[:first]):
            timed = await bench.run(subject.placement, subject.variant, 1)
            subject.note(timed)
        steps.step(f"{bench.backend.tier.name}: start {turn + 1} of {plan.starts}")


async def _trials(bench: Bench, forms: Sequence[Sequence[_Subject]], plan: Plan) -> list[_Subject]:
    """The better form of each candidate."""
    disputed = [pair for pair in forms if len(pair) > 1]
    times: dict[str, tuple[list[float], list[float]]] = {s.placement.id: ([], []) for pair in disputed for s in pair}
    for turn in range(plan.trials + 1):
        for pair in disputed:
            # Who goes first finds the caches full of another variant, so they take turns at that.
            for subject in pair if turn % 2 else reversed(pair):
                for ms, rows in zip(times[subject.placement.id], (1, subject.placement.max_batch), strict=True):
                    timed = await bench.run(subject.placement, subject.variant, rows)
                    if turn:  # the first run of a size fills buffers
                        ms.append(timed.ms)
    return [
        pair[0] if len(pair) == 1 or pays(*(times[subject.placement.id] for subject in pair)) else pair[1]
        for pair in forms
    ]


async def _service(bench: Bench, subjects: Sequence[_Subject], plan: Plan, steps: Steps) -> None:
    await bench.forget()
    for subject in subjects:
        for rows in plan.sizes(subject.placement.max_batch):
            subject.cells[rows] = _Cell(rows)
            await bench.run(subject.placement, subject.variant, rows)
    open_cells = [(subject, cell) for subject in subjects for cell in subject.cells.values()]
    while open_cells:
        for subject, cell in open_cells:
            await _burst(bench, subject, cell, plan)
            if cell.done(plan):
                steps.step(f"{subject.placement.id}: batch of {cell.rows}")
        open_cells = [(subject, cell) for subject, cell in open_cells if not cell.done(plan)]


async def _burst(bench: Bench, subject: _Subject, cell: _Cell, plan: Plan) -> None:
    started = bench.now()
    unsteady = 0
    for _ in range(plan.burst):
        timed = await bench.run(subject.placement, subject.variant, cell.rows)
        if timed.reply.cold or timed.reply.loaded:
            unsteady += 1
            continue
        cell.ms.append(timed.ms)
        cell.billed_ms.append(timed.reply.billed_ms)
    cell.spent_s += bench.now() - started
    if unsteady == plan.burst:
        raise MeasurementFailed(f"{subject.placement.id} does not stay loaded on its tier; give the tier more memory")


def _init(tier: Tier, subjects: Sequence[_Subject]) -> Quantiles:
    """What a start adds, whichever variant it is for: the samples of all are one distribution."""
    if tier.start_mode is StartMode.ALWAYS:
        return ZERO
    samples = [ms for subject in subjects for ms in subject.inits()]
    if not samples:
        raise MeasurementFailed(f"{tier.name} never started an environment after it was released")
    return quantiles(samples)


def _profile(bench: Bench, subject: _Subject, init: Quantiles, memory_mb: Memory) -> Profile:
    loads = subject.loads()
    return Profile(
        placement=subject.placement.id,
        service=tuple(
            ServiceTime(cell.rows, quantiles(cell.ms), fmean(cell.billed_ms)) for cell in subject.cells.values()
        ),
        load=quantiles(loads) if loads else ZERO,
        init=init,
        memory_mb=memory_mb[subject.variant.id, subject.placement.prepack],
        fingerprint=str(fingerprint()),
        cpu_share=cpu_share(bench.backend),
        samples=sum(len(cell.ms) for cell in subject.cells.values()),
        measured_at=utc_now(),
    )
