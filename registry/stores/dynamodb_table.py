"""One DynamoDB table with the keys `pk` and `sk`, as the logs that live in it use it; knows nothing of what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from registry.aws import failures, make_client

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoTable:
    """A table and a client, which is made when it is first needed if not given."""

    def __init__(self, name: str, client: DynamoDBClient | None = None) -> None:
        self.name = name
        self._given = client

    @property
    def client(self) -> DynamoDBClient:
        """The client; safe for threads."""
        if self._given is None:
            self._given = make_client("dynamodb")
        return self._given

    def failures(self) -> AbstractContextManager[None]:
        """What DynamoDB refuses, or a network that is down, as Unavailable."""
        return failures(f"DynamoDB table {self.name}")

    def put_first(self, item: dict[str, Any]) -> dict[str, Any]:
        """Put an item unless there is one of its key; as `put_if`."""
        return self.put_if(item, "attribute_not_exists(pk)")

    def put_if(self, item: dict[str, Any], condition: str, **terms: Any) -> dict[str, Any]:
        """Put an item where what there is under its key holds a condition, whose `terms` are boto3's parameters.

        Returns what is there afterwards, empty for nothing. That is an equal item also when the first try was carried
        out and its answer lost, and the SDK tried again. Raises Unavailable.
        """
        with self.failures():
            client = self.client
            try:
                client.put_item(
                    TableName=self.name,
                    Item=item,
                    ConditionExpression=condition,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **terms,
                )
            except client.exceptions.ConditionalCheckFailedException as error:
                response: Any = error.response
                found: dict[str, Any] = response.get("Item", {})
                return found
        return item

    def between(self, partition: str, first: str, last: str, *, consistent: bool = True) -> Iterator[dict[str, Any]]:
        """The items of a partition from one sort key to another, both included; each page is read when it is needed.

        What need not be `consistent` with writes of the last second costs half. Raises Unavailable.
        """
        return self._pages(partition, first, last, ConsistentRead=consistent)

    def newest(self, partition: str, first: str, last: str, page: int) -> Iterator[dict[str, Any]]:
        """What `between` gives, the other way round, in pages of so many items at most."""
        return self._pages(partition, first, last, ScanIndexForward=False, Limit=page)

    def _pages(self, partition: str, first: str, last: str, **options: Any) -> Iterator[dict[str, Any]]:
        request: dict[str, Any] = {
            "TableName": self.name,
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
            "ExpressionAttributeValues": {":pk": {"S": partition}, ":first": {"S": first}, ":last": {"S": last}},
            "ConsistentRead": True,
            **options,
        }
        while True:
            with self.failures():
                page = self.client.query(**request)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
