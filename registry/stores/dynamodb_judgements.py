"""The log of judgements in the catalogue's DynamoDB table: one item for each judged decision; it weighs none.

Keys: `JUDGED#<variant>#<artifact>#<shard>` holds observations by the time of their decisions, `JUDGED#` holds a case
and a mark for each variant. A batch costs a write for each observation, and one for each variant.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from registry.judgements import Case, Mark, Observation, case_of, case_text, within
from registry.stores.dynamodb_table import DynamoTable

SHARDS = 4
"""Partitions of a variant. One takes 1,000 writes a second, and one of an item under 1 KB counts as one (DynamoDB
Developer Guide, quotas)."""

KEPT_S = 30 * 86400
"""How long an observation counts at most: twice the longest that a queue keeps a message that is delivered again."""

STATE = "JUDGED#"
"""The partition of cases and marks; no variant has an empty name."""

MARK, CASE = "MARK#", "CASE#"


class DynamoJudgements:
    """Keeps each observation once, by a condition on its key; reads are consistent.

    An observation's shard follows from its decision, so that whoever adds it again meets the first. Raises Unavailable.
    """

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def add(self, observations: Sequence[Observation]) -> tuple[bool, ...]:
        """See JudgementLog; when it raises, some may have been kept, and adding all of them again is right.

        Variants are marked after that: what is marked can be read.
        """
        new = tuple([self._put(observation) for observation in observations])
        for variant in sorted({observation.variant for observation in observations}):
            self._write({"pk": {"S": STATE}, "sk": {"S": MARK + variant}, "token": {"S": secrets.token_hex(8)}})
        return new

    def last(self, variant: str, artifact: str, rows: int, *, after: str = "") -> tuple[Observation, ...]:
        """See JudgementLog; a query of each shard."""
        found = [
            observation
            for shard in range(SHARDS)
            for observation in within(self._newest(variant, artifact, shard, rows, after), rows)
        ]
        return within(sorted(found, key=lambda observation: observation.key, reverse=True), rows)

    def case(self, variant: str) -> Case | None:
        """See JudgementLog."""
        with self._table.failures():
            key = {"pk": {"S": STATE}, "sk": {"S": CASE + variant}}
            item = self._table.client.get_item(TableName=self._table.name, Key=key, ConsistentRead=True).get("Item")
        return case_of(item["content"]["S"]) if item else None

    def keep(self, variant: str, case: Case) -> None:
        """See JudgementLog."""
        self._write({"pk": {"S": STATE}, "sk": {"S": CASE + variant}, "content": {"S": case_text(case)}})

    def marks(self) -> tuple[Mark, ...]:
        """See JudgementLog."""
        items = self._table.between(STATE, MARK, MARK + "~")
        return tuple(Mark(item["sk"]["S"].removeprefix(MARK), item["token"]["S"]) for item in items)

    def settle(self, mark: Mark) -> None:
        """See JudgementLog."""
        with self._table.failures():
            client = self._table.client
            try:
                client.delete_item(
                    TableName=self._table.name,
                    Key={"pk": {"S": STATE}, "sk": {"S": MARK + mark.variant}},
                    ConditionExpression="#token = :token",
                    ExpressionAttributeNames={"#token": "token"},
                    ExpressionAttributeValues={":token": {"S": mark.token}},
                )
            except client.exceptions.ConditionalCheckFailedException:
                return  # marked again, or settled by another

    def close(self) -> None:
        """Nothing to let go of: the client keeps its own pool of connections."""

    def _put(self, observation: Observation) -> bool:
        """Keep it unless its key is taken: what was said first stands, and is not read again."""
        item: dict[str, Any] = {
            "pk": {"S": _partition(observation.variant, observation.artifact, _shard(observation))},
            "sk": {"S": observation.key},
            "rows": {"N": str(observation.rows)},
            "evidence": {"B": observation.evidence},
            "ttl": {"N": str(observation.at_ms // 1000 + KEPT_S)},
        }
        with self._table.failures():
            client = self._table.client
            try:
                client.put_item(TableName=self._table.name, Item=item, ConditionExpression="attribute_not_exists(pk)")
            except client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def _newest(self, variant: str, artifact: str, shard: int, rows: int, after: str) -> Iterator[Observation]:
        """A shard's observations after a key, newest first; pages are read while their rows are wanted."""
        # A key ends in a decision's id, so no other one lies between it and itself with a character behind it.
        first = f"{after}!" if after else " "
        for item in self._table.newest(_partition(variant, artifact, shard), first, "~", rows):
            at_ms, _, decision_id = item["sk"]["S"].partition("#")
            evidence: Any = item["evidence"]["B"]
            yield Observation(decision_id, variant, artifact, int(at_ms), int(item["rows"]["N"]), bytes(evidence))

    def _write(self, item: dict[str, Any]) -> None:
        with self._table.failures():
            self._table.client.put_item(TableName=self._table.name, Item=item)


def _shard(observation: Observation) -> int:
    return zlib.crc32(observation.decision_id.encode()) % SHARDS


def _partition(variant: str, artifact: str, shard: int) -> str:
    return f"{STATE}{variant}#{artifact}#{shard}"
