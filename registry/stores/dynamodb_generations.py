"""Generations in the catalogue's DynamoDB table: one item each, and one for each recipe that is under way."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from registry.documents import from_document, to_document
from registry.errors import InvalidValue, NotFound
from registry.generations import ACTIVE, RESTARTS, Asked, Generation, GenerationState
from registry.model import Recipe
from registry.stores.dynamodb_table import DynamoTable

PARTITION = "GENERATION#"

KEPT = 1000
"""Generations that are listed, the newest."""

KEPT_S = 30 * 86400
"""How long one is kept."""

ID = re.compile(r"[0-9a-f]{17}", re.ASCII)
"""Eleven digits of milliseconds, so that ids sort, and six that keep apart those of one millisecond."""

UNDER_WAY, ANSWERS = "ACTIVE#", "ANSWERS#"

ANSWERS_S = 3600
"""How long it is known which generation answers a question: two runs of the longest and the pause between them."""


class DynamoGenerations:
    """Keeps generations under the partition key `GENERATION#`, their ids sorted as they were queued.

    States change by compare-and-set. Raises Unavailable. `wall` is in seconds since the epoch.
    """

    def __init__(self, table: DynamoTable, *, wall: Callable[[], float] = time.time) -> None:
        self._table = table
        self._wall = wall

    def queue(
        self, task: str, variant: str, suffix: str, recipe: Recipe, *, basis: str, tier: str = "", rows: int = 1
    ) -> Generation:
        """See GenerationLog."""
        now = self._wall()
        id_, state = f"{int(now * 1000):011x}{secrets.token_hex(3)}", GenerationState.QUEUED
        new = Generation(id_, task, variant, recipe, suffix, basis, state, _iso(now), tier=tier, rows=rows)
        while not self._began(new):
            if (active := self._active(new)) is None:  # it has just ended
                continue
            try:
                found = self.generation(active)
            except NotFound:  # the claim outlived it
                self._release(new, active)
                continue
            if found.state in ACTIVE:
                return found
            self._release(new, active)
        return new

    def generations(self) -> tuple[Generation, ...]:
        """See GenerationLog."""
        newest = self._table.newest(PARTITION, "0", ":", KEPT)
        return tuple(_generation(item) for item in islice(newest, KEPT))

    def generation(self, id_: str) -> Generation:
        """See GenerationLog."""
        # Anything else cannot be there, and what is over 1,024 bytes no key can be: DynamoDB would refuse to look.
        item = self._get(id_) if ID.fullmatch(id_) else None
        if item is None or "generation" not in item:
            raise NotFound("generation", id_)
        return _generation(item)

    def move(self, id_: str, state: GenerationState, reason: str = "", *, passing: bool = False) -> Generation:
        """See GenerationLog."""
        return self._moved(self.generation(id_), state, reason=reason, passing=passing)

    def recover(self, started_before: str | None = None) -> None:
        """See GenerationLog."""
        for generation in self.generations():
            if generation.state is not GenerationState.RUNNING:
                continue
            if started_before is not None and (generation.started_at or "") >= started_before:
                continue
            if generation.restarts < RESTARTS:
                self._moved(generation, GenerationState.QUEUED, restarts=generation.restarts + 1)
            else:
                self._moved(generation, GenerationState.FAILED, reason="its process ended twice before it was done")

    def say(self, asked: Asked, generation: Generation) -> None:
        """Let whoever hears a question know the generation that is to answer it."""
        with self._table.failures():
            ttl = str(int(self._wall()) + ANSWERS_S)
            item = {**_answer_key(asked), "id": {"S": generation.id}, "ttl": {"N": ttl}}
            self._table.client.put_item(TableName=self._table.name, Item=item)

    def said(self, asked: Asked) -> Generation | None:
        """The generation that is to answer a question, while it is queued or running."""
        with self._table.failures():
            item = self._table.client.get_item(TableName=self._table.name, Key=_answer_key(asked)).get("Item")
        try:
            found = self.generation(item["id"]["S"]) if item else None
        except NotFound:
            return None
        return found if found is not None and found.state in ACTIVE else None

    def close(self) -> None:
        """Nothing to let go of: the client keeps its own pool of connections."""

    def _moved(self, generation: Generation, state: GenerationState, **changes: Any) -> Generation:
        generation.check(state)
        at = {"started_at": _iso(self._wall())} if state is GenerationState.RUNNING else {}
        at |= {"ended_at": _iso(self._wall())} if state not in ACTIVE else {}
        moved = from_document(Generation, to_document(generation) | {"state": state.value} | at | changes)
        if not self._put(moved, after=generation.state):
            now = self.generation(generation.id)
            now.check(state)
            raise InvalidValue(f"generation {now.id}", "has just been moved by another", "look at it again")
        if state not in ACTIVE:
            self._release(moved, moved.id)
        return moved

    def _began(self, new: Generation) -> bool:
        """Whether the task and recipe are the new generation's, which is kept then: both are written, or neither."""
        absent = "attribute_not_exists(pk)"
        claim = {**_active_key(new), "id": {"S": new.id}, "ttl": {"N": self._ttl()}}
        with self._table.failures():
            client = self._table.client
            try:
                client.transact_write_items(
                    TransactItems=[
                        {"Put": {"TableName": self._table.name, "Item": item, "ConditionExpression": absent}}
                        for item in (claim, self._item(new))
                    ]
                )
            except client.exceptions.TransactionCanceledException as error:
                response: Any = error.response
                reasons = {reason.get("Code") for reason in response.get("CancellationReasons", ())}
                if not reasons & {"ConditionalCheckFailed", "TransactionConflict"}:
                    raise
                return False
        return True

    def _active(self, new: Generation) -> str | None:
        """The id of the generation that has the task and recipe."""
        with self._table.failures():
            found = self._table.client.get_item(TableName=self._table.name, Key=_active_key(new), ConsistentRead=True)
        return found["Item"]["id"]["S"] if "Item" in found else None

    def _release(self, generation: Generation, id_: str) -> None:
        """Give the task and recipe up, unless another has them."""
        with self._table.failures():
            client = self._table.client
            try:
                client.delete_item(
                    TableName=self._table.name,
                    Key=_active_key(generation),
                    ConditionExpression="#id = :id",
                    ExpressionAttributeNames={"#id": "id"},
                    ExpressionAttributeValues={":id": {"S": id_}},
                )
            except client.exceptions.ConditionalCheckFailedException:
                return

    def _put(self, generation: Generation, *, after: GenerationState) -> bool:
        """Write it whole, if what is written is of the state before.

        It is also where the first try was carried out and its answer lost, and the SDK tried again.
        """
        item = self._item(generation)
        there = self._table.put_if(
            item,
            "#state = :state",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":state": {"S": after.value}},
        )
        return bool(there.get("token") == item["token"])

    def _item(self, generation: Generation) -> dict[str, Any]:
        return {
            "pk": {"S": PARTITION},
            "sk": {"S": generation.id},
            "state": {"S": generation.state.value},
            "generation": {"S": json.dumps(to_document(generation))},
            "token": {"S": secrets.token_hex(8)},
            "ttl": {"N": self._ttl()},
        }

    def _get(self, id_: str) -> dict[str, Any] | None:
        with self._table.failures():
            key = {"pk": {"S": PARTITION}, "sk": {"S": id_}}
            return self._table.client.get_item(TableName=self._table.name, Key=key, ConsistentRead=True).get("Item")

    def _ttl(self) -> str:
        return str(int(self._wall()) + KEPT_S)


def _active_key(generation: Generation) -> dict[str, Any]:
    what = json.dumps([generation.task, to_document(generation.recipe)], sort_keys=True)
    return {"pk": {"S": PARTITION}, "sk": {"S": UNDER_WAY + hashlib.sha256(what.encode()).hexdigest()}}


def _answer_key(asked: Asked) -> dict[str, Any]:
    return {"pk": {"S": PARTITION}, "sk": {"S": ANSWERS + hashlib.sha256(asked.key.encode()).hexdigest()}}


def _generation(item: dict[str, Any]) -> Generation:
    return from_document(Generation, json.loads(item["generation"]["S"]))


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
