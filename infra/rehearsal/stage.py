"""A deployed stack as its publishers and callers reach it, and what a flow checks of it; it plays no flow itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from cli.main import main
from infra.rehearsal.account import Account, NotDone
from infra.rehearsal.home import TASK
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_table import DynamoTable

TIER = "lambda-1769"
FEW, MANY = 1, 64
"""Rows: a job's own item holds a body of FEW, and neither a body nor a result of MANY."""

# In Lambda's one writable folder, by the name that the worker knows.
WORKER_CACHE = Path("/tmp/modelless-blobs")  # noqa: S108

Flow = Callable[["Stage"], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """An account with a stack, and a home in which TASK is registered."""

    account: Account
    home: Path
    rows: np.ndarray
    sides: np.ndarray
    """The right answer to each."""

    @property
    def table(self) -> DynamoTable:
        """The stack's table, for the account itself."""
        return DynamoTable(self.account.stack.outputs["TableName"])

    @property
    def store(self) -> DynamoStore:
        """The catalogue in it."""
        return DynamoStore(self.table)

    def inputs(self, rows: int = FEW) -> dict[str, Any]:
        """A request's body."""
        return {"inputs": {"x": self.rows[:rows].tolist()}}

    def modelless(self, *arguments: str, user: str = "publisher") -> dict[str, Any]:
        """What a command of ours prints, run by this user."""
        said = CliRunner().invoke(main, [*arguments, "--json"], env=dict(self.account.users[user]))
        if said.exit_code:
            raise NotDone(f"modelless {' '.join(arguments)}: {said.output}{said.exception or ''}")
        document: dict[str, Any] = json.loads(said.stdout)
        return document

    def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, **headers: str) -> dict[str, Any]:
        """What the front door answers the caller; raises NotDone for another status."""
        with self.account.front("caller") as front:
            answer = front.request(method, path, json=body, headers=headers)
        if answer.status_code != status:
            raise NotDone(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        document: dict[str, Any] = answer.json()
        return document

    def predict(self, body: Any) -> dict[str, Any]:
        """The answer to a request for the task, checked."""
        answer = self.ask("POST", f"/v1/tasks/{TASK}/predict", body)
        got = answer["outputs"]["side"]
        check(got == self.sides[: len(got)].tolist(), answer)
        return answer

    def settled(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The job once it has ended."""

        def ended() -> dict[str, Any] | None:
            now = self.ask("GET", f"/v1/jobs/{job['id']}")
            return now if now["state"] in ("succeeded", "failed", "cancelled") else None

        return self.account.eventually(ended)

    @contextmanager
    def held(self, queue: str) -> Iterator[str]:
        """The URL of a queue that hands nothing over in the meantime."""
        client, url = self.account.clients["lambda"], self.account.stack.outputs[f"{queue}Url"]
        name = url.rpartition("/")[2]
        mappings = client.list_event_source_mappings()["EventSourceMappings"]
        (mapping,) = (m["UUID"] for m in mappings if m["EventSourceArn"].endswith(f":{name}"))
        client.update_event_source_mapping(UUID=mapping, Enabled=False)
        try:
            yield url
        finally:
            client.update_event_source_mapping(UUID=mapping, Enabled=True)


def check(holds: object, why: Any) -> None:
    """Raise NotDone unless it holds."""
    if not holds:
        raise NotDone(str(why)[:2000])


def forget_blobs(account: Account) -> None:
    """Have workers read the bucket: environments here share one /tmp, as Lambda's do not."""
    listed = account.clients["s3"].list_objects_v2(Bucket=account.stack.outputs["BucketName"], Prefix="blobs/")
    for found in listed.get("Contents", ()):
        (WORKER_CACHE / found["Key"].removeprefix("blobs/")).unlink(missing_ok=True)
