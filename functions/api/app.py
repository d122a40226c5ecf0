"""The API's Lambda function: a payload 2.0 event (HTTP API or function URL) to an answer; it only wires."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger

from functions.api.routes import Routes
from functions.aws.activity import Activity
from functions.aws.callers import principal, unproved
from functions.aws.dispatching import open_service
from functions.aws.emf import Emf
from functions.aws.feedback import Feedback
from functions.aws.inbox import Inbox
from functions.aws.jobs import open_jobs, sender
from functions.aws.queue import Queue
from functions.aws.quotas import SharedQuota, any_shard
from functions.aws.settings import ApiSettings
from functions.aws.wishing import Wishing
from gateway.issuer import Issuer
from gateway.jobs.jobs import Jobs
from registry.measures import Measure
from registry.stores.dynamodb_activity import DynamoActivity
from registry.stores.dynamodb_claims import DynamoClaims
from registry.stores.dynamodb_generations import PARTITION as GENERATIONS
from registry.stores.dynamodb_generations import DynamoGenerations
from registry.stores.dynamodb_quotas import DynamoQuotas
from registry.stores.dynamodb_receipt_keys import DynamoReceiptKeys
from registry.stores.dynamodb_sightings import DynamoSightings
from registry.stores.dynamodb_table import DynamoTable

logger = Logger()
settings = ApiSettings.read(os.environ)
table = DynamoTable(settings.table)
emf = Emf.of(os.environ, "api")
service, backends, watch, decided = open_service(settings, table, emf)
activity = Activity(DynamoActivity(table), DynamoSightings(table), service.snapshots, backends.by_tier)
if settings.budget_usd_per_h:
    service.tell_before(activity.note)


def refresh(within_s: float) -> None:
    """Be as fresh as the table is, before a request is decided."""
    watch.look(within_s)
    activity.look()


def unsettled() -> None:
    """A quota holds for this environment alone, for as long as the table cannot be reached."""
    emf.put([Measure("QuotaUnsettled", 1)])


identify = partial(principal, tenant_claim=settings.tenant_claim, stranger=unproved(os.environ))
quota = SharedQuota(settings.requests_per_s, DynamoQuotas(table, any_shard()), failed=unsettled)
issuer, feedback = None, None
if settings.feedback_queue:
    keys = DynamoReceiptKeys(table)
    issuer = Issuer(service, keys)
    feedback = Feedback(service, keys, Queue(settings.feedback_queue).send)
inbox = Inbox(settings.bucket) if settings.bucket else None
jobs = (
    Jobs(service, open_jobs(table, settings.bucket), send=sender(Queue(settings.jobs_queue)))
    if settings.jobs_queue and settings.bucket
    else None
)
generations, wishing = None, None
if settings.optimize_queue:
    generations = DynamoGenerations(table)
    wishing = Wishing(service, DynamoClaims(table, GENERATIONS), Queue(settings.optimize_queue).send, generations)
    service.generate_with(wishing.observe, wishing.generating)
routes = Routes(
    service,
    identify,
    refresh=refresh,
    quota=quota,
    issuer=issuer,
    feedback=feedback,
    jobs=jobs,
    inbox=inbox,
    generations=generations,
)
# One loop for the environment's life: backends keep connections and calls under way between events.
runner = asyncio.Runner()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """One HTTP request to one HTTP answer."""
    decided.request_id = context.aws_request_id
    answer = runner.run(routes.answer(event, context))
    if wishing is not None:
        runner.run(wishing.settle())
    return answer
