"""What functions saw of one another's environments, in the catalogue's table: the last of each environment and hour."""

from __future__ import annotations

from collections.abc import Iterable

from registry.sightings import Sighting
from registry.stores.dynamodb_table import DynamoTable

HOUR_S = 3600

KEPT_S = 2 * HOUR_S
"""Longer than Lambda has been seen to keep an idle environment."""


class DynamoSightings:
    """Keeps sightings under the partition key `SEEN#<hour>`, until their `ttl`."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def add(self, sightings: Iterable[Sighting]) -> None:
        """Keep these instead of what was seen of the same environments within the hour. Raises Unavailable."""
        for seen in sightings:
            item = {
                "pk": {"S": _partition(int(seen.at // HOUR_S))},
                "sk": {"S": f"{seen.tier}#{seen.environment}"},
                "resident": {"L": [{"S": variant} for variant in seen.resident]},
                "at": {"N": f"{seen.at:.3f}"},
                "ttl": {"N": str(int(seen.at + KEPT_S))},
            }
            with self._table.failures():
                self._table.client.put_item(TableName=self._table.name, Item=item)  # type: ignore[arg-type]

    def since(self, at: float, now: float) -> tuple[Sighting, ...]:
        """The last of each environment that was seen since `at` (s), oldest first. Raises Unavailable."""
        found: dict[str, Sighting] = {}
        for hour in range(int(at // HOUR_S), int(now // HOUR_S) + 1):
            for item in self._table.between(_partition(hour), " ", "~", consistent=False):
                tier, _, environment = item["sk"]["S"].partition("#")
                resident = tuple(variant["S"] for variant in item["resident"]["L"])
                found[item["sk"]["S"]] = Sighting(tier, environment, resident, float(item["at"]["N"]))
        return tuple(sorted((s for s in found.values() if s.at >= at), key=lambda s: s.at))


def _partition(hour: int) -> str:
    return f"SEEN#{hour}"
