"""Trains the diabetes variants into a folder to register; never looks at the held-out rows while it trains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from examples import export, folder
from examples.diabetes import data
from examples.diabetes.variants import LARGEST, candidates
from examples.training import Made, derive, train
from optimizer.progress import Progress, Steps
from registry.model import Slo, Task, TensorSpec

TASK = Task(
    name="diabetes",
    description="How far will a patient's diabetes progress in a year, from ten standardised measures?",
    metric="rmse_skill",
    inputs=(TensorSpec("features", "FP32", (-1, 10)),),
    outputs=(TensorSpec("value", "FP32", (-1, 1)),),
    default_slo=Slo(latency_ms=100.0, percentile=95.0),
)


def build(target: Path, progress: Progress | None = None) -> Path:
    """Train every variant into `target`, which is made if need be; the path of the manifest.

    Takes about five seconds, and gives the same models each time. Raises OSError.
    """
    steps = Steps(progress)
    steps.expect(len(candidates()) + 1)
    diabetes = data.load()
    held_out = {"features": diabetes.held_out, "value": diabetes.held_out_values}
    return folder.write(target, TASK, held_out, _variants(diabetes), steps)


def _variants(diabetes: data.Diabetes) -> Iterator[Made]:
    plain = (diabetes.train, diabetes.train_values)
    for made in train(
        candidates(), plain, plain, lambda estimator: export.regressor(estimator, 10, input_name="features")
    ):
        yield made
        if made.name == LARGEST:
            yield derive(TASK, made, "int8", f"{LARGEST}-int8")
