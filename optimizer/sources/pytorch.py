"""`torch.nn.Module`s through torch.onnx.export, for any number of rows; torch is the caller's, and never installed."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.errors import NotConvertible
from optimizer.sources.libraries import described, need
from optimizer.sources.rows import Rows, by_name
from optimizer.sources.tidy import tidy

EXAMPLE_ROWS = 2
"""torch.export takes an extent of 0 or 1 for a constant (its "0/1 specialization"), so an example has two rows."""


def rows(model: Any, X: Any) -> Rows:  # noqa: N803
    """Arrays by the names of `forward`'s parameters."""
    names = _parameters(model)
    if isinstance(X, Mapping):
        names = [name for name in names if name in X] + [str(name) for name in X if name not in names]
        unknown = sorted(set(names) - set(_parameters(model)))
        if unknown:
            problem = f"has {unknown}, and forward takes {_parameters(model)}"
            raise NotConvertible(described(model), f"X {problem}", "name the arrays as forward's parameters")
    elif isinstance(X, tuple):
        names = names[: len(X)]
    else:
        names = names[:1]
        X = _detached(X)  # noqa: N806
    return by_name(X, names)


def convert(model: Any, rows: Rows) -> bytes:
    """As ONNX in evaluation mode: inputs named as `forward`'s parameters, outputs as it names them, else `output`.

    The module's own mode is put back.
    """
    torch = need("torch", "torch", model=described(model))
    need("onnxscript", "onnxscript", model=described(model))  # which torch.onnx needs and does not install
    examples = tuple(torch.from_numpy(_example(array, _precision(torch, model))) for array in rows.values())
    batch = torch.export.Dim("batch")
    with _evaluating(model), _quietly(), torch.no_grad():
        outputs = _names(model(*examples))
        program = torch.onnx.export(
            model,
            examples,
            dynamo=True,
            input_names=list(rows),
            output_names=outputs,
            dynamic_shapes={name: {0: batch} for name in rows},
            verbose=False,
        )
    return tidy(program.model_proto)


def _parameters(model: Any) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in inspect.signature(model.forward).parameters.values() if p.kind in kinds]
    if not names:
        problem = "has a forward without named parameters"
        raise NotConvertible(described(model), problem, "name them, as in forward(self, image)")
    return names


def _detached(X: Any) -> Any:  # noqa: N803
    return X.detach().cpu().numpy() if hasattr(X, "detach") else X


def _example(array: NDArray[Any], precision: np.dtype[Any]) -> NDArray[Any]:
    example = np.ascontiguousarray(array[np.arange(EXAMPLE_ROWS) % len(array)])
    return example.astype(precision) if example.dtype.kind == "f" else example


def _precision(torch: Any, model: Any) -> np.dtype[Any]:
    """That of the module's weights, which its inputs must have too."""
    doubles = any(weight.dtype == torch.float64 for weight in model.parameters())
    return np.dtype(np.float64 if doubles else np.float32)


def _names(answer: Any) -> list[str]:
    """Names for what a module answered: a dictionary's keys, or `output`, numbered where there are several."""
    if isinstance(answer, Mapping):
        return [str(name) for name in answer]
    if isinstance(answer, tuple | list):
        fields = getattr(answer, "_fields", None)
        return list(fields) if fields else [f"output_{i}" for i in range(len(answer))]
    return ["output"]


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Dropout and batch statistics off while the block runs."""
    training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


@contextmanager
def _quietly() -> Iterator[None]:
    """Without torch's remarks on what else could be installed."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
