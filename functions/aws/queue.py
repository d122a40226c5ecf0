"""One SQS queue that messages are put into, or left in; reads nothing, and never retries more than the SDK does."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypedDict

from registry.aws import failures, make_client

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class _Group(TypedDict, total=False):
    """The part of a message that says whose it is."""

    MessageGroupId: str


class Queue:
    """A queue by its URL; safe for threads. The client is made when it is first needed if not given."""

    def __init__(self, url: str, client: SQSClient | None = None) -> None:
        self._url = url
        self._given = client

    def send(self, body: str, *, delay_s: int = 0, group: str = "") -> None:
        """Put a message in, to be seen after a delay of at most 900 s; raises Unavailable.

        A standard queue shares what receives from it fairly among groups (SQS Developer Guide, "Fair queues"); what is
        sent without one is a group of its own.
        """
        of: _Group = {"MessageGroupId": group} if group else {}
        with self._failures():
            self._client.send_message(QueueUrl=self._url, MessageBody=body, DelaySeconds=delay_s, **of)

    def hide(self, receipt: str, for_s: int) -> None:
        """Have a message that was received, and is left, be seen again after so many seconds; raises Unavailable."""
        with self._failures():
            self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=for_s)

    @property
    def _client(self) -> SQSClient:
        if self._given is None:
            self._given = make_client("sqs")
        return self._given

    def _failures(self) -> AbstractContextManager[None]:
        return failures(f"SQS queue {self._url.rpartition('/')[2]}")
