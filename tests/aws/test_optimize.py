"""Questions that nothing held go to the optimizer's function, which starts from its artefact and answers each alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from infra.rehearsal.mapping import deliver
from infra.rehearsal.stack import Rehearsal
from registry.documents import to_document
from registry.generations import Asked
from registry.model import Slo

FUNCTION = "OptimizeFunction:live"


def test_of_two_questions_one_cannot_be_read(
    pushed: dict[str, Any], clients: Mapping[str, Any], stack: Rehearsal
) -> None:
    queue = stack.names.refs["OptimizeQueue"]
    clients["sqs"].purge_queue(QueueUrl=queue)  # of what the api asked for other tests
    question = json.dumps(to_document(Asked("a task that is no more", Slo(latency_ms=1.0))))
    for body in (question, "no question"):
        clients["sqs"].send_message(QueueUrl=queue, MessageBody=body)

    first = deliver(clients, queue, FUNCTION)
    assert (len(first.taken), len(first.failed), first.error) == (2, 1, None)
    assert deliver(clients, queue, FUNCTION).taken == first.failed
    clients["sqs"].purge_queue(QueueUrl=queue)
