"""Jobs' Lambda function: a batch of messages to the jobs that they name, carried out together; it only wires."""

from __future__ import annotations

import asyncio
import os
from random import random
from typing import Any

from aws_lambda_powertools.utilities.batch import AsyncBatchProcessor, EventType, async_process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from functions.aws.backends import CloudBackends
from functions.aws.catalogue import CatalogueWatch
from functions.aws.decided import Decided
from functions.aws.emf import Emf
from functions.aws.jobs import Carrier, open_jobs
from functions.aws.queue import Queue
from functions.aws.settings import JobsSettings
from functions.aws.xray import XRay
from gateway.apart import ApartSnapshots
from gateway.issuer import Issuer
from gateway.service import Service
from gateway.snapshots import Snapshots
from gateway.tracing import UNTRACED
from registry.catalogue import Catalogue
from registry.stores.dynamodb import DynamoStore
from registry.stores.dynamodb_leases import DynamoLeases
from registry.stores.dynamodb_receipt_keys import DynamoReceiptKeys
from registry.stores.dynamodb_table import DynamoTable

settings = JobsSettings.read(os.environ)
snapshots = (ApartSnapshots if settings.isolated else Snapshots)(Catalogue.empty())
table = DynamoTable(settings.table)
backends = CloudBackends(
    settings.workers,
    emit=snapshots.emit,
    gpus=settings.gpus,
    leases=DynamoLeases(table),
    isolated=settings.isolated,
)
watch = CatalogueWatch(DynamoStore(table), snapshots, changed=backends.follow)
service = Service(snapshots, backends.by_tier, probes=False, uniform=random)
decided = Decided(Emf.of(os.environ, "jobs"))
service.watch_with(decided.observe)
service.trace_with(XRay.of(os.environ) or UNTRACED)
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
        await carrier.carry(record, context.get_remaining_time_in_millis() / 1000)

    return async_process_partial_response(event, carry, processor, context)
