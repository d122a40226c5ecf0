"""What functions saw of one another's environments, in the catalogue's table: the last of each environment and hour."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

from registry.sightings import Sighting
from registry.stores.dynamodb_table import DynamoTable

HOUR_S = 3600

KEPT_S = 2 * HOUR_S
"""Longer than Lambda has been seen to keep an idle environment."""

SHARDS = 4
"""Partitions of an hour, each of which every look reads: a thousand environments that know of as many workers with 20
variants each come to a fifth of what one takes (benchmarks/state.py). Each more costs half a unit a look."""


class DynamoSightings:
    """Keeps sightings under the partition key `SEEN#<hour>#<shard>`, until their `ttl`."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def add(self, sightings: Iterable[Sighting]) -> None:
        """Keep these instead of what was seen of the same environments within the hour. Raises Unavailable."""
        for seen in sightings:
            key = f"{seen.tier}#{seen.environment}"
            item = {
                # By its name, so that an environment has one item, whoever sees it.
                "pk": {"S": _partition(int(seen.at // HOUR_S), crc32(key.encode()) % SHARDS)},
                "sk": {"S": key},
                "resident": {"L": [{"S": variant} for variant in seen.resident]},
                "at": {"N": f"{seen.at:.3f}"},
                "ttl": {"N": str(int(seen.at + KEPT_S))},
            }
            with self._table.failures():
                self._table.client.put_item(TableName=self._table.name, Item=item)  # type: ignore[arg-type]

    def since(self, at: float, now: float) -> tuple[Sighting, ...]:
        """The last of each environment that was seen since `at` (s), oldest first; a query of each shard.

        Raises Unavailable.
        """
        found: dict[str, Sighting] = {}
        hours = range(int(at // HOUR_S), int(now // HOUR_S) + 1)
        for partition in (_partition(hour, shard) for hour in hours for shard in range(SHARDS)):
            for item in self._table.between(partition, " ", "~", consistent=False):
                tier, _, environment = item["sk"]["S"].partition("#")
                resident = tuple(variant["S"] for variant in item["resident"]["L"])
                found[item["sk"]["S"]] = Sighting(tier, environment, resident, float(item["at"]["N"]))
        return tuple(sorted((s for s in found.values() if s.at >= at), key=lambda s: s.at))


def _partition(hour: int, shard: int) -> str:
    return f"SEEN#{hour}#{shard}"
