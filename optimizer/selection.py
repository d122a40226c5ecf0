"""Compares a task's variants and says which generated ones are kept; publishes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from optimizer.contest import TURNS, Entrant, hold
from optimizer.evaluation import Evaluation
from optimizer.make import Made
from optimizer.plan import Plan
from optimizer.progress import Steps
from optimizer.screen import Figures, dropped, seems_better
from registry.blobs import Blobs
from registry.lineage import Outcome, Tried
from registry.model import Tier, TierKind


async def select(
    kept: Sequence[tuple[Made, Blobs]],
    generated: Sequence[tuple[Made, Blobs]],
    *,
    tiers: Sequence[Tier],
    evaluation: Evaluation,
    plan: Plan,
    steps: Steps,
) -> list[Tried]:
    """Those of the `generated` to drop, each with its numbers and who beats it; `kept` are never dropped.

    A variant of the same bytes as another is dropped unmeasured, and one for other devices only is kept unmeasured.
    """
    twins = _twins([made for made, _ in kept], [made for made, _ in generated])
    here = [(m, b) for m, b in generated if m.name not in {t.name for t in twins} and _runs_here(m, tiers)]
    if not here:
        return twins
    steps.expect(TURNS)
    entrants = [
        Entrant(made, blobs, frozenset(tier.name for tier in tiers if made.suits(tier)))
        for made, blobs in (*kept, *here)
    ]
    figures = await hold(entrants, evaluation, plan, steps)
    beaten = dropped(figures, [made.name for made, _ in here])
    return twins + [_beaten(made, figures, beaten[made.name]) for made, _ in here if made.name in beaten]


def _twins(kept: Sequence[Made], generated: Sequence[Made]) -> list[Tried]:
    seen = {made.candidate.variant.artifact: made for made in reversed(kept)}
    twins = []
    for made in generated:
        variant = made.candidate.variant
        twin = seen.setdefault(variant.artifact, made)
        if twin is not made:
            numbers = (("accuracy", variant.accuracy.value), ("size_bytes", float(variant.size_bytes)))
            reason = f"is {twin.name}, byte for byte"
            twins.append(Tried(variant.task, variant.name, variant.recipe, Outcome.DROPPED, reason, numbers))
    return twins


def _beaten(made: Made, figures: Mapping[str, Figures], winner: str) -> Tried:
    variant = made.candidate.variant
    noise = "by more than the noise " if seems_better(figures[variant.name], figures[winner]) else ""
    reason = f"is on no axis better {noise}than {winner}"
    numbers = (*figures[variant.name].numbers(), *figures[winner].numbers(of=f"{winner}."))
    return Tried(variant.task, variant.name, variant.recipe, Outcome.DROPPED, reason, numbers)


def _runs_here(made: Made, tiers: Collection[Tier]) -> bool:
    """Whether times of this machine's CPU say anything of it."""
    return any(tier.kind is not TierKind.GPU for tier in tiers if made.suits(tier))
