"""Has backends bring the fleet to where a plan wants it, and tells what came of each action; decides nothing.

An action says how things should be, so one that is so already, or was carried out a moment ago, changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.backends.protocol import Backend, Expires, Provisions, Unloads
from gateway.errors import BackendError, NotReady
from registry.catalogue import Catalogue
from registry.model import SHARED
from scheduler.actions import Action, Provision, Shrink, Unload, Warm

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Actions under way: each may load a model or start environments, which requests have the first claim to."""


class Result(StrEnum):
    """What came of an action."""

    DONE = "done"
    ALREADY = "already so"
    LEFT = "left to the next plan"
    FAILED = "failed"


class Part(StrEnum):
    """Of a plan: all of it, or one direction, where two carry it out together."""

    WHOLE = "whole"
    GROW = "grow"
    SHRINK = "shrink"

    def has(self, action: Action) -> bool:
        """Whether an action may belong to it; which way a count goes is known only where it is set."""
        return isinstance(action, _KINDS[self])


_KINDS: Mapping[Part, tuple[type[Action], ...]] = {
    Part.WHOLE: (Warm, Unload, Shrink, Provision),
    Part.GROW: (Warm, Provision),
    Part.SHRINK: (Unload, Shrink, Provision),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """An action and what came of it."""

    action: Action
    result: Result
    why: str = ""
    """Of what failed."""


async def carry_out(
    actions: Iterable[Action],
    backends: Mapping[str, Backend],
    catalogue: Catalogue,
    *,
    part: Part = Part.WHOLE,
    at_once: int = AT_ONCE,
    goes_on: Callable[[], bool] = lambda: True,
) -> tuple[Outcome, ...]:
    """The outcome of each action of `part`, in their order; `at_once` of them are under way at a time, one of a tier.

    What has not begun when it no longer `goes_on` is left. What makes room comes before what needs it. One that fails
    spoils none of the others, and is decided again from what the fleet then is.
    """
    slots = asyncio.Semaphore(at_once)
    tiers: dict[str, list[tuple[int, Action]]] = {}
    for place, action in enumerate(filter(part.has, actions)):
        tiers.setdefault(tier_of(action), []).append((place, action))

    async def on_one(numbered: list[tuple[int, Action]]) -> list[tuple[int, Outcome]]:
        ordered = sorted(numbered, key=lambda each: _ORDER[type(each[1])])
        outcomes = []
        for place, action in ordered:
            async with slots:
                came = await _outcome(action, backends, catalogue, part) if goes_on() else Outcome(action, Result.LEFT)
                outcomes.append((place, came))
            # A thousand that are so already are not to hold up the loop together.
            await asyncio.sleep(0)
        return outcomes

    found = [each for group in await asyncio.gather(*map(on_one, tiers.values())) for each in group]
    return tuple(outcome for _, outcome in sorted(found, key=lambda each: each[0]))


def tier_of(action: Action) -> str:
    """The tier that an action is about."""
    return action.placement.tier if isinstance(action, Warm | Unload) else action.tier


_ORDER: Mapping[type[Action], int] = {Unload: 0, Shrink: 1, Provision: 2, Warm: 3}


async def _outcome(action: Action, backends: Mapping[str, Backend], catalogue: Catalogue, part: Part) -> Outcome:
    tier = tier_of(action)
    try:
        if tier not in backends:
            raise NotReady(f"no backend serves tier {tier} here")
        changed = await _act(action, backends[tier], catalogue, part)
    except BackendError as fault:
        return Outcome(action, Result.FAILED, str(fault))
    except Exception as fault:  # the outermost handler of an action: the others are not to suffer
        log.exception("carrying out %s", action)
        return Outcome(action, Result.FAILED, f"{type(fault).__name__}: {fault}")
    return Outcome(action, Result.DONE if changed else Result.ALREADY)


async def _act(action: Action, backend: Backend, catalogue: Catalogue, part: Part) -> bool:
    """Carry one action out; whether anything had to be done."""
    match action:
        case Warm():
            return await _warm(action, backend, catalogue)
        case Unload(placement, _):
            return await _unload(placement.variant, backend, catalogue)
        case Shrink(_, copies, _):
            if backend.status().idle <= copies:
                return False
            await backend.release(copies)
            return True
        case Provision(tier, copies, _):
            if not isinstance(backend, Provisions):
                raise NotReady(f"environments of tier {tier} are not paid for by the copy")
            return await backend.provision(copies, more=part is not Part.SHRINK, fewer=part is not Part.GROW)


async def _warm(action: Warm, backend: Backend, catalogue: Catalogue) -> bool:
    placement = action.placement
    # A placement that the catalogue no longer has is nobody's to serve.
    if placement.id not in catalogue.placements:
        raise NotReady(f"placement {placement.id} is not in the catalogue any more")
    variant = catalogue.variants[placement.variant]
    if isinstance(backend, Expires):
        holding = backend.lasting(variant, action.for_s)
    else:
        holding = backend.status().resident.get(variant.id, 0)
    # One copy serves every slot of an environment that all runs share.
    if holding >= (1 if backend.tier.kind in SHARED else action.copies):
        return False
    await backend.ensure(placement, variant, action.copies, for_s=action.for_s)
    return True


async def _unload(variant: str, backend: Backend, catalogue: Catalogue) -> bool:
    if not backend.status().resident.get(variant, 0):
        return False
    if not isinstance(backend, Unloads) or variant not in catalogue.variants:
        raise NotReady(f"{backend.tier.name} cannot give {variant} up by itself")
    await backend.unload(catalogue.variants[variant])
    return True
