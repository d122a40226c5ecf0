"""Jobs' Lambda function: a batch of messages to the jobs that they name, carried out together; it only wires."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from aws_lambda_powertools.utilities.batch import AsyncBatchProcessor, EventType, async_process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from functions.aws.dispatching import open_service
from functions.aws.emf import Emf
from functions.aws.jobs import Carrier, open_jobs
from functions.aws.queue import Queue
from functions.aws.settings import JobsSettings
from gateway.issuer import Issuer
from registry.stores.dynamodb_receipt_keys import DynamoReceiptKeys
from registry.stores.dynamodb_table import DynamoTable

settings = JobsSettings.read(os.environ)
table = DynamoTable(settings.table)
service, _, watch, decided = open_service(settings, table, Emf.of(os.environ, "jobs"))
issuer = Issuer(service, DynamoReceiptKeys(table))
carrier = Carrier(service, open_jobs(table, settings.bucket), Queue(settings.queue), watch.look, issuer=issuer)
# A message that is left is no fault of its batch.
processor = AsyncBatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
# One loop for the environment's life, where Powertools looks for it: backends keep calls under way between events.
runner = asyncio.Runner()
asyncio.set_event_loop(runner.get_loop())


def handler(event: dict[str, Any], context: Any) -> Any:
    """One batch to the messages of it that are left in the queue."""
    decided.request_id = context.aws_request_id

    async def carry(record: SQSRecord) -> None:
        await carrier.carry(record, lambda: context.get_remaining_time_in_millis() / 1000)

    return async_process_partial_response(event, carry, processor, context)
