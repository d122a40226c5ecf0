"""What was last seen of each environment is found again, and no more than was asked for."""

from __future__ import annotations

from collections import Counter

import pytest

from registry.errors import Unavailable
from registry.sightings import Sighting
from registry.stores.dynamodb_sightings import KEPT_S, SHARDS, DynamoSightings
from registry.stores.dynamodb_table import DynamoTable

NOON = 1_700_000_000.0
NOON -= NOON % 3600


def seen(environment: str, at: float, *resident: str, tier: str = "lambda-1769") -> Sighting:
    return Sighting(tier, environment, resident, at)


def test_the_last_of_each_environment_counts(table: DynamoTable) -> None:
    sightings = DynamoSightings(table)
    sightings.add([seen("e1", NOON + 10, "t/a"), seen("e2", NOON + 20)])
    DynamoSightings(table).add([seen("e1", NOON + 30, "t/a", "t/b"), seen("e1", NOON + 5, tier="lambda-3538")])
    assert sightings.since(NOON, NOON + 60) == (
        seen("e1", NOON + 5, tier="lambda-3538"),
        seen("e2", NOON + 20),
        seen("e1", NOON + 30, "t/a", "t/b"),
    )


def test_only_what_was_seen_since_is_told_across_hours_too(table: DynamoTable) -> None:
    sightings = DynamoSightings(table)
    sightings.add([seen("e1", NOON - 120), seen("e2", NOON - 30), seen("e1", NOON + 30, "t/a")])
    assert sightings.since(NOON - 60, NOON + 60) == (seen("e2", NOON - 30), seen("e1", NOON + 30, "t/a"))
    assert sightings.since(NOON - 200, NOON - 1) == (seen("e1", NOON - 120), seen("e2", NOON - 30))
    items = table.client.scan(TableName="facts")["Items"]
    assert {int(item["ttl"]["N"]) - int(float(item["at"]["N"])) for item in items} == {KEPT_S}


def test_a_table_that_is_not_there_is_unavailable(table: DynamoTable) -> None:
    with pytest.raises(Unavailable):
        DynamoSightings(DynamoTable("other", table.client)).since(NOON, NOON)


def test_environments_are_spread_over_partitions_and_each_is_found_in_its_own(table: DynamoTable) -> None:
    sightings = DynamoSightings(table)
    named = [f"lambda-1769-{number:016x}" for number in range(40)]
    sightings.add(seen(name, NOON + i) for i, name in enumerate(named))
    sightings.add(seen(name, NOON + 100 + i, "t/a") for i, name in enumerate(named))

    items = table.client.scan(TableName="facts")["Items"]
    share = Counter(item["pk"]["S"] for item in items)
    assert len(items) == len(named)
    assert len(share) == SHARDS
    assert max(share.values()) < len(named) / 2
    assert all(partition.startswith("SEEN#") for partition in share)
    assert sightings.since(NOON, NOON + 200) == tuple(seen(name, NOON + 100 + i, "t/a") for i, name in enumerate(named))
