"""Decisions in words: one sentence for each placement, with the figures it rests on; never changes a decision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from registry.model import Estimate, Objective, Placement, Slo
from scheduler.layout import Span

if TYPE_CHECKING:
    from scheduler.decision import Decision


def why_first(decision: Decision) -> str:
    """Why the chosen placement is first, or why there is none."""
    if not decision.ranked:
        return "no placement can run now"
    first, slo = decision.ranked[0], decision.request.slo
    if not decision.feasible:
        return f"no placement holds every bound; this one breaks them least: {_broken(first, slo)}"
    held = decision.ranked.held
    return f"{_superlative(first, slo)} of {held} {_plural('placement', held)} that {_bounds(slo, held)}"


def why_not(decision: Decision) -> Mapping[str, str]:
    """Placement id to the reason why it is not chosen, for every placement of the task but the chosen one."""
    said = {p.id: _why_unranked(decision, p) for p in _placements(decision)}
    for place, estimate in enumerate(decision.ranked, start=1):
        said[estimate.placement.id] = _why_later(decision, estimate, place)
    if decision.ranked:
        del said[decision.ranked[0].placement.id]
    return said


def _placements(decision: Decision) -> tuple[Placement, ...]:
    span: Span = decision.ranked.outlook.table.span
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
    slo, first = decision.request.slo, decision.ranked[0]
    broken = _broken(estimate, slo)
    if broken and decision.feasible:
        return broken
    ranked = f"ranked {_ordinal(place)}"
    if broken and estimate.broken != first.broken:
        return f"{ranked}: {broken}"
    return f"{ranked}: {'; '.join(filter(None, (broken, _behind(estimate, first, slo))))}"


def _behind(estimate: Estimate, first: Estimate, slo: Slo) -> str:
    """How the first beats this one, by the first comparison of the ranking's order that tells them apart."""
    accuracy = (estimate.effective_accuracy, first.effective_accuracy)
    cost, latency = (estimate.cost_usd, first.cost_usd), (estimate.latency_ms, first.latency_ms)
    if slo.objective is Objective.ACCURACY and accuracy[0] != accuracy[1]:
        return f"effective accuracy {_pair(*accuracy, '<' if accuracy[0] < accuracy[1] else '>')}"
    if slo.objective is Objective.LATENCY and latency[0] != latency[1]:
        return _latency_pair(latency, slo)
    if cost[0] != cost[1]:
        return f"costs ${_pair(*cost, '> $' if cost[0] > cost[1] else '< $')}"
    if latency[0] != latency[1]:
        return _latency_pair(latency, slo)
    return "as good as the chosen one, and later by name"


def _latency_pair(latency: tuple[float, float], slo: Slo) -> str:
    sign = ">" if latency[0] > latency[1] else "<"
    return f"p{slo.percentile:g} {_pair(*latency, sign)} ms"


def _broken(estimate: Estimate, slo: Slo) -> str:
    said = {
        "latency_ms": lambda: f"p{slo.percentile:g} {_pair(estimate.latency_ms, slo.latency_ms, 'ms exceeds')} ms",
        "min_accuracy": lambda: f"accuracy {_pair(estimate.accuracy, slo.min_accuracy, 'is below')}",
        "max_cost_usd": lambda: f"costs ${_pair(estimate.cost_usd, slo.max_cost_usd, ', over $')}".replace(" ,", ","),
    }
    return "; ".join(said[name]() for name in estimate.broken)


def _superlative(first: Estimate, slo: Slo) -> str:
    if slo.objective is Objective.COST:
        return f"the cheapest, ${_figure(first.cost_usd)},"
    if slo.objective is Objective.LATENCY:
        return f"the fastest, p{slo.percentile:g} {_figure(first.latency_ms)} ms,"
    shares = f"on time {_figure(first.on_time)} × accuracy {_figure(first.accuracy)}"
    return f"the highest effective accuracy, {_figure(first.effective_accuracy)} ({shares}),"


def _bounds(slo: Slo, held: int) -> str:
    if slo.latency_ms is slo.min_accuracy is slo.max_cost_usd is None:
        return "can run"
    return "hold every bound" if held != 1 else "holds every bound"


def _for(seconds: float) -> str:
    return "" if math.isinf(seconds) else f" for {_figure(seconds)} s more"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _ordinal(n: int) -> str:
    suffix = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{suffix}"


def _figure(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _pair(a: float, b: float | None, sign: str, most_digits: int = 9) -> str:
    """Two figures with just as many digits as tell them apart: `0.93 < 0.95`."""
    assert b is not None
    for digits in range(3, most_digits):
        left, right = _digits(a, digits), _digits(b, digits)
        if left != right:
            break
    return f"{left} {sign} {right}".replace("$ ", "$")


def _digits(value: float, digits: int) -> str:
    plain = f"{value:.{digits}g}"
    if "e" not in plain:
        return plain
    places = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{places}f}".rstrip("0").rstrip(".") if places else f"{value:.0f}"
