"""A model, held-out rows and their answers as a registration: inferred, checked and vetted; measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelless.choices import Generate, Hints, Tiers, generators_named, slo_of, tiers_named
from optimizer.errors import InvalidEvaluation
from optimizer.evaluation import check
from optimizer.registration import Model, Registration
from optimizer.signature import conform, infer
from optimizer.sources import convert, is_onnx, name_of, onnx_of, rows_of
from optimizer.sources.faithful import check_faithful
from optimizer.sources.graphs import parted
from optimizer.sources.judging import judged
from optimizer.sources.vetting import class_names, vetted
from registry.errors import InvalidValue
from registry.model import Task, check_name

Names = tuple[str, str, str]
"""What errors call the rows, the answers and the calibration rows."""


def describe(
    task: str,
    model: Any,
    X: Any,  # noqa: N803 - as every library of models calls its rows
    y: Any,
    *,
    calibration: Any = None,
    output: str | None = None,
    metric: str | None = None,
    tiers: Tiers = None,
    slo: Hints = None,
    generate: Generate = True,
    name: str | None = None,
    description: str = "",
    where: Names = ("X", "y", "calibration"),
) -> Registration:
    """Everything that registering a model needs, from what `register` is given.

    Converts the model, infers the signature of the task and tries the model on a few rows; opens no home. A model that
    comes as ONNX is vetted first; then `y` may be None, and `X` hold the answers too, under the name of the output.
    Raises NotConvertible, ModelRefused, SandboxFailed, InvalidValue, InvalidEvaluation.
    """
    _check_name(task, "task")
    chosen, generators, bounds = tiers_named(tiers), generators_named(generate), slo_of(slo)
    name = name or name_of(model)
    _check_name(name, "name")
    if y is None and not (is_onnx(model) and isinstance(X, Mapping)):
        fix = "give the right answer for each row: nothing is registered unmeasured"
        raise InvalidEvaluation(where[1], "is None", fix)
    classes: tuple[str, ...] = ()
    if is_onnx(model):
        given = onnx_of(model)
        model = vetted(given, X)
        classes = class_names(given, model)
        if y is None:
            X, y, output = parted(model, X, output, where=where[0])  # noqa: N806
    converted = convert(model, X)
    inferred = infer(converted.onnx, converted.rows, where=where[0])
    check_faithful(model, X, inferred)
    found = judged(inferred, y, output=output, metric=metric, classes=converted.classes or classes, where=where[1])
    signature = found.signature
    described = Task(
        task,
        signature.inputs,
        signature.outputs,
        found.metric,
        bounds,
        "public",
        found.classes,
        description,
        found.output,
    )
    aside = {} if calibration is None else conform(signature.inputs, _rows(model, calibration), where=where[2])
    return Registration(
        task=described,
        evaluation=check({**signature.rows, found.output: found.expected}, described, where=where[0]),
        calibration=aside,
        models=(Model(name, signature.model, converted.recipe),),
        tiers=chosen,
        generate=generators,
    )


def _check_name(given: Any, what: str) -> None:
    if not isinstance(given, str):
        problem = f"{given!r:.40} is no string but of {type(given).__name__}"
        raise InvalidValue(what, problem, "give a name as a string, such as 'digits'")
    check_name(given, what)


def _rows(model: Any, calibration: Any) -> Any:
    """Calibration rows by name; a mapping of arrays may hold others beside the inputs, such as the answers."""
    return calibration if isinstance(calibration, Mapping) else rows_of(model, calibration)
