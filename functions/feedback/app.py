"""Feedback's Lambda function: a batch of judgements from a queue to the log and the catalogue; it only wires."""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from functions.aws.emf import Emf
from functions.aws.judging import Judging
from functions.aws.settings import FeedbackSettings
from registry.measures import Measure

emf = Emf.of(os.environ, "feedback")
judging = Judging(FeedbackSettings.read(os.environ))
# A batch of which nothing can be read fails message by message too, so that each ends among the dead letters.
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


def handler(event: dict[str, Any], context: Any) -> Any:
    """One batch to the messages of it that failed; errors that concern all of it leave by their class names."""
    judging.begin()
    failed = process_partial_response(event, _read, processor, context)
    judging.finish()
    emf.put([Measure("Judgements", len(event["Records"]) - len(failed["batchItemFailures"]))])
    return failed


def _read(record: SQSRecord) -> None:
    judging.read(record.body)
