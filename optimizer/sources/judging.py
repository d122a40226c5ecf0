"""Which output the right answers are for, and by which metric; never judges a model itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from optimizer.accuracy import METRICS
from optimizer.errors import InvalidEvaluation
from optimizer.signature import Signature, infer
from optimizer.sources.rows import as_array
from registry.model import TensorSpec
from registry.sections import nearest

LABEL = "label"

WHOLE = "biu"
"""Numpy's kinds of truths and whole numbers: what labels are, when they are no strings."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """How a model is judged: the output, the metric, and the right answers in the output's shape."""

    signature: Signature
    """Whose model may have got a label, where it gave scores only."""
    output: str
    metric: str
    expected: NDArray[Any]
    classes: tuple[str, ...]
    """The labels in order, when they are strings."""


def judged(
    signature: Signature,
    y: Any,
    *,
    output: str | None = None,
    metric: str | None = None,
    classes: tuple[str, ...] = (),
    where: str = "y",
) -> Judged:
    """The output that `y` answers, unless `output` says; `accuracy` for labels and `rmse_skill` for numbers, unless
    `metric` says.

    A model that gives a score for each class, and no label, gets one: the class of the highest score, whole numbers
    from 0. Raises InvalidEvaluation naming the outputs and the fix.
    """
    answers = _whole(as_array(y, where), signature)
    if metric is not None and metric not in METRICS:
        raise InvalidEvaluation("metric", f"{metric!r} is unknown", nearest(metric, METRICS))
    if len(answers) != _rows(signature):
        problem = f"has {len(answers)} answers for {_rows(signature)} rows"
        raise InvalidEvaluation(where, problem, "give one answer for each row")
    if output is None and metric != "rmse_skill" and _is_label(answers) and not _fitting(signature, answers, "labels"):
        signature = _labelled(signature, answers, where)
    spec = _chosen(signature, answers, output, metric, where)
    by = metric or ("rmse_skill" if spec.datatype.startswith("FP") else "accuracy")
    expected = _shaped(spec, answers, by, where)
    return Judged(signature, spec.name, by, expected, classes or _classes(answers))


def _rows(signature: Signature) -> int:
    return len(next(iter(signature.rows.values())))


def _whole(answers: NDArray[Any], signature: Signature) -> NDArray[Any]:
    """Labels that came as floats (1.0, 2.0) as whole numbers, where the model gives labels and no number like them."""
    if (
        answers.dtype.kind != "f"
        or _fitting(signature, answers, "numbers")
        or not np.array_equal(answers, answers // 1)
    ):
        return answers
    whole = answers.astype(np.int64)
    return whole if _fitting(signature, whole, "labels") else answers


def _is_label(answers: NDArray[Any]) -> bool:
    return answers.dtype.kind in WHOLE and answers.size == len(answers)


def _fitting(signature: Signature, answers: NDArray[Any], kind: str) -> list[TensorSpec]:
    """The outputs that could be what `answers` answer: of their kind, and as many numbers for a row."""
    fits = _labels if kind == "labels" else _numbers
    size = int(np.prod(answers.shape[1:]))
    return [s for s in signature.outputs if fits(s, answers) and _size(s) in (size, -1)]


def _labels(spec: TensorSpec, answers: NDArray[Any]) -> bool:
    if answers.dtype == object:
        return spec.datatype == "BYTES"
    return answers.dtype.kind in WHOLE and (spec.datatype == "BOOL" or "INT" in spec.datatype)


def _numbers(spec: TensorSpec, answers: NDArray[Any]) -> bool:
    return answers.dtype != object and spec.datatype.startswith("FP")


def _size(spec: TensorSpec) -> int:
    return -1 if -1 in spec.shape[1:] else int(np.prod(spec.shape[1:]))


def _chosen(
    signature: Signature, answers: NDArray[Any], output: str | None, metric: str | None, where: str
) -> TensorSpec:
    by_name = {spec.name: spec for spec in signature.outputs}
    if output is not None:
        if output not in by_name:
            raise InvalidEvaluation("output", f"the model gives no {output!r}", nearest(output, by_name))
        return by_name[output]
    labels = [] if metric == "rmse_skill" else _fitting(signature, answers, "labels")
    candidates = labels or _fitting(signature, answers, "numbers")
    if len(candidates) == 1:
        if not labels and metric is None and _is_label(answers) and set(np.unique(answers)) <= {0, 1}:
            fix = "export a label, or say metric rmse_skill if the score itself is the answer"
            raise InvalidEvaluation(where, f"has labels, and {candidates[0].name!r} is one score for each row", fix)
        return candidates[0]
    told = ", ".join(f"{spec.name} {spec.datatype} {list(spec.shape)}" for spec in signature.outputs)
    kind = "strings" if answers.dtype == object else str(answers.dtype)
    problem = f"has {kind} of shape {list(answers.shape)}, and {len(candidates)} of the outputs ({told}) are like that"
    raise InvalidEvaluation(where, problem, "say which output they answer, or give answers like one")


def _labelled(signature: Signature, answers: NDArray[Any], where: str) -> Signature:
    """With the class of the highest score as a label, where one output has a score for each class."""
    scores = [s for s in signature.outputs if s.datatype.startswith("FP") and len(s.shape) == 2 and s.shape[1] > 1]
    if len(scores) != 1:
        return signature
    least, most, classes = int(answers.min()), int(answers.max()), scores[0].shape[1]
    if least < 0 or most >= classes:
        problem = f"has labels from {least} to {most}, and {scores[0].name!r} scores the classes 0 to {classes - 1}"
        raise InvalidEvaluation(where, problem, "give the number of the right class, from 0")
    model = with_label(signature.model, scores[0].name)
    return infer(model, signature.rows)


def with_label(model: bytes, scores: str) -> bytes:
    """The model with one more output, INT64 `label` [-1]: the position of the highest of each row's scores."""
    proto = onnx.load_from_string(model)
    taken = {name for node in proto.graph.node for name in (*node.output, *node.input)}
    label = next(name for name in (LABEL, f"{scores}_{LABEL}", f"{scores}_{LABEL}_of_row") if name not in taken)
    proto.graph.node.append(helper.make_node("ArgMax", [scores], [label], name=label, axis=1, keepdims=0))
    proto.graph.output.append(helper.make_tensor_value_info(label, onnx.TensorProto.INT64, ["batch"]))
    if not any(opset.domain in ("", "ai.onnx") for opset in proto.opset_import):
        proto.opset_import.add(domain="", version=13)
    return bytes(proto.SerializeToString(deterministic=True))


def _shaped(spec: TensorSpec, answers: NDArray[Any], metric: str, where: str) -> NDArray[Any]:
    """The answers in the kind and the shape of the output."""
    if (answers.dtype == object) != (spec.datatype == "BYTES"):
        held = "strings" if answers.dtype == object else str(answers.dtype)
        problem = f"has {held}, and the output {spec.name!r} is {spec.datatype}"
        raise InvalidEvaluation(
            where, problem, "give answers of the output's kind, or say which other output they answer"
        )
    extents = [got if want == -1 else want for want, got in zip(spec.shape[1:], answers.shape[1:], strict=False)]
    shape = (len(answers), *(extents if len(extents) == len(spec.shape) - 1 else spec.shape[1:]))
    if -1 in shape or int(np.prod(shape)) != answers.size:
        problem = f"has shape {list(answers.shape)}, and the output {spec.name!r} {list(spec.shape)}"
        raise InvalidEvaluation(where, problem, "give answers of the output's shape")
    if metric == "accuracy" and spec.datatype.startswith("FP") and answers.dtype.kind == "f":
        problem = f"has numbers, and accuracy counts those that {spec.name!r} hits to the last digit"
        raise InvalidEvaluation(where, problem, "say metric rmse_skill, or give labels")
    return answers.reshape(shape)


def _classes(answers: NDArray[Any]) -> tuple[str, ...]:
    if answers.dtype != object:
        return ()
    return tuple(sorted({value.decode() for value in answers.ravel()}))
