"""Turns at publishing what was judged, in the table of the judgements; says who may, and never what is published."""

from __future__ import annotations

from typing import Any

from registry.stores.dynamodb_judgements import STATE
from registry.stores.dynamodb_table import DynamoTable

TURN, APPOINTMENT = "TURN", "APPOINTMENT"

LOST_S = 900.0
"""After so long an appointment was not kept: several times the delay that it is made for."""


class DynamoTurns:
    """Gives a turn to one environment of all at most once in a while, and knows whether somebody will look later.

    Times are seconds since the epoch. Raises Unavailable.
    """

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def claim(self, now: float, every_s: float) -> bool:
        """Take the turn, unless one was taken less than so long ago."""
        return self._put(TURN, now, now - every_s)

    def appoint(self, now: float) -> bool:
        """Take it on to look later, unless somebody has; whoever does looks after `dismiss`."""
        return self._put(APPOINTMENT, now, now - LOST_S)

    def dismiss(self) -> None:
        """Nobody is to look later any more."""
        with self._table.failures():
            self._table.client.delete_item(TableName=self._table.name, Key=_key(APPOINTMENT))

    def _put(self, name: str, now: float, before: float) -> bool:
        """Write the time, unless one later than `before` is written."""
        with self._table.failures():
            client = self._table.client
            try:
                client.put_item(
                    TableName=self._table.name,
                    Item={**_key(name), "at": {"N": repr(now)}},
                    ConditionExpression="attribute_not_exists(pk) OR #at <= :before",
                    ExpressionAttributeNames={"#at": "at"},
                    ExpressionAttributeValues={":before": {"N": repr(before)}},
                )
            except client.exceptions.ConditionalCheckFailedException:
                return False
        return True


def _key(name: str) -> dict[str, Any]:
    return {"pk": {"S": STATE}, "sk": {"S": name}}
