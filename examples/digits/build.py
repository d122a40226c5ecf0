"""Trains the digits' variants into a folder to register; never looks at the held-out rows while it trains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from examples import export, folder
from examples.digits import data
from examples.digits.variants import LARGEST, candidates
from examples.training import Made, derive, train
from optimizer.progress import Progress, Steps
from registry.model import Slo, Task, TensorSpec

TASK = Task(
    name="digits",
    description="Which digit does an 8×8 image show? Pixels from 0 to 16, row by row.",
    metric="accuracy",
    inputs=(TensorSpec("image", "FP32", (-1, 64)),),
    outputs=(TensorSpec("label", "INT64", (-1,)), TensorSpec("probabilities", "FP32", (-1, 10))),
    classes=tuple("0123456789"),
    default_slo=Slo(latency_ms=100.0, percentile=95.0, min_accuracy=0.9),
)


def build(target: Path, progress: Progress | None = None) -> Path:
    """Train every variant into `target`, which is made if need be; the path of the manifest.

    Takes about ten seconds, and gives the same models each time. Raises OSError.
    """
    steps = Steps(progress)
    steps.expect(len(candidates()) + 1)
    digits = data.load()
    held_out: dict[str, NDArray[Any]] = {"image": digits.held_out, "label": digits.held_out_labels}
    return folder.write(target, TASK, held_out, _variants(digits), steps)


def _variants(digits: data.Digits) -> Iterator[Made]:
    plain = (digits.train, digits.train_labels)
    for made in train(
        candidates(),
        plain,
        data.shifted(*plain),
        lambda estimator: export.classifier(estimator, 64, 10, input_name="image"),
    ):
        yield made
        if made.name == LARGEST:
            yield derive(TASK, made, "int8", f"{LARGEST}-int8")
