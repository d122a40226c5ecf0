"""`torch.nn.Module`s through torch.onnx.export, for any number of rows; torch is the caller's, and never installed."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
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

    The module's own mode is put back. Raises NotConvertible with the first cause of PyTorch's, without its graphs.
    """
    torch = need("torch", "torch", model=described(model))
    need("onnxscript", "onnxscript", model=described(model))  # which torch.onnx needs and does not install
    examples = tuple(torch.from_numpy(_example(array, _precision(torch, model))) for array in rows.values())
    batch = torch.export.Dim("batch")
    with _evaluating(model), _quietly(), torch.no_grad():
        outputs = _names(model(*examples))
        try:
            program = torch.onnx.export(
                model,
                examples,
                dynamo=True,
                input_names=list(rows),
                output_names=outputs,
                dynamic_shapes={name: {0: batch} for name in rows},
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as fault:
            problem = f"torch.onnx.export cannot: {_first_cause(fault)}"
            fix = "change its forward as that says (torch.cond instead of if, for one), or give an .onnx file"
            raise NotConvertible(described(model), problem, fix) from fault
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


def _first_cause(fault: BaseException) -> str:
    """What it all began with: what comes of that are torch's general hints."""
    while fault.__cause__ is not None:
        fault = fault.__cause__
    return " ".join(str(fault).split())[:300] or type(fault).__name__


@contextmanager
def _quietly() -> Iterator[None]:
    """Without torch's remarks, and of a block that fails without what it printed: torch prints whole graphs."""
    # Below "torch", loggers have levels of their own; what all of them write goes through its handlers.
    remarking: tuple[logging.Logger | logging.Handler, ...] = (
        logging.getLogger("torch.onnx"),
        *logging.getLogger("torch").handlers,
    )
    before = [one.level for one in remarking]
    for one in remarking:
        one.setLevel(logging.ERROR)
    out, err = StringIO(), StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
        sys.stdout.write(out.getvalue())
        sys.stderr.write(err.getvalue())
    finally:
        for one, level in zip(remarking, before, strict=True):
            one.setLevel(level)
