"""The schemas that are published name the very fields that answers have."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from pydantic import BaseModel

from gateway import schemas
from gateway.decisions import Attempt, Served
from gateway.judgements import Judgement
from registry.generations import Generating, Generation
from registry.model import Accuracy, Recipe, Slo, Task, TensorSpec

PAIRS = [
    (Served, schemas.ServedBy),
    (Attempt, schemas.Attempted),
    (Judgement, schemas.FeedbackResponse),
    (Accuracy, schemas.MeasuredAccuracy),
    (Generation, schemas.GenerationResponse),
    (Generating, schemas.Generating),
    (Recipe, schemas.MadeBy),
    (Task, schemas.TaskResponse),
    (TensorSpec, schemas.Tensor),
    (Slo, schemas.FullSlo),
]


@pytest.mark.parametrize(("value", "schema"), PAIRS, ids=lambda kind: kind.__name__)
def test_a_value_that_is_answered_whole_has_the_fields_of_its_schema(value: Any, schema: type[BaseModel]) -> None:
    assert {field.name for field in fields(value)} == set(schema.model_fields)
