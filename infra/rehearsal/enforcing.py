"""MiniStack that tells policies more exactly what a request is about, and logs whom it allowed what; nothing else.

    PATH/TO/ministack's/python infra/rehearsal/enforcing.py LOG

MiniStack evaluates policies and their conditions, but says nothing of `dynamodb:LeadingKeys`, and a condition on a key
that is not there, with ForAllValues, holds. Here each request says what it is about; what follows from that MiniStack
evaluates.
Runs in MiniStack's own environment, and touches what its release 1.5.33 has.
"""

from __future__ import annotations

import json
import re
import sys
from collections import deque
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import iam_actions, iam_evaluator

HASH_KEY = "pk"
"""Of the template's one table."""

EQUALS = re.compile(r"^\s*(?P<name>#?\w+)\s*=\s*(?P<value>:\w+)")
"""How a key condition begins."""

Document = dict[str, Any]

_of_items: ContextVar[deque[list[str]]] = ContextVar("_of_items")
"""The partitions of a transaction's items that are still to be decided, in their order."""


def partitions(request: Document) -> list[str]:
    """The partitions that one read or write is about, by its hash key."""
    key = (request.get("Key") or request.get("Item") or {}).get(HASH_KEY)
    found = EQUALS.match(request.get("KeyConditionExpression") or "")
    if key is None and found is not None:
        names = request.get("ExpressionAttributeNames") or {}
        if names.get(found["name"], found["name"]) == HASH_KEY:
            key = request["ExpressionAttributeValues"][found["value"]]
    return [key["S"]] if key else []


def items(request: Document) -> Iterator[list[str]]:
    """The partitions of each item of a transaction."""
    for entry in request.get("TransactItems") or ():
        yield from (partitions(item) for item in entry.values())


def tell_partitions() -> None:
    """Have every DynamoDB request say what it is about."""
    context_of, checks_of = iam_actions.dynamodb_service_context, iam_actions.dynamodb_transaction_checks

    def context(body: bytes) -> Document:
        request = json.loads(body or b"{}")
        _of_items.set(deque(items(request)))
        return {**context_of(body), "dynamodb:LeadingKeys": partitions(request)}

    def checks(*arguments: Any) -> Any:
        made = checks_of(*arguments)
        if len(made) not in (0, len(_of_items.get())):
            raise RuntimeError(f"{made} are not the items of the transaction")
        return made

    iam_actions.dynamodb_service_context, iam_actions.dynamodb_transaction_checks = context, checks


def log_decisions(log: Path) -> None:
    """Append a line for each decision about somebody who is not the account itself."""
    enforce, resolve = iam_evaluator.enforce, iam_evaluator.resolve_caller_identity
    sink = log.open("a", buffering=1)

    def enforced(
        access_key: str, action: str, *where: str, resource_arn: str = "*", service_context: Any = None
    ) -> Any:
        context = dict(service_context or {})
        if "dynamodb:EnclosingOperation" in context:
            context["dynamodb:LeadingKeys"] = _of_items.get().popleft()
        denied = enforce(access_key, action, *where, resource_arn=resource_arn, service_context=context)
        who = (resolve(access_key) or {}).get("userArn", "")
        if who and not who.endswith(":root"):
            keys = context.get("dynamodb:LeadingKeys", [])
            line = {"who": who, "action": action, "resource": resource_arn, "keys": keys, "allowed": denied is None}
            sink.write(json.dumps(line) + "\n")
        return denied

    iam_evaluator.enforce = enforced


if __name__ == "__main__":
    tell_partitions()
    log_decisions(Path(sys.argv.pop()))
    app.main()
