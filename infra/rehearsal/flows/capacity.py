"""What the schedules of a deployed stack do: plan what is kept warm, and have it so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from gateway.capacity.arrivals import minute_of
from infra.rehearsal.home import TASK
from infra.rehearsal.stage import TIER, Stage, check
from registry.activity import Usage
from registry.catalogue import Catalogue
from registry.model import Slo
from registry.sightings import Sighting
from registry.store import update
from registry.stores.dynamodb_activity import DynamoActivity
from registry.stores.dynamodb_sightings import DynamoSightings

LATE_MS = 500.0
"""Sooner than a worker starts, and later than one that has started answers."""


def warm(stage: Stage) -> None:
    """What is asked for every minute is loaded before it is asked for again, and that it is there is written down."""
    ask_every_minute(stage)

    stage.account.renew("PrewarmFunction", "Worker1769Function")
    said = stage.account.invoke("PrewarmFunction", {})
    check(("warm", TIER, "done") in outcomes(said), said)
    check(stage.account.items("SEEN#"), "nobody was told what is warm")
    stage.account.check()


def unload(stage: Stage) -> None:
    """What a worker holds and nobody asks for is unloaded for what is asked for."""
    account = stage.account
    with another_task(stage) as other:
        ask_every_minute(stage, other)
        stage.predict(stage.inputs())
        worker = json.loads(account.stack.outputs["Workers"])[TIER]
        held = account.run(worker, {"kind": "status"})
        check(held["resident"], held)
        DynamoSightings(stage.table).add(
            [Sighting(TIER, f"{TIER}-{held['environment']}", tuple(held["resident"]), time.time())]
        )
        account.renew("EvictFunction")
        said = account.invoke("EvictFunction", {})
        check(("unload", TIER, "done") in outcomes(said), said)
        check(not account.run(worker, {"kind": "status"})["resident"], "it is still there")
    account.check()


@contextmanager
def another_task(stage: Stage) -> Iterator[str]:
    """The name of one that is like the first, when a copy of either's variant takes most of a worker's memory."""
    store = stage.store

    def made(base: Catalogue) -> Catalogue:
        (variant,), (placement,) = base.variants_of(TASK), base.placements_of(TASK)
        profile = replace(base.profiles[placement.id], memory_mb=1200.0)
        other = replace(variant, task="other")
        there = replace(placement, variant=other.id)
        return (
            base.with_tasks(replace(base.tasks[TASK], name="other"))
            .with_variants(other)
            .with_placements(there)
            .with_profiles(profile, replace(profile, placement=there.id))
        )

    before = store.head()
    update(store, made)
    try:
        yield "other"
    finally:
        store.rollback(before)


def ask_every_minute(stage: Stage, task: str = TASK) -> None:
    """Have it that a task was asked for in each of the last minutes, and that no minute is taken care of."""
    stage.account.empty("ACTIVITY#", "CAPACITY", "SEEN#")
    now, log = minute_of(time.time()), DynamoActivity(stage.table)
    for minute in range(now - 30, now):
        log.add(minute, [Usage(task, 3, 3, Slo(latency_ms=LATE_MS))])


def outcomes(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What was done of a plan, and where; raises NotDone where the minute was not claimed."""
    check(document["claimed"], document)
    return [(a["action"], a.get("tier", ""), a["result"]) for a in document["actions"]]
