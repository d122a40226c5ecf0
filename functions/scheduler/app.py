"""The scheduler's Lambda function, "what would you choose?"; it runs no variant and writes nothing.

    {"task": "digits", "slo": {"latency_ms": 80}, "rows": 1,
     "warm": [{"tier": "lambda-1769-snapstart", "resident": ["digits/linear"]}]}

`slo`, `rows` and `warm` (the environments to count on; none when omitted) are optional. The answer is the decision,
with the ranked placements and why each other one was not chosen. Errors leave by their class names.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from functions.aws.catalogue import CatalogueWatch
from functions.aws.emf import Emf
from functions.aws.settings import SchedulerSettings
from gateway.documents import decision_document
from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.errors import InvalidValue, NotFound
from registry.measures import Measure
from registry.stores.dynamodb import DynamoStore
from scheduler.choose import choose
from scheduler.events import EnvironmentReady, EnvironmentStarting
from scheduler.fleet import Fleet
from scheduler.requests import Request

settings = SchedulerSettings.read(os.environ)
snapshots = Snapshots(Catalogue.empty())
watch = CatalogueWatch(DynamoStore(settings.table), snapshots)
emf = Emf.of(os.environ, "scheduler")


def handler(event: Any, context: Any) -> dict[str, Any]:
    """One question to one decision; raises InvalidValue naming the field at fault, or NotFound."""
    watch.look()
    began = time.monotonic()
    document = answer(event, snapshots.view()[0], began)
    emf.put((Measure("DecisionTime", (time.monotonic() - began) * 1000, document["task"]),))
    return document


def answer(event: Any, catalogue: Catalogue, now: float) -> dict[str, Any]:
    """What would be chosen for this event over this catalogue."""
    question = _object(event, "event")
    name, rows = question.get("task"), question.get("rows", 1)
    if not isinstance(name, str) or name not in catalogue.tasks:
        raise NotFound("task", str(name))
    if type(rows) is not int or rows < 1:
        raise InvalidValue("rows", f"{rows!r} is not a positive whole number", "give 1 or more")
    slo = catalogue.tasks[name].default_slo.with_hints(_object(question.get("slo", {}), "slo"))
    return decision_document(choose(Request(name, slo, rows), catalogue, _fleet(question, catalogue, now), now))


def _fleet(question: Mapping[str, Any], catalogue: Catalogue, now: float) -> Fleet:
    warm = question.get("warm", [])
    if not isinstance(warm, list):
        raise InvalidValue("warm", "is not a list", 'list {"tier": …, "resident": […]}')
    fleet = Fleet.empty(catalogue)
    for index, entry in enumerate(warm):
        where = f"warm[{index}]"
        tier, resident = _object(entry, where).get("tier"), entry.get("resident", [])
        if not isinstance(tier, str) or tier not in catalogue.tiers:
            raise InvalidValue(f"{where}.tier", f"{tier!r} is unknown", f"use one of {sorted(catalogue.tiers)}")
        if not isinstance(resident, list) or not all(isinstance(variant, str) for variant in resident):
            raise InvalidValue(f"{where}.resident", "is not a list of variants", 'list ids such as "digits/linear"')
        fleet = fleet.apply(EnvironmentStarting(tier, where, now))
        fleet = fleet.apply(EnvironmentReady(tier, where, tuple(resident), now))
    return fleet


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidValue(where, "is not an object", "give a JSON object")
    return value
