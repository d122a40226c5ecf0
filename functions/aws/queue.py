"""One SQS queue that messages are put into; reads nothing, and never retries more than the SDK does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.aws import failures, make_client

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MESSAGE_LIMIT = 256 * 1024
"""Most bytes of a message: what every queue takes, also those from before SQS took more."""


class Queue:
    """A queue by its URL; safe for threads. The client is made when it is first needed if not given."""

    def __init__(self, url: str, client: SQSClient | None = None) -> None:
        self._url = url
        self._given = client

    def send(self, body: str, *, delay_s: int = 0) -> None:
        """Put a message in, to be seen after a delay of at most 900 s; raises Unavailable."""
        if self._given is None:
            self._given = make_client("sqs")
        with failures(f"SQS queue {self._url.rpartition('/')[2]}"):
            self._given.send_message(QueueUrl=self._url, MessageBody=body, DelaySeconds=delay_s)
