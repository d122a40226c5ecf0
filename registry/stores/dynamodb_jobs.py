"""Jobs in the catalogue's DynamoDB table; every transition is one conditional write, and none is ever scanned for.

A tenant's jobs lie in SHARDS partitions `JOB#<tenant hash>#<shard>`; the last digit of a job's id says in which. There
are three kinds of items, each with its `ttl`:

    J#<id>    the job, its version, and its body and result where they are small; ids sort by time, so that the newest
              are the last
    O#<id>    while the job is open: what is counted when another one is submitted. A job that never ends leaves with
              its `ttl`, so the count mends itself
    K#<hash>  an idempotency key: the job it stands for, and the digest of what was asked
"""

from __future__ import annotations

import hashlib
import heapq
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from registry.documents import from_document, to_document
from registry.errors import KeyReused, NotFound, TooManyJobs, Unavailable
from registry.jobs import KEPT_S, MOST_OPEN, Job, JobState, Step
from registry.stores.dynamodb_table import DynamoTable
from registry.stores.job_parts import BODY, RESULT, JobParts, result_part
from registry.tenants import tenant_hash

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

SHARDS = 4
"""Partitions of a tenant, a power of two up to 16. One takes 1,000 writes a second (DynamoDB Developer Guide, quotas),
and a job of up to 1 KB takes 9 in its life, 11 with a key: a tenant may have some 350 jobs a second."""

INLINE_BYTES = 4096
"""A larger body or result is an object in the bucket. An item is written four times in its job's life, in transactions
twice over, and each KB of it costs $0.625 per million each time, where an object costs $5: above some KB the object is
cheaper, long before an item is full (400 KB)."""

ATTEMPTS = 20
"""Each lost race means that somebody else has moved the job, so this many in a row is a fault and not bad luck."""


class DynamoJobs:
    """Keeps jobs in a table, and what is large of them as parts. Reads are consistent, but for counting."""

    def __init__(self, table: DynamoTable, parts: JobParts, *, wall: Callable[[], float] = time.time) -> None:
        self._table, self._parts, self._wall = table, parts, wall

    def submit(self, job: Job, body: bytes, *, key: str | None = None, most: int = MOST_OPEN) -> Job:
        """See JobStore; the key is looked up first, so that a retry counts as no job."""
        for _ in range(ATTEMPTS):
            known = None if key is None else self._of_key(job, key)
            if known is not None:
                return known
            placed = self._placed(job, most)
            if self._put(placed, self._inline(placed, BODY, body), key):
                return placed
        raise self._contended(job.id)

    def job(self, tenant: str, id_: str) -> Job:
        """See JobStore."""
        return _job(self._item(tenant, id_))

    def jobs(self, tenant: str, limit: int) -> tuple[Job, ...]:
        """See JobStore; a query of each shard."""
        shards = (self._newest(tenant, shard, limit) for shard in range(SHARDS))
        newest = heapq.merge(*shards, key=lambda job: job.id, reverse=True)
        now = self._wall()
        return tuple(islice((job for job in newest if not job.expired(now)), limit))

    def body(self, job: Job) -> bytes:
        """See JobStore."""
        item = self._item(job.tenant, job.id)
        if not _job(item).open:
            raise NotFound("body of job", job.id)
        return bytes(item[BODY]["B"]) if BODY in item else self._parts.get(job, BODY)

    def result(self, job: Job) -> bytes:
        """See JobStore."""
        item = self._item(job.tenant, job.id)
        found = _job(item)
        if found.state is not JobState.SUCCEEDED:
            raise NotFound("result of job", job.id)
        return bytes(item[RESULT]["B"]) if RESULT in item else self._parts.get(found, result_part(found))

    def move(self, tenant: str, id_: str, step: Step, *, result: bytes | None = None) -> Job:
        """See JobStore; a read, and a write on the condition that nobody wrote since."""
        inline: dict[str, Any] | None = None
        for _ in range(ATTEMPTS):
            item = self._item(tenant, id_)
            job = _job(item)
            moved = step(job, self._wall())
            if moved == job:
                return job
            if result is not None and inline is None and moved.state is JobState.SUCCEEDED:
                inline = self._inline(moved, RESULT, result, part=result_part(moved))
            if self._write(job, moved, int(item["version"]["N"]), inline or {}):
                return moved
        raise self._contended(id_)

    def close(self) -> None:
        """Nothing to let go of: the client keeps its own pool of connections."""

    # Submitting

    def _of_key(self, job: Job, key: str) -> Job | None:
        """The job that the key stands for; None where it stands for none. Raises KeyReused."""
        item = self._get(self._key_item(job.tenant, key))
        if item is None or self._wall() >= float(item["expires"]["N"]):
            return None
        if item["digest"]["S"] != job.digest:
            raise KeyReused(item["id"]["S"])
        return self.job(job.tenant, item["id"]["S"])

    def _placed(self, job: Job, most: int) -> Job:
        """The job with an id in a shard that has room, of which each has its share; raises TooManyJobs."""
        first = secrets.randbelow(SHARDS)
        for shard in ((first + i) % SHARDS for i in range(SHARDS)):
            share = most // SHARDS + (shard < most % SHARDS)
            if share and self._open(job.tenant, shard) < share:
                digit = int(job.id[-1], 16) & ~(SHARDS - 1) | shard
                return replace(job, id=f"{job.id[:-1]}{digit:x}")
        raise TooManyJobs(most)

    def _open(self, tenant: str, shard: int) -> int:
        pages = self._pages(
            KeyConditionExpression="pk = :pk AND begins_with(sk, :kind)",
            FilterExpression="#expires > :now",
            ExpressionAttributeNames={"#expires": "expires"},
            ExpressionAttributeValues={
                ":pk": {"S": _partition(tenant, shard)},
                ":kind": {"S": "O#"},
                ":now": {"N": repr(self._wall())},
            },
            Select="COUNT",
        )
        return sum(page["Count"] for page in pages)

    def _put(self, job: Job, body: dict[str, Any], key: str | None) -> bool:
        """Whether the job, its mark and its key were written, all or none; not where another has the key."""
        absent = "attribute_not_exists(pk)"
        item = {**_keys(job, "J"), **_facts(job, 1), **body}
        mark = {**_keys(job, "O"), "expires": {"N": repr(job.expires_at)}, "ttl": _ttl(job.expires_at)}
        writes: list[TransactWriteItemTypeDef] = [
            {"Put": {"TableName": self._table.name, "Item": item, "ConditionExpression": absent}},
            {"Put": {"TableName": self._table.name, "Item": mark}},
        ]
        if key is not None:
            until = job.submitted_at + KEPT_S
            named = {
                **self._key_item(job.tenant, key),
                "id": {"S": job.id},
                "digest": {"S": job.digest},
                "expires": {"N": repr(until)},
                "ttl": _ttl(until),
            }
            writes.append(
                {
                    "Put": {
                        "TableName": self._table.name,
                        "Item": named,
                        "ConditionExpression": f"{absent} OR #expires <= :now",
                        "ExpressionAttributeNames": {"#expires": "expires"},
                        "ExpressionAttributeValues": {":now": {"N": repr(self._wall())}},
                    }
                }
            )
        return self._transact(writes)

    def _key_item(self, tenant: str, key: str) -> dict[str, Any]:
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        return {"pk": {"S": _partition(tenant, int(digest[-1], 16) % SHARDS)}, "sk": {"S": f"K#{digest}"}}

    # Moving

    def _write(self, job: Job, moved: Job, version: int, result: dict[str, Any]) -> bool:
        """Whether the job was moved; not where somebody else moved it since it was read."""
        facts = _facts(moved, version + 1) | (result if moved.state is JobState.SUCCEEDED else {})
        names = {f"#{name}": name for name in (*facts, *(() if moved.open else (BODY,)))}
        sets = ", ".join(f"#{name} = :{name}" for name in facts)
        update: dict[str, Any] = {
            "TableName": self._table.name,
            "Key": _keys(job, "J"),
            "UpdateExpression": f"SET {sets}" + ("" if moved.open else f" REMOVE #{BODY}"),
            "ConditionExpression": "#version = :known",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": {f":{name}": value for name, value in facts.items()}
            | {":known": {"N": str(version)}},
        }
        if moved.open:
            return self._update(update)
        unmark: Any = {"Delete": {"TableName": self._table.name, "Key": _keys(job, "O")}}
        write: Any = {"Update": update}
        return self._transact([write, unmark])

    def _update(self, update: dict[str, Any]) -> bool:
        with self._table.failures():
            client = self._table.client
            try:
                client.update_item(**update)
            except client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def _transact(self, writes: list[TransactWriteItemTypeDef]) -> bool:
        """Whether all were written; not where a condition failed or somebody else wrote at the same time."""
        with self._table.failures():
            client = self._table.client
            try:
                client.transact_write_items(TransactItems=writes)
            except client.exceptions.TransactionCanceledException as error:
                response: Any = error.response
                reasons = {reason.get("Code") for reason in response.get("CancellationReasons", ())}
                if not reasons & {"ConditionalCheckFailed", "TransactionConflict"}:
                    raise
                return False
        return True

    # Reading

    def _item(self, tenant: str, id_: str) -> dict[str, Any]:
        item = self._get({"pk": {"S": _partition(tenant, _shard(id_))}, "sk": {"S": f"J#{id_}"}})
        if item is None or _job(item).expired(self._wall()):
            raise NotFound("job", id_)
        return item

    def _get(self, key: dict[str, Any]) -> dict[str, Any] | None:
        with self._table.failures():
            found = self._table.client.get_item(TableName=self._table.name, Key=key, ConsistentRead=True)
        return found.get("Item")

    def _newest(self, tenant: str, shard: int, limit: int) -> Iterator[Job]:
        """The newest jobs of one shard, newest first; a page is read when it is needed."""
        pages = self._pages(
            KeyConditionExpression="pk = :pk AND begins_with(sk, :kind)",
            ExpressionAttributeValues={":pk": {"S": _partition(tenant, shard)}, ":kind": {"S": "J#"}},
            ScanIndexForward=False,
            ConsistentRead=True,
            Limit=limit,
        )
        for page in pages:
            yield from map(_job, page["Items"])

    def _pages(self, **query: Any) -> Iterator[Any]:
        while True:
            with self._table.failures():
                page: Any = self._table.client.query(TableName=self._table.name, **query)
            yield page
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _inline(self, job: Job, name: str, data: bytes, *, part: str | None = None) -> dict[str, Any]:
        """The attribute where an item may hold it; none once it is kept as a part, by default of the same name."""
        if len(data) <= INLINE_BYTES:
            return {name: {"B": data}}
        self._parts.put(job, part or name, data)
        return {}

    def _contended(self, id_: str) -> Unavailable:
        return Unavailable(f"DynamoDB table {self._table.name}", f"job {id_} is moved by too many at once")


def _partition(tenant: str, shard: int) -> str:
    return f"JOB#{tenant_hash(tenant)}#{shard}"


def _shard(id_: str) -> int:
    return int(id_[-1], 16) % SHARDS


def _keys(job: Job, kind: str) -> dict[str, Any]:
    return {"pk": {"S": _partition(job.tenant, _shard(job.id))}, "sk": {"S": f"{kind}#{job.id}"}}


def _facts(job: Job, version: int) -> dict[str, Any]:
    document = json.dumps(to_document(job))
    return {"job": {"S": document}, "version": {"N": str(version)}, "ttl": _ttl(job.expires_at)}


def _ttl(expires_at: float) -> dict[str, Any]:
    return {"N": str(int(expires_at) + 1)}


def _job(item: dict[str, Any]) -> Job:
    return from_document(Job, json.loads(item["job"]["S"]))
