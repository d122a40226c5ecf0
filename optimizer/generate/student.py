"""One hidden layer, trained on a teacher's answers and written as ONNX with the teacher's signature."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from optimizer.generate.heads import Labels, Scores
from registry.model import TensorSpec

Matrix = NDArray[Any]

BUDGET = 20_000_000_000
"""Multiply-adds of one training: about three seconds on one core, where 256 units took 0.13 ns for each."""

EPOCHS = (10, 100)
"""At least, and at most: of the digits' teachers, students after 300 agreed no better than after 100."""

SEED = 0
BATCH_ROWS = 128
RATE = 0.003
"""Of Adam; three times scikit-learn's default, as epochs are few."""

ONNX_TYPES = {
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "BOOL": TensorProto.BOOL,
}


class Student:
    """A trained network: weights of two layers, with what standardises its inputs and scales its outputs in them."""

    def __init__(self, rows: Matrix, targets: Matrix, width: int) -> None:
        """Learn `targets` [rows, outputs] from `rows` [rows, columns]; the same weights every time."""
        # Imported here: it takes half a second, and only training needs it.
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
        from sklearn.neural_network import MLPRegressor  # noqa: PLC0415
        from threadpoolctl import threadpool_limits  # noqa: PLC0415

        self.mean, spread = rows.mean(axis=0), _spread(rows)
        middle, scale = targets.mean(axis=0), _spread(targets)
        network = MLPRegressor(
            hidden_layer_sizes=(width,),
            learning_rate_init=RATE,
            batch_size=min(BATCH_ROWS, len(rows)),
            max_iter=_epochs(rows.shape, width, targets.shape[1]),
            n_iter_no_change=EPOCHS[1],
            random_state=SEED,
        )
        # On one thread: the sums, and so the weights, are those of any machine.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is a choice here
            wanted = ((targets - middle) / scale).astype(np.float32)
            network.fit(
                ((rows - self.mean) / spread).astype(np.float32), wanted[:, 0] if wanted.shape[1] == 1 else wanted
            )
        (first, second), (bias, last) = network.coefs_, network.intercepts_
        self.weights = (first / spread[:, None], bias, second * scale, last * scale + middle)


def export(
    student: Student,
    parent: GraphProto,
    inputs: Sequence[TensorSpec],
    scores: Sequence[Scores],
    labels: Sequence[Labels],
) -> ModelProto:
    """The student as a model with the inputs and outputs of `parent`, opset 18."""
    parts = _Parts()
    rows = _flattened(parts, inputs)
    centred = parts.node("Sub", rows, parts.constant("mean", student.mean))
    w1, b1, w2, b2 = (
        parts.constant(name, w) for name, w in zip(("w1", "b1", "w2", "b2"), student.weights, strict=True)
    )
    out = parts.node("Gemm", parts.node("Relu", parts.node("Gemm", centred, w1, b1)), w2, b2)
    columns = dict(zip((s.spec.name for s in scores), _split(parts, out, scores), strict=True))
    derived = {label.spec.name: label for label in labels}
    for each in scores:
        if each.spec.name not in derived:
            _give_scores(parts, each, columns[each.spec.name])
    for label in labels:
        _give_label(parts, label, columns[label.scores])
    weights = {tensor.name for tensor in parent.initializer}
    graph = helper.make_graph(
        parts.nodes,
        "student",
        [value for value in parent.input if value.name not in weights],
        list(parent.output),
        parts.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


class _Parts:
    """Nodes and constants of a graph as they are added, each under a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, values: Any) -> str:
        """A constant; floats become FP32."""
        array = np.asarray(values)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        full = f"student/{name}"
        tensor = (
            helper.make_tensor(full, TensorProto.STRING, array.shape, array.tolist())
            if array.dtype == object
            else numpy_helper.from_array(array, full)
        )
        self.constants.append(tensor)
        return full

    def node(self, operator: str, *inputs: str, called: str = "", **attributes: Any) -> str:
        """A node with one output, of the name `called` where that is given."""
        output = called or f"student/{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output


def _flattened(parts: _Parts, inputs: Sequence[TensorSpec]) -> str:
    flat = []
    for spec in inputs:
        name = spec.name if spec.datatype == "FP32" else parts.node("Cast", spec.name, to=TensorProto.FLOAT)
        flat.append(name if len(spec.shape) == 2 else parts.node("Flatten", name, axis=1))
    return flat[0] if len(flat) == 1 else parts.node("Concat", *flat, axis=1)


def _split(parts: _Parts, out: str, scores: Sequence[Scores]) -> list[str]:
    if len(scores) == 1:
        return [out]
    names = [f"student/columns{i}" for i in range(len(scores))]
    sizes = parts.constant("sizes", np.array([s.targets.shape[1] for s in scores], np.int64))
    parts.nodes.append(helper.make_node("Split", [out, sizes], names, axis=1))
    return names


def _give_scores(parts: _Parts, scores: Scores, columns: str) -> None:
    spec, name = scores.spec, columns
    if scores.probabilities:
        name = parts.node("Softmax", name, axis=1)
    if len(spec.shape) != 2:
        name = parts.node("Reshape", name, parts.constant(f"shape of {spec.name}", np.array(spec.shape, np.int64)))
    _give(parts, name, spec)


def _give_label(parts: _Parts, label: Labels, columns: str) -> None:
    top = parts.node("ArgMax", columns, axis=1, keepdims=len(label.spec.shape) - 1)
    table = parts.constant(f"labels of {label.spec.name}", label.labels)
    _give(parts, parts.node("Gather", table, top), label.spec)


def _give(parts: _Parts, name: str, spec: TensorSpec) -> None:
    if spec.datatype in ("FP32", "INT64", "BYTES"):
        parts.node("Identity", name, called=spec.name)
    else:
        parts.nodes.append(helper.make_node("Cast", [name], [spec.name], to=ONNX_TYPES[spec.datatype]))


def _spread(columns: Matrix) -> Matrix:
    spread: Matrix = columns.std(axis=0)
    return np.where(spread > 0, spread, 1.0)


def _epochs(shape: tuple[int, ...], width: int, outputs: int) -> int:
    # Forward, backward for the weights, and backward for the hidden layer: three times the forward pass.
    each = 3 * shape[0] * width * (shape[1] + outputs)
    return int(np.clip(BUDGET // each, *EPOCHS))
