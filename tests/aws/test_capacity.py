"""Prewarm and evict, invoked as their schedules do, change what the workers hold."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.capacity.arrivals import minute_of
from infra.rehearsal.stack import Rehearsal
from registry.activity import Usage
from registry.catalogue import Catalogue
from registry.model import Slo
from registry.store import update
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_activity import DynamoActivity
from registry.stores.dynamodb_table import DynamoTable

Invoke = Callable[[str, Any], Any]

WORKER = "Worker1769Function"
SCHEDULE = Path(__file__).parent / "events" / "schedule.json"


def large(base: Catalogue) -> Catalogue:
    """As if one copy of each variant took most of a worker's memory, so that no two fit into one."""
    return base.with_profiles(*(replace(profile, memory_mb=1200.0) for profile in base.profiles.values()))


def resident(invoke: Invoke) -> set[str]:
    """What the worker's environment holds."""
    return set(invoke(f"{WORKER}:live", {"kind": "status"})["resident"])


def done(document: dict[str, Any]) -> dict[str, str]:
    """The tasks of what was carried out, by the kind of action."""
    assert document["claimed"]
    return {a["action"]: a["placement"].partition("/")[0] for a in document["actions"] if a["result"] == "done"}


def asked(clients: dict[str, Any], table: str, task: str) -> None:
    """Have it that this task, and nothing else, was asked for in each minute of the last half hour."""
    for partition in ("ACTIVITY#", "CAPACITY"):  # and that no minute is taken care of
        _delete(clients["dynamodb"], table, partition)
    now, log = minute_of(time.time()), DynamoActivity(DynamoTable(table))
    for minute in range(now - 30, now):
        log.add(minute, [Usage(task, 40, 40, Slo(latency_ms=100.0))])


def _delete(client: Any, table: str, partitions: str) -> None:
    pages = client.get_paginator("scan").paginate(TableName=table, ProjectionExpression="pk, sk")
    for key in [item for page in pages for item in page["Items"] if item["pk"]["S"].startswith(partitions)]:
        client.delete_item(TableName=table, Key=key)


def test_prewarm_loads_what_is_asked_for_and_evict_makes_room(
    pushed: dict[str, Any], stack: Rehearsal, invoke: Invoke, clients: dict[str, Any]
) -> None:
    table, schedule = stack.outputs["TableName"], json.loads(SCHEDULE.read_text())
    update(DynamoStore(table), large)
    stack.forget(WORKER)

    asked(clients, table, "digits")
    assert done(invoke("PrewarmFunction:live", schedule)) == {"warm": "digits"}
    assert {variant.partition("/")[0] for variant in resident(invoke)} == {"digits"}

    asked(clients, table, "numbers")
    assert done(invoke("EvictFunction:live", schedule)) == {"unload": "digits"}
    assert resident(invoke) == set()
    stack.forget("PrewarmFunction")  # a new environment tells itself the past from the log
    assert done(invoke("PrewarmFunction:live", schedule)) == {"warm": "numbers"}
    assert {variant.partition("/")[0] for variant in resident(invoke)} == {"numbers"}


def test_a_schedule_that_fires_twice_in_a_minute_does_nothing_twice(pushed: dict[str, Any], invoke: Invoke) -> None:
    schedule = json.loads(SCHEDULE.read_text())
    claimed = [invoke("PrewarmFunction:live", schedule)["claimed"] for _ in range(3)]
    # A minute may turn while they run; it turns once.
    assert claimed.count(True) <= 2
    assert False in claimed
