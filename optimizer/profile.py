"""Measures every variant on one tier, through the backend that will serve it; never decides which is best.

Four passes, of which each but the third goes round all variants, so that drift of the machine hits them alike:

1. starts: environments are stopped, and each variant is asked for one row in turn. The first of a round starts an
   environment, and all of them are loaded, with pre-packed weights and without.
2. trials: both forms at the smallest and the largest batch; `prepack.pays` chooses one, and that is the placement.
3. alone: the chosen ones in an environment of their own each, which is one more start and tells the peak memory.
4. service: the chosen ones at every batch size, warm and resident, until each is known well enough; then at sizes
   between, where those measured foretell them worst.

A run takes INIT + load + service, and what is known of a run is its total as the gateway sees it. So load is what a
loading run took beyond a warm one, and INIT what a cold run took beyond a loading one; whatever a start costs is
counted once, the import of onnxruntime in a new environment, say, as INIT.

Whatever was measured goes into the journal as it comes, and what is found there is not measured again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from optimizer.backend import cpu_share, hardware
from optimizer.bench import Bench, Run
from optimizer.errors import MeasurementFailed
from optimizer.fit import batch_error, service_times, size_to_add
from optimizer.journal import Journal
from optimizer.plan import Plan
from optimizer.prepack import pays
from optimizer.progress import Steps
from optimizer.quantiles import quantiles, relative_width
from optimizer.subject import CELL, Cell, Notes, Subject, facts
from registry.copies import START_S, by_copies
from registry.model import LEVELS, ZERO, Placement, Profile, Quantiles, ServiceTime, StartMode, Tier, Variant
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


@dataclass(frozen=True, slots=True)
class _Measuring:
    """What every pass over one tier needs."""

    bench: Bench
    plan: Plan
    notes: Notes
    steps: Steps

    @property
    def tier(self) -> Tier:
        return self.bench.backend.tier

    async def run(self, subject: Subject, rows: int) -> Run:
        return await self.bench.run(subject.placement, subject.variant, rows)


async def profile_tier(
    bench: Bench,
    candidates: Sequence[Candidate],
    memory_mb: Memory,
    plan: Plan,
    *,
    steps: Steps | None = None,
    journal: Journal | None = None,
) -> list[tuple[Placement, Profile]]:
    """One placement of each candidate on the bench's tier, with its profile, in the order of `candidates`.

    Takes about `starts` cold starts, one more for each candidate, and at most `cell_s` for each candidate and batch
    size. Raises MeasurementFailed when the tier does not behave as its start mode says, and whatever the backend
    raises; what the journal has noted by then is kept.
    """
    todo = _Measuring(bench, plan, Notes(journal or Journal(), bench, plan), steps or Steps())
    forms = [[Subject(placement, c.variant) for placement in c.placements(todo.tier)] for c in candidates]
    every = [subject for pair in forms for subject in pair]
    await _starts(todo, every)
    chosen = await _trials(todo, forms)
    await _alone(todo, chosen)
    await _service(todo, chosen)
    init = _init(todo.tier, every)
    return [(subject.placement, _profile(bench, subject, init, memory_mb)) for subject in chosen]


def expected_steps(candidates: Sequence[Candidate], plan: Plan) -> int:
    """How many steps `profile_tier` reports at least; it expects more itself where it finds that it needs more."""
    return plan.starts + 1 + sum(len(plan.sizes(c.max_batch)) for c in candidates)


async def _starts(todo: _Measuring, subjects: Sequence[Subject]) -> None:
    # Small variants go first in turn: INIT is what is left of a cold run, and a long load would blur it.
    subjects = sorted(subjects, key=lambda s: s.variant.size_bytes)
    small = max(2, len(subjects) // 4)
    known = {s.placement.id: {turn: Run(**run) for turn, run in todo.notes.recall(s, "starts")} for s in subjects}
    # The first run of all may take a snapshot or write bytecode; later starts find both.
    unprepared = True
    for turn in range(todo.plan.starts):
        first = turn % small
        missing = [s for s in (*subjects[first:], *subjects[:first]) if turn not in known[s.placement.id]]
        if missing and unprepared:
            unprepared = False
            await todo.run(subjects[0], 1)
        if missing:
            await todo.bench.forget()
        for subject in missing:
            run = known[subject.placement.id][turn] = await todo.run(subject, 1)
            todo.notes.note(subject, "starts", [turn, facts(run)])
        for subject in subjects:
            subject.note(known[subject.placement.id][turn])
        todo.steps.step(f"{todo.tier.name}: start {turn + 1} of {todo.plan.starts}")


async def _trials(todo: _Measuring, forms: Sequence[Sequence[Subject]]) -> list[Subject]:
    """The better form of each candidate."""
    turns = todo.plan.trials
    disputed = [pair for pair in forms if len(pair) > 1]
    # By the pre-packed form: [unpacked, packed] of which each is [one row, largest batch], by turn.
    found = {pair[0].placement.id: list(todo.notes.recall(pair[0], "trials", **_largest(pair[0]))) for pair in disputed}
    for turn in range(turns + 1):
        for pair in disputed:
            known = found[pair[0].placement.id]
            if len(known) >= turns:
                continue
            times = await _turn(todo, pair, odd=bool(turn % 2))
            if turn:  # the first run of a size fills buffers
                known.append(times)
                todo.notes.note(pair[0], "trials", times, **_largest(pair[0]))
    todo.steps.step(f"{todo.tier.name}: pre-packing chosen")
    return [pair[0] if len(pair) == 1 or _packing_pays(found[pair[0].placement.id]) else pair[1] for pair in forms]


async def _turn(todo: _Measuring, pair: Sequence[Subject], *, odd: bool) -> list[list[float]]:
    """Milliseconds of either form, in the order of `pair`, at one row and at the largest batch."""
    times: dict[str, list[float]] = {}
    # Who goes first finds the caches full of another variant, so they take turns at that.
    for subject in pair if odd else reversed(pair):
        runs = [await todo.run(subject, rows) for rows in (1, subject.placement.max_batch)]
        times[subject.placement.id] = [run.ms for run in runs]
    return [times[subject.placement.id] for subject in pair]


def _packing_pays(turns: Sequence[Sequence[Sequence[float]]]) -> bool:
    packed, unpacked = ([[turn[form][size] for turn in turns] for size in (0, 1)] for form in (0, 1))
    return pays(packed, unpacked)


def _largest(subject: Subject) -> dict[str, int]:
    return {"max_batch": subject.placement.max_batch}


async def _alone(todo: _Measuring, subjects: Sequence[Subject]) -> None:
    """One start of each by itself, and more of the smallest until INIT is known well enough."""
    if todo.tier.start_mode is StartMode.ALWAYS or by_copies(todo.tier) or not todo.plan.alone:
        return
    todo.steps.expect(len(subjects))
    for subject in subjects:
        known = todo.notes.recall(subject, "alone", **_largest(subject))
        await _start_alone(todo, subject, known[0] if known else None)
        todo.steps.step(f"{subject.placement.id}: peak memory")
    smallest = min(subjects, key=lambda s: s.variant.size_bytes)
    again = iter(todo.notes.recall(smallest, "alone", **_largest(smallest))[1:])
    for _ in range(len(subjects) + todo.plan.starts, todo.plan.most_starts):
        if relative_width(sorted(_inits(subjects)), 0.5) <= todo.plan.median_width:
            break
        await _start_alone(todo, smallest, next(again, None))


async def _start_alone(todo: _Measuring, subject: Subject, known: Mapping[str, Any] | None) -> None:
    """Start an environment with one row, and run the largest batch in it; or take both as they were noted."""
    if known is None:
        await todo.bench.forget()
        start, largest = [await todo.run(subject, rows) for rows in (1, subject.placement.max_batch)]
        known = {"start": facts(start), "peak_mb": largest.peak_mb}
        todo.notes.note(subject, "alone", known, **_largest(subject))
    subject.note(Run(**known["start"]))
    if known["peak_mb"] is not None:
        subject.peak_mb.append(known["peak_mb"])


async def _service(todo: _Measuring, subjects: Sequence[Subject]) -> None:
    await todo.bench.forget()
    await _cells(
        todo, [(subject, rows) for subject in subjects for rows in todo.plan.sizes(subject.placement.max_batch)]
    )
    for _ in range(todo.plan.extra):
        added = [(s, rows) for s in subjects if (rows := size_to_add(_fitted(s), todo.plan.batch_error)) is not None]
        todo.steps.expect(len(added))
        await _cells(todo, added)


async def _cells(todo: _Measuring, wanted: Iterable[tuple[Subject, int]]) -> None:
    """Measure these subjects at these batch sizes, in turns."""
    open_cells = []
    for subject, rows in wanted:
        cell = subject.cells[rows] = todo.notes.recall_cell(subject, rows)
        open_cells.append((subject, cell))
    open_cells = _still_open(todo, open_cells)
    for subject, cell in open_cells:
        await todo.run(subject, cell.rows)  # loads, and fills buffers of this size
    while open_cells:
        for subject, cell in open_cells:
            await _burst(todo, subject, cell)
        open_cells = _still_open(todo, open_cells)


def _still_open(todo: _Measuring, cells: Sequence[tuple[Subject, Cell]]) -> list[tuple[Subject, Cell]]:
    left = []
    for subject, cell in cells:
        if todo.plan.enough(cell.ms):
            todo.steps.step(f"{subject.placement.id}: batch of {cell.rows}")
        else:
            left.append((subject, cell))
    return left


async def _burst(todo: _Measuring, subject: Subject, cell: Cell) -> None:
    runs = [await todo.run(subject, cell.rows) for _ in range(todo.plan.burst)]
    steady = [run for run in runs if not (run.cold or run.loaded)]
    if not steady:
        raise MeasurementFailed(f"{subject.placement.id} does not stay loaded on its tier; give the tier more memory")
    ms, billed_ms = [round(run.ms, 5) for run in steady], [run.billed_ms for run in steady]
    cell.ms += ms
    cell.billed_ms += billed_ms
    todo.notes.note(subject, CELL, [ms, billed_ms], rows=cell.rows)


def _fitted(subject: Subject) -> tuple[ServiceTime, ...]:
    return service_times({rows: (cell.ms, cell.billed_ms) for rows, cell in subject.cells.items()})


def _inits(subjects: Sequence[Subject]) -> list[float]:
    """What a start adds, whichever variant it is for: the samples of all are one distribution."""
    return [ms for subject in subjects for ms in subject.inits()]


def _init(tier: Tier, subjects: Sequence[Subject]) -> Quantiles:
    if tier.start_mode is StartMode.ALWAYS:
        return ZERO
    if by_copies(tier):
        # No request starts one, so there is no such run to measure.
        return Quantiles((START_S * 1000,) * len(LEVELS), START_S * 1000)
    samples = _inits(subjects)
    if not samples:
        raise MeasurementFailed(f"{tier.name} never started an environment after it was released")
    return quantiles(samples)


def _profile(bench: Bench, subject: Subject, init: Quantiles, memory_mb: Memory) -> Profile:
    loads, service = subject.loads(), _fitted(subject)
    return Profile(
        placement=subject.placement.id,
        service=service,
        load=quantiles(loads) if loads else ZERO,
        init=init,
        memory_mb=memory_mb[subject.variant.id, subject.placement.prepack],
        fingerprint=hardware(bench.backend),
        cpu_share=cpu_share(bench.backend),
        samples=sum(len(cell.ms) for cell in subject.cells.values()),
        measured_at=utc_now() if subject.since is None else _utc(subject.since),
        batch_error=batch_error(service),
        peak_mb=median(subject.peak_mb) if subject.peak_mb else None,
    )


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
