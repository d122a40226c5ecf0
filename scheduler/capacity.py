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
from registry.copies import ENDPOINTS, START_S, TAIL_S, scarce
from registry.model import SHARED, Placement, StartMode, Tier, TierKind
from scheduler.actions import Action, Provision, Shrink, Unload, Warm
from scheduler.columns import NONE
from scheduler.environments import State
from scheduler.fleet import Fleet
from scheduler.keeping import RENEWED, holding_usd, room_mb
from scheduler.overlap import COPIES_LEVEL, NEARLY_ALL, copies_for, found_free
from scheduler.prospects import Prospects, prospects
from scheduler.quantiles import Floats
from scheduler.requests import Request

WORTH_USD = 1e-3
"""What a right answer in time is worth, unless the operator says otherwise: some fifty times what one costs."""

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
    rest: Floats
    """Other requests of the period, where the tier is not there for anybody otherwise."""
    instead_usd: Floats
    """What an answer to one of these is worth then: ready on what started by itself."""
    ready_usd: Floats
    """What an answer is worth where each is ready. Where copies are paid for by the second, that is its price."""
    effort_usd: Floats
    """What it costs to make each ready, as things are now."""
    rate: Floats
    """Requests a second that are expected of each one's task."""


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
    options, best = _options(fleet, demands, now, period_s, worth_usd)
    chosen = _opened(fleet, options, best, budget_usd_per_h * period_s / 3600, period_s)
    per_h, names = 3600 / period_s, [tier.name for tier in fleet.layout.tiers]
    return Plan(
        actions=_actions(fleet, options, chosen, demands, now=now, period_s=period_s),
        usd_per_h=sum(offer.price for offer in chosen.values()) * per_h,
        gain_usd_per_h=sum(offer.net for offer in chosen.values()) * per_h,
        residency={names[t]: tuple(options.of.placements[i].id for i in o.members) for t, o in chosen.items()},
        copies={names[t]: offer.copies for t, offer in chosen.items()},
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Offer:
    """What a tier would hold, and what that is worth beyond its price (US dollars a period)."""

    members: NDArray[np.intp]
    copies: int
    price: float
    net: float


_NOTHING = _Offer(np.zeros(0, dtype=np.intp), 0, 0.0, 0.0)


def _opened(fleet: Fleet, options: _Options, best: Floats, budget_usd: float, period_s: float) -> dict[int, _Offer]:
    """The tiers to keep and what they hold, the one that gains most first; `best` ends as what answers are worth then.

    What a tier would gain only falls as others are opened, so an old figure is a bound: only the tier that leads is
    counted anew, until it still leads (Minoux, Accelerated greedy algorithms, 1978).
    """
    home, at_home = _settled(options, best, fleet, period_s)
    chosen: dict[int, _Offer] = {}
    tiers = sorted(set(options.of.tier.tolist()))
    bounds = [(-math.inf, tier) for tier in tiers]
    while bounds:
        _, tier = heappop(bounds)
        here = _open_to(options, fleet.layout.tiers[tier], tier, home)
        value = np.maximum(best, at_home) if scarce(fleet.layout.tiers[tier]) else best
        offer = _offer(options, value, fleet.layout.tiers[tier], here, period_s, budget_usd=budget_usd)
        if offer.net <= NOTHING:
            if (home == tier).any():  # the budget does not open it: who lives there may go elsewhere
                home[home == tier] = NOWHERE
                bounds = [(-math.inf, other) for other in tiers if other not in chosen and other != tier]
            continue
        if bounds and offer.net < -bounds[0][0]:
            heappush(bounds, (-offer.net, tier))
            continue
        chosen[tier] = offer
        served = options.of.request[offer.members]
        best[served] = options.ready_usd[offer.members]
        budget_usd = max(0.0, budget_usd - offer.price)
        crowded_out = np.setdiff1d((home == tier).nonzero()[0], served)
        if len(crowded_out):  # who may go elsewhere now, where more is to be gained for that
            home[crowded_out] = NOWHERE
            bounds = [(-math.inf, other) for other in tiers if other not in chosen]
    return chosen


def _settled(options: _Options, best: Floats, fleet: Fleet, period_s: float) -> tuple[NDArray[np.intp], Floats]:
    """Where each task is at home: the tier that is worth its price for what is resident there; else NOWHERE.

    Nothing is moved from there to where there happens to be room, or every minute would move half of all. Beside it
    what an answer is worth there: only for copies that are scarce does that count.
    """
    home, worth = np.full(len(best), NOWHERE, dtype=np.intp), np.zeros(len(best))
    for tier in sorted(set(options.of.tier[options.of.resident].tolist())):
        here = ((options.of.tier == tier) & options.of.resident & (home[options.of.request] == NOWHERE)).nonzero()[0]
        offer = _offer(options, best, fleet.layout.tiers[tier], here, period_s)
        if offer.net > NOTHING:
            home[options.of.request[offer.members]] = tier
            if not scarce(fleet.layout.tiers[tier]):
                worth[options.of.request[offer.members]] = options.ready_usd[offer.members]
    return home, worth


def _open_to(options: _Options, tier: Tier, number: int, home: NDArray[np.intp]) -> NDArray[np.intp]:
    """The options on a tier of tasks that are at home there or nowhere; of all tasks, where copies are scarce."""
    of_task = home[options.of.request]
    may = (of_task == number) | (of_task == NOWHERE) | scarce(tier)
    found: NDArray[np.intp] = ((options.of.tier == number) & may).nonzero()[0]
    return found


def _offer(
    options: _Options,
    best: Floats,
    tier: Tier,
    here: NDArray[np.intp],
    period_s: float,
    *,
    budget_usd: float = math.inf,
) -> _Offer:
    """The variants that a tier would gain most by, by gain for their memory until it is full; one of each task.

    `here` are the options on the tier to choose from.
    """
    # What it takes to make something ready is worth having for as long as an idle environment lives, not this period.
    lasting = max(1.0, tier.idle_timeout_s / period_s)
    more_usd = options.ready_usd[here] - best[options.of.request[here]]
    gains = options.weight[here] * more_usd - options.effort_usd[here] / lasting
    kept_usd = np.maximum(best[options.of.request[here]], options.instead_usd[here])
    gains += options.rest[here] * (options.ready_usd[here] - kept_usd)
    # Of one task's variants the one that gains most: sorted by gain, the first of each task.
    order = np.argsort(-gains, kind="stable")
    _, firsts = np.unique(options.of.request[here][order], return_index=True)
    order = order[np.sort(firsts)]
    order = order[gains[order] > NOTHING]
    members, gains = here[order], gains[order]
    fits = _packed(gains, options.of.memory_mb[members], room_mb(tier))
    members, gains = members[fits], gains[fits]
    load = float((options.rate[members] * options.of.busy_s[members]).sum())
    of_all = float((options.rate[members] * period_s * more_usd[order][fits]).sum())
    each_usd = holding_usd(tier, period_s)
    copies, net = _copies(tier, load, gain=float(gains.sum()), of_all=of_all, each_usd=each_usd, budget_usd=budget_usd)
    return _Offer(members, copies, each_usd * copies, net) if copies else _NOTHING


def _copies(
    tier: Tier, load: float, *, gain: float, of_all: float, each_usd: float, budget_usd: float
) -> tuple[int, float]:
    """How many copies of a tier gain most beyond their price, and how much (US dollars a period).

    Copies that suffice for COPIES_LEVEL of the requests have all of `gain`. Each beyond them gains for the requests
    that would still have found none free, of `of_all` that all requests of the period would gain by being ready.
    """
    # Where all runs share one environment there is one.
    most = min(1 if tier.kind in SHARED else tier.concurrency, copies_for(load, NEARLY_ALL))
    if each_usd > 0.0 and most * each_usd > budget_usd:
        most = int(budget_usd / each_usd)
    if not most:
        return 0, 0.0
    free = found_free(load, most)
    net = gain * np.minimum(1.0, free / COPIES_LEVEL) + of_all * np.maximum(0.0, free - COPIES_LEVEL)
    net -= each_usd * np.arange(1, most + 1)
    best = int(np.argmax(net))
    return best + 1, float(net[best])


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


def _options(
    fleet: Fleet, demands: Sequence[Demand], now: float, period_s: float, worth_usd: float
) -> tuple[_Options, Floats]:
    """What could be kept ready, and what an answer of each demand is worth with nothing kept."""
    found = prospects(fleet, [demand.request for demand in demands], now, worth_usd)
    best = np.zeros(len(demands))
    np.maximum.at(best, found.request, found.kept_nothing_usd)
    columns = (np.array([getattr(demand, name) for demand in demands], dtype=np.float64) for name in ("ask", "rate"))
    ask, rate = (column[found.request] for column in columns)
    # Who comes while it starts is late too.
    weight, rest = ask * (1.0 + rate * found.start_s), np.zeros(len(ask))
    instead_usd, instead_s = _instead(fleet, found, len(demands), period_s)
    copied = np.array([scarce(tier) for tier in fleet.layout.tiers], dtype=np.bool_)[found.tier]
    # A tier of scarce copies does not start for them: what else the task has does, and is there for the rest.
    of_period = ask * np.maximum(1.0, rate * period_s)
    meet = np.minimum(of_period, ask * (1.0 + rate * instead_s[found.request]))
    weight, rest = np.where(copied, meet, weight), np.where(copied, of_period - meet, rest)
    effort_usd = found.effort_usd + _asking_usd(fleet)[found.tier]
    ready_usd = found.ready_usd + np.where(copied, found.run_usd, 0.0)
    return _Options(found, weight, rest, instead_usd[found.request], ready_usd, effort_usd, ask * rate), best


def _instead(fleet: Fleet, found: Prospects, tasks: int, period_s: float) -> tuple[Floats, Floats]:
    """What an answer of each task is worth on the best of what starts by itself, and how long (s) that takes.

    Where there is none it takes the whole period.
    """
    usd, seconds = np.zeros(tasks), np.full(tasks, period_s)
    alone = np.array([not scarce(tier) for tier in fleet.layout.tiers], dtype=np.bool_)
    for i in (alone[found.tier]).nonzero()[0].tolist() if not alone.all() else ():
        task = int(found.request[i])
        if found.ready_usd[i] > usd[task]:
            usd[task], seconds[task] = found.ready_usd[i], found.start_s[i]
    return usd, seconds


def _asking_usd(fleet: Fleet) -> Floats:
    """What the first copy of each tier costs beyond its use: until it answers, and after it was given up."""
    tiers = zip(fleet.layout.tiers, fleet.tiers, strict=True)
    return np.array(
        [(START_S + TAIL_S) * t.price.usd_per_idle_s if scarce(t) and not s.environments else 0.0 for t, s in tiers]
    )


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
    asks = {demand.task: demand.ask for demand in demands}
    for number, tier in enumerate(fleet.layout.tiers):
        offer = chosen.get(number, _NOTHING)
        actions += _room(fleet, options, number, offer.members, asks)
        actions += _sized(tier, offer.copies, _Standing.of(fleet, number, now), period_s)
        for i in offer.members.tolist():
            demand = demands[int(options.of.request[i])]
            reason = (
                f"{demand.task} is asked for with probability {demand.ask:.2g} within {period_s:g} s, and ready "
                f"answers are worth {options.weight[i] * options.ready_usd[i]:.2g} USD there"
            )
            actions.append(Warm(options.of.placements[i], reason, offer.copies, period_s))
    return tuple(actions)


def _room(
    fleet: Fleet, options: _Options, number: int, members: NDArray[np.intp], asks: Mapping[str, float]
) -> list[Action]:
    """Unload what is resident and not planned, where what is planned would not fit beside it.

    What is asked for least goes first, and of that the largest.
    """
    tier, planned_mb = fleet.layout.tiers[number], float(options.of.memory_mb[members].sum())
    planned = {options.of.placements[i].variant for i in members.tolist()}
    leaving: dict[str, Placement] = {}
    for environment in fleet.tiers[number].environments.values():
        others = {v: _largest(fleet, number, v) for v in environment.resident if v not in planned and v not in leaving}
        held = {v: found for v, found in others.items() if found is not None}
        needed = planned_mb + sum(mb for mb, _ in held.values())
        for variant in sorted(held, key=lambda v: (asks.get(held[v][1].task, 0.0), -held[v][0], v)):
            if needed <= room_mb(tier):
                break
            needed -= held[variant][0]
            leaving[variant] = held[variant][1]
    reason = f"{len(members)} planned variants of {planned_mb:.0f} MB need its room on {tier.name}"
    return [Unload(placement, reason) for placement in leaving.values()]


def _largest(fleet: Fleet, number: int, variant: str) -> tuple[float, Placement] | None:
    """The memory (MB) that a variant takes on a tier at most, and a placement of such; None where none is measured."""
    layout, profiles = fleet.layout, fleet.layout.catalogue.profiles
    found = [layout.placements[i] for i in layout.of_variant_on.get((number, variant), NONE).tolist()]
    measured = [(profiles[placement.id].memory_mb, placement) for placement in found if placement.id in profiles]
    return max(measured, key=itemgetter(0), default=None)


@dataclass(frozen=True, slots=True)
class _Standing:
    """Environments of a tier that are there, and of them those that run nothing."""

    there: int
    idle: int
    long_idle: int
    """Those that have run nothing for so long that one that is planned would be renewed."""

    @classmethod
    def of(cls, fleet: Fleet, number: int, now: float) -> _Standing:
        after_s = RENEWED * fleet.layout.tiers[number].idle_timeout_s
        environments = fleet.tiers[number].environments.values()
        idle = [environment for environment in environments if environment.state is State.IDLE]
        return cls(len(environments), len(idle), sum(now - environment.used_at >= after_s for environment in idle))

    @property
    def wanted(self) -> int:
        """Those that somebody uses, or did a moment ago."""
        return self.there - self.long_idle


def _sized(tier: Tier, planned: int, standing: _Standing, period_s: float) -> list[Action]:
    """The tier's number of copies, where that is ours to say, and idle processes that nothing is planned for.

    What requests use is not taken from them: neither an endpoint that they started, nor a process between two of them.
    """
    if tier.start_mode is StartMode.ALWAYS:
        return []
    plan_is = f"{planned} copies are planned for the next {period_s:g} s"
    if tier.kind in ENDPOINTS:
        copies = max(planned, standing.wanted)
        used = "" if copies == planned else f", and {copies} were used lately"
        return [Provision(tier.name, copies, plan_is + used)]
    if tier.start_mode is StartMode.PROVISIONED:
        return [Provision(tier.name, planned, plan_is)]
    # Lambda keeps idle environments for nothing; processes of this machine take its memory.
    spare = standing.long_idle - planned
    if tier.kind is not TierKind.PROCESS or spare <= 0:
        return []
    reason = f"{standing.long_idle} have been idle for long, and {planned} are planned"
    return [Shrink(tier.name, standing.idle - spare, reason)]


def _check(demands: Sequence[Demand], period_s: float, budget_usd_per_h: float) -> None:
    if not 0.0 < period_s < math.inf:
        raise ValueError(f"period_s: {period_s} is impossible; give a positive number of seconds")
    if not budget_usd_per_h >= 0.0:
        raise ValueError(f"budget_usd_per_h: {budget_usd_per_h} is impossible; give 0 or more US dollars an hour")
    for demand in demands:
        if not (0.0 <= demand.ask <= 1.0 and 0.0 <= demand.rate < math.inf):
            raise ValueError(f"demand of {demand.task}: ask {demand.ask} or rate {demand.rate} is impossible")
