"""Decisions in words: one sentence for each placement, with the figures it rests on; never changes a decision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from registry.model import Estimate, Objective, Placement, Slo

if TYPE_CHECKING:
    from scheduler.decision import Decision

NOTABLE = 0.02
"""Least relative difference of live service from its profile that is worth a word; none this small is believed anew."""

ALL_DIGITS = 17
"""Significant digits that tell any two floats apart (IEEE 754)."""


def why_first(decision: Decision) -> str:
    """Why the chosen placement is first, or why there is none."""
    if not decision.ranked:
        return "no placement can run now"
    first, slo = decision.ranked[0], decision.request.slo
    if not decision.feasible:
        return (
            f"no placement holds every bound; this one breaks them least: {_broken(first, slo)}{_live(decision, first)}"
        )
    held = decision.ranked.held
    among = f"of {held} {'placement' if held == 1 else 'placements'} that {_do(slo, held)}"
    return f"{_superlative(first, slo)} {among}{_live(decision, first)}"


def why_not(decision: Decision) -> Mapping[str, str]:
    """Placement id to the reason why it is not chosen, for every placement of the task but the chosen one."""
    said = {p.id: _why_unranked(decision, p) for p in _placements(decision)}
    for place, estimate in enumerate(decision.ranked, start=1):
        said[estimate.placement.id] = _why_later(decision, estimate, place) + _live(decision, estimate)
    if decision.ranked:
        del said[decision.ranked[0].placement.id]
    return said


def _placements(decision: Decision) -> tuple[Placement, ...]:
    span = decision.ranked.outlook.table.span
    return decision.fleet.layout.placements[span.start : span.stop]


def _why_unranked(decision: Decision, placement: Placement) -> str:
    """Everything that keeps a placement from running; empty for one that can run."""
    fleet, now, rows = decision.fleet, decision.now, decision.request.rows
    said = []
    if placement.id not in fleet.layout.catalogue.profiles:
        said.append("not profiled")
    if rows > placement.max_batch:
        said.append(f"batch of {rows} exceeds {placement.max_batch}")
    if placement.variant in fleet.quarantined:
        said.append(f"quarantined: {fleet.quarantined[placement.variant]}")
    failing = fleet.failing.get(placement.id)
    if failing is not None and failing.until > now:
        said.append(f"failing{_for(failing.until - now)}: {failing.reason}")
    tier = fleet.tier(placement.tier)
    if tier.unavailable_until > now:
        said.append(f"tier {placement.tier} unavailable{_for(tier.unavailable_until - now)}: {tier.reason}")
    return "; ".join(said)


def _why_later(decision: Decision, estimate: Estimate, place: int) -> str:
    slo = decision.request.slo
    broken = _broken(estimate, slo)
    if broken and decision.feasible:
        return broken
    return f"ranked {_ordinal(place)}: {broken or _behind(estimate, decision.ranked[0], slo)}"


def _live(decision: Decision, estimate: Estimate) -> str:
    """What outcomes say against the profile; empty where they say nothing."""
    pace = decision.fleet.pace(estimate.placement.id, decision.now)
    return f"; live service is {figure(pace, 2)} times its profile" if abs(pace - 1.0) >= NOTABLE else ""


def _behind(estimate: Estimate, first: Estimate, slo: Slo) -> str:
    """How the first beats this one, by the first comparison of the ranking's order that tells them apart."""
    if slo.objective is Objective.ACCURACY and estimate.effective_accuracy != first.effective_accuracy:
        ours, best = _apart(estimate.effective_accuracy, first.effective_accuracy)
        return f"effective accuracy {ours} < {best}"
    cost, latency = estimate.cost_usd != first.cost_usd, estimate.latency_ms != first.latency_ms
    if latency and (slo.objective is Objective.LATENCY or not cost):
        ours, best = _apart(estimate.latency_ms, first.latency_ms)
        return f"p{slo.percentile:g} {ours} ms > {best} ms"
    if cost:
        ours, best = _apart(estimate.cost_usd, first.cost_usd)
        return f"costs ${ours} > ${best}"
    return "as good as the chosen one, and later by name"


def _broken(estimate: Estimate, slo: Slo) -> str:
    """The bounds that a placement breaks, with by how much; empty when it breaks none."""
    said = []
    if "latency_ms" in estimate.broken and slo.latency_ms is not None:
        latency, bound = _apart(estimate.latency_ms, slo.latency_ms)
        said.append(f"p{slo.percentile:g} {latency} ms exceeds {bound} ms")
    if "min_accuracy" in estimate.broken and slo.min_accuracy is not None:
        accuracy, bound = _apart(estimate.accuracy, slo.min_accuracy)
        said.append(f"accuracy {accuracy} is below {bound}")
    if "max_cost_usd" in estimate.broken and slo.max_cost_usd is not None:
        cost, bound = _apart(estimate.cost_usd, slo.max_cost_usd)
        said.append(f"costs ${cost}, over ${bound}")
    return "; ".join(said)


def _superlative(first: Estimate, slo: Slo) -> str:
    if slo.objective is Objective.COST:
        return f"the cheapest, ${figure(first.cost_usd)},"
    if slo.objective is Objective.LATENCY:
        return f"the fastest, p{slo.percentile:g} {figure(first.latency_ms)} ms,"
    shares = f"on time {figure(first.on_time)} × accuracy {figure(first.accuracy)}"
    return f"the highest effective accuracy, {figure(first.effective_accuracy)} ({shares}),"


def _do(slo: Slo, held: int) -> str:
    if slo.latency_ms is slo.min_accuracy is slo.max_cost_usd is None:
        return "can run"
    return "hold every bound" if held != 1 else "holds every bound"


def _for(seconds: float) -> str:
    return "" if math.isinf(seconds) else f" for {figure(seconds)} s more"


def _ordinal(n: int) -> str:
    suffix = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{suffix}"


def figure(value: float, digits: int = 3) -> str:
    """A number with so many significant digits and no exponent."""
    return format(Decimal(f"{value:.{digits}g}"), "f")


def _apart(a: float, b: float) -> tuple[str, str]:
    """Two numbers with no more digits than it takes to tell them apart: three, unless they are close."""
    pairs = ((figure(a, digits), figure(b, digits)) for digits in range(3, ALL_DIGITS + 1))
    return next((pair for pair in pairs if pair[0] != pair[1]), (repr(a), repr(b)))
