"""A queue's messages handed to a function as Lambda's event source mapping does; it decides nothing about them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.environments.spec import REGION


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came of one batch; ids of messages."""

    taken: tuple[str, ...]
    failed: tuple[str, ...]
    """Left in the queue, to be delivered again."""
    error: Mapping[str, Any] | None
    """What the function raised, which fails the whole batch."""


def deliver(clients: Mapping[str, Any], queue: str, function: str, *, most: int = 10, again: bool = True) -> Delivered:
    """One batch of at most `most` messages to `function`; those that it does not name as failed leave the queue.

    With `again` what failed is visible at once, as it would be when its visibility timeout is over.
    """
    sqs = clients["sqs"]
    received = sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=min(most, 10), WaitTimeSeconds=0, AttributeNames=["All"]
    )
    messages = received.get("Messages", [])
    if not messages:
        return Delivered((), (), None)
    failed, error = _failed(clients["lambda"], function, messages, event_of(messages, queue))
    for message in messages:
        handle = {"QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"]}
        if message["MessageId"] not in failed:
            sqs.delete_message(**handle)
        elif again:
            sqs.change_message_visibility(**handle, VisibilityTimeout=0)
    return Delivered(tuple(m["MessageId"] for m in messages), tuple(failed), error)


def event_of(messages: Sequence[Mapping[str, Any]], queue: str) -> dict[str, Any]:
    """The event of a batch (Lambda developer guide, 'Using Lambda with Amazon SQS')."""
    account, name = queue.rsplit("/", 2)[1:]
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message.get("Attributes", {}),
                "messageAttributes": {},
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{account}:{name}",
                "awsRegion": REGION,
            }
            for message in messages
        ]
    }


def _failed(
    client: Any, function: str, messages: Sequence[Mapping[str, Any]], event: Mapping[str, Any]
) -> tuple[list[str], Mapping[str, Any] | None]:
    """The messages to deliver again: all where the function failed, or names one that is not in the batch."""
    every = [message["MessageId"] for message in messages]
    response = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
    answer = json.loads(response["Payload"].read() or b"null")
    if response.get("FunctionError"):
        return every, answer
    named = [item.get("itemIdentifier") for item in (answer or {}).get("batchItemFailures", ())]
    return (named if set(named) <= set(every) else every), None
