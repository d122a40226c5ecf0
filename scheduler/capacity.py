"""What to have warm in the next period, and what no more: prewarm and evict as one decision; pure.

For every placement the expected cost of being cold (answers that come late, INIT that is billed) stands against the
cost of being warm until the period ends. An environment is paid for once, whoever lives in it: so which variants live
together on which tier is part of the decision (facility location with capacities; the greedy way of Jain et al.,
J. ACM 2003, section 2: open what is worth most beyond its price, count again what the rest is worth, go on). A worker
shard is a tier of its own: several tiers of one size are several shards.

The plan says how things should be, whole. Decided again from the same fleet it is the same plan, and one that was never
carried out is simply decided again a period later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from registry.catalogue import Catalogue
from registry.model import StartMode, Tier, TierKind
from registry.prices import invocation_cost
from scheduler.actions import Action, Provision, Shrink, Unload, Warm
from scheduler.fleet import Fleet
from scheduler.prospects import Prospects, prospects
from scheduler.quantiles import Floats
from scheduler.requests import Request

WORTH_USD = 1e-3
"""What a right answer in time is worth, unless the operator says otherwise: some fifty times what one costs."""

MEMORY_SHARE = 0.8
"""Of an environment's memory that planned variants may take; the rest is for the runtime and what requests bring."""

PING_MS = 100.0
"""Billed duration of a warm-up: overlapping ones hold their environments so long, that each reaches another one."""

RENEWED = 0.5
"""Share of its idle lifetime after which an environment is used once more to keep it; what Lambda's is, nobody says."""

COPIES_LEVEL = 0.95
"""How often the planned copies suffice for the requests that overlap."""

NOWHERE = -1

NOTHING = 1e-12
"""US dollars below which a gain is rounding."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is expected of one task in the next period."""

    task: str
    ask: float
    """Probability that it is asked for at all."""
    rate: float
    """Requests a second while it is."""
    request: Request
    """A typical one: its SLO and rows."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What should be warm, what has to be done for that, and what it costs."""

    actions: tuple[Action, ...]
    usd_per_h: float
    """Of keeping the environments, beyond what is paid anyway."""
    gain_usd_per_h: float
    """Expected worth and money saved, less that."""
    residency: Mapping[str, tuple[str, ...]]
    """Tier to the placements (ids) that live on it together, the most valuable first."""
    copies: Mapping[str, int]
    """Environments of each of these tiers."""


@dataclass(frozen=True, slots=True, eq=False)
class _Options:
    """Every placement that could be kept ready."""

    of: Prospects
    weight: Floats
    """Requests expected to meet each cold otherwise."""


def plan(
    catalogue: Catalogue,
    fleet: Fleet,
    demands: Sequence[Demand],
    now: float,
    *,
    period_s: float,
    budget_usd_per_h: float = math.inf,
    worth_usd: float = WORTH_USD,
) -> Plan:
    """What to keep ready until `period_s` from `now` (s), for at most `budget_usd_per_h` beyond what is paid anyway.

    Raises NotFound for a demand of an unknown task, and ValueError for an impossible period, budget or probability.
    """
    _check(demands, period_s, budget_usd_per_h)
    fleet = fleet.follow(catalogue)
    options, best = _options(fleet, demands, now, worth_usd)
    chosen = _opened(fleet, options, best, budget_usd_per_h * period_s / 3600, period_s)
    per_h, names = 3600 / period_s, [tier.name for tier in fleet.layout.tiers]
    return Plan(
        actions=_actions(fleet, options, chosen, demands, now=now, period_s=period_s),
        usd_per_h=sum(offer.price for offer in chosen.values()) * per_h,
        gain_usd_per_h=sum(offer.net for offer in chosen.values()) * per_h,
        residency={names[t]: tuple(options.of.placements[i].id for i in o.members) for t, o in chosen.items()},
        copies={names[t]: offer.copies for t, offer in chosen.items()},
    )


def holding_usd(tier: Tier, period_s: float) -> float:
    """What keeping one environment of a tier warm for a period costs, beyond what is paid whether used or not."""
    if tier.start_mode is StartMode.ALWAYS:
        return 0.0
    if tier.start_mode is StartMode.PROVISIONED or tier.kind in ENDPOINTS:
        return tier.price.usd_per_idle_s * period_s
    return invocation_cost(tier.price, PING_MS) * period_s / (tier.idle_timeout_s * RENEWED)


ENDPOINTS = frozenset({TierKind.CONTAINER, TierKind.GPU})
"""Kinds of tier whose environments are copies of a container, paid for by the second."""


@dataclass(frozen=True, slots=True, eq=False)
class _Offer:
    """What a tier would hold, and what that is worth beyond its price (US dollars a period)."""

    members: NDArray[np.intp]
    copies: int
    price: float
    net: float


def _opened(fleet: Fleet, options: _Options, best: Floats, budget_usd: float, period_s: float) -> dict[int, _Offer]:
    """The tiers to keep and what they hold, the one that gains most first; `best` ends as what answers are worth then.

    What a tier would gain only falls as others are opened, so an old figure is a bound: only the tier that leads is
    counted anew, until it still leads (Minoux, Accelerated greedy algorithms, 1978).
    """
    home = _settled(options, best, fleet, period_s)
    chosen: dict[int, _Offer] = {}
    bounds = [(-math.inf, tier) for tier in sorted(set(options.of.tier.tolist()))]
    while bounds:
        _, tier = heappop(bounds)
        offer = _offer(options, best, fleet.layout.tiers[tier], _open_to(options, tier, home), period_s)
        if offer.net <= NOTHING or offer.price > budget_usd:
            continue
        if bounds and offer.net < -bounds[0][0]:
            heappush(bounds, (-offer.net, tier))
            continue
        chosen[tier] = offer
        served = options.of.request[offer.members]
        best[served] = options.of.ready_usd[offer.members]
        budget_usd -= offer.price
        crowded_out = np.setdiff1d((home == tier).nonzero()[0], served)
        if len(crowded_out):  # who may go elsewhere now, where more is to be gained for that
            home[crowded_out] = NOWHERE
            bounds = [(-math.inf, other) for _, other in sorted(bounds, key=itemgetter(1))]
    return chosen


_NOTHING = _Offer(np.zeros(0, dtype=np.intp), 0, 0.0, 0.0)


def _settled(options: _Options, best: Floats, fleet: Fleet, period_s: float) -> NDArray[np.intp]:
    """Where each task is at home: the tier that is worth its price for what is resident there; else NOWHERE.

    Nothing is moved from there to where there happens to be room, or every minute would move half of all.
    """
    home = np.full(len(best), NOWHERE, dtype=np.intp)
    for tier in sorted(set(options.of.tier[options.of.resident].tolist())):
        here = ((options.of.tier == tier) & options.of.resident & (home[options.of.request] == NOWHERE)).nonzero()[0]
        offer = _offer(options, best, fleet.layout.tiers[tier], here, period_s)
        if offer.net > NOTHING:
            home[options.of.request[offer.members]] = tier
    return home


def _open_to(options: _Options, tier: int, home: NDArray[np.intp]) -> NDArray[np.intp]:
    """The options on a tier of tasks that are at home there or nowhere."""
    of_task = home[options.of.request]
    found: NDArray[np.intp] = ((options.of.tier == tier) & ((of_task == tier) | (of_task == NOWHERE))).nonzero()[0]
    return found


def _offer(options: _Options, best: Floats, tier: Tier, here: NDArray[np.intp], period_s: float) -> _Offer:
    """The variants that a tier would gain most by, by gain for their memory until it is full; one of each task.

    `here` are the options on the tier to choose from.
    """
    gains = (
        options.weight[here] * (options.of.ready_usd[here] - best[options.of.request[here]])
        - options.of.effort_usd[here]
    )
    # Of one task's variants the one that gains most: sorted by gain, the first of each task.
    order = np.argsort(-gains, kind="stable")
    _, firsts = np.unique(options.of.request[here][order], return_index=True)
    order = order[np.sort(firsts)]
    order = order[gains[order] > NOTHING]
    members, gains = here[order], gains[order]
    fits = _packed(gains, options.of.memory_mb[members], tier.memory_mb * MEMORY_SHARE)
    members, gains = members[fits], gains[fits]
    load = float((options.weight[members] * options.of.busy_s[members]).sum()) / period_s
    copies = min(tier.concurrency, copies_for(load)) if tier.start_mode is not StartMode.ALWAYS else 1
    price = holding_usd(tier, period_s) * copies
    return _Offer(members, copies, price, float(gains.sum()) - price)


def _packed(gains: Floats, memory_mb: Floats, most_mb: float) -> NDArray[np.intp]:
    """Which of the offered fit, those with most gain for their memory first (Dantzig, Oper. Res. 1957)."""
    order = np.argsort(-gains / np.maximum(memory_mb, 1e-9), kind="stable")
    if memory_mb.sum() <= most_mb:
        return order
    kept, left = [], most_mb
    for i in order.tolist():
        if memory_mb[i] <= left:
            kept.append(i)
            left -= float(memory_mb[i])
    return np.array(kept, dtype=np.intp)


def copies_for(load: float, level: float = COPIES_LEVEL) -> int:
    """Environments that suffice with probability `level` for requests that keep `load` of them busy on average.

    The number that overlap is Poisson (M/G/∞; Kleinrock, Queueing Systems I, 1975, section 3.5); at least one.
    """
    if not 0.0 <= load < math.inf:
        raise ValueError(f"a load of {load} is impossible")
    if load > 500.0:  # where the first term would be no float any more; normal there
        return math.ceil(load + 1.6449 * math.sqrt(load))
    term = total = math.exp(-load)
    copies = 0
    while total < level:
        copies += 1
        term *= load / copies
        total += term
    return max(1, copies)


def _options(fleet: Fleet, demands: Sequence[Demand], now: float, worth_usd: float) -> tuple[_Options, Floats]:
    """What could be kept ready, and what an answer of each demand is worth with nothing kept."""
    found = prospects(fleet, [demand.request for demand in demands], now, worth_usd)
    best = np.zeros(len(demands))
    np.maximum.at(best, found.request, found.kept_nothing_usd)
    ask, rate = (np.array([getattr(demand, name) for demand in demands], dtype=np.float64) for name in ("ask", "rate"))
    # Who comes while it starts is late too.
    return _Options(found, ask[found.request] * (1.0 + rate[found.request] * found.start_s)), best


def _actions(
    fleet: Fleet,
    options: _Options,
    chosen: Mapping[int, _Offer],
    demands: Sequence[Demand],
    *,
    now: float,
    period_s: float,
) -> tuple[Action, ...]:
    """What it takes to get there: make room first, then copies, then what lives in them."""
    actions: list[Action] = []
    for number, tier in enumerate(fleet.layout.tiers):
        offer = chosen.get(number, _NOTHING)
        actions += _room(fleet, options, number, offer.members)
        actions += _sized(tier, offer.copies, _long_idle(fleet, number, now), period_s)
        for i in offer.members.tolist():
            demand = demands[int(options.of.request[i])]
            reason = (
                f"{demand.task} is asked for with probability {demand.ask:.2g} within {period_s:g} s, and ready "
                f"answers are worth {options.weight[i] * options.of.ready_usd[i]:.2g} USD there"
            )
            actions.append(Warm(options.of.placements[i], reason, offer.copies, period_s))
    return tuple(actions)


def _room(fleet: Fleet, options: _Options, number: int, members: NDArray[np.intp]) -> list[Action]:
    """Unload what is resident and not planned, where what is planned would not fit beside it."""
    layout, tier, profiles = fleet.layout, fleet.layout.tiers[number], fleet.layout.catalogue.profiles
    planned = {options.of.placements[i].variant for i in members.tolist()}
    held = {variant for e in fleet.tiers[number].environments.values() for variant in e.resident} - planned
    found = [layout.placements[int(i)] for v in held for i in layout.of_variant_on.get((number, v), ())]
    others = [placement for placement in found if placement.id in profiles]
    needed = float(options.of.memory_mb[members].sum()) + sum(profiles[p.id].memory_mb for p in others)
    actions: list[Action] = []
    for placement in sorted(others, key=lambda p: (-profiles[p.id].memory_mb, p.id)):
        if needed <= tier.memory_mb * MEMORY_SHARE:
            break
        needed -= profiles[placement.id].memory_mb
        what = f"{len(members)} planned variants of {float(options.of.memory_mb[members].sum()):.0f} MB need its room"
        actions.append(Unload(placement, f"{what} on {tier.name}"))
    return actions


def _long_idle(fleet: Fleet, number: int, now: float) -> int:
    """Environments of a tier that have run nothing for so long that one that is planned would be renewed."""
    after_s = RENEWED * fleet.layout.tiers[number].idle_timeout_s
    environments = fleet.tiers[number].environments.values()
    return sum(not e.running and now - e.used_at >= after_s for e in environments)


def _sized(tier: Tier, wanted: int, long_idle: int, period_s: float) -> list[Action]:
    """The tier's number of copies, where that is ours to say, and idle processes that nothing is planned for."""
    if tier.start_mode is StartMode.ALWAYS:
        return []
    if tier.start_mode is StartMode.PROVISIONED or tier.kind in ENDPOINTS:
        return [Provision(tier.name, wanted, f"{wanted} copies are planned for the next {period_s:g} s")]
    # Lambda keeps idle environments for nothing; processes of this machine take its memory.
    if tier.kind is not TierKind.PROCESS or long_idle <= wanted:
        return []
    return [Shrink(tier.name, wanted, f"{long_idle} have been idle for long, and {wanted} are planned")]


def _check(demands: Sequence[Demand], period_s: float, budget_usd_per_h: float) -> None:
    if not 0.0 < period_s < math.inf:
        raise ValueError(f"period_s: {period_s} is impossible; give a positive number of seconds")
    if not budget_usd_per_h >= 0.0:
        raise ValueError(f"budget_usd_per_h: {budget_usd_per_h} is impossible; give 0 or more US dollars an hour")
    for demand in demands:
        if not (0.0 <= demand.ask <= 1.0 and 0.0 <= demand.rate < math.inf):
            raise ValueError(f"demand of {demand.task}: ask {demand.ask} or rate {demand.rate} is impossible")
