"""Optimize's Lambda function: questions from a queue to variants in the catalogue; it only wires."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from functions.aws.emf import Emf
from functions.aws.optimizing import Optimizing
from functions.aws.settings import OptimizeSettings

optimizing = Optimizing(OptimizeSettings.read(os.environ), emf=Emf.of(os.environ, "optimize"))
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
# One loop for the environment's life: backends keep connections between events.
runner = asyncio.Runner()


def handler(event: dict[str, Any], context: Any) -> Any:
    """A batch, of one question as the template has it, to those of it that failed."""

    def answer(record: SQSRecord) -> None:
        runner.run(optimizing.once(record.body, context.get_remaining_time_in_millis() / 1000))

    return process_partial_response(event, answer, processor, context)
