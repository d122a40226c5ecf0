"""Six variants of one task whose cost spans 50× and more, each with its accuracy on rows it never saw; seeded.

Random convolutional features (Saxe et al., ICML 2011) under a ridge classifier read scikit-learn's digits, with noise
on them, as without it the small ones read them all but as well: more filters cost more and err less. Convolutions are
bound by arithmetic, so that threads and batches gain what they gain in image models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from examples.digits import data

NOISE = 4.0
"""Standard deviation of what is added to pixels from 0 to 16."""

COPIES = 3
"""Times that each row is learnt from, with noise of its own."""

FILTERS = (16, 32, 96, 512, 1536, 4096)
"""Of the second layer, by variant, small to large: the larger ones have those of the smaller ones, too."""

FIRST = 32
"""Filters of the first layer."""

RIDGE = 3e-4
"""Of the mean squared norm of a feature row."""

CACHE = Path(".cache/benchmarks/ladder")


@dataclass(frozen=True, slots=True)
class Made:
    """A variant, and its accuracy on the held-out rows."""

    name: str
    path: Path
    accuracy: float


def ladder(cache: Path = CACHE) -> list[Made]:
    """The variants, most accurate first; made at the first call, which takes some seconds, and kept in `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    digits = data.load()
    made = [_variant(filters, digits, cache / f"conv-{filters}.onnx") for filters in FILTERS]
    return sorted(made, key=lambda variant: -variant.accuracy)


def inputs() -> NDArray[np.float32]:
    """The held-out rows with their noise, [540, 64]."""
    return _noisy(data.load().held_out, seed=0)


def _noisy(rows: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(0.0, NOISE, rows.shape)
    return np.clip(rows + noise, 0.0, 16.0).astype(np.float32)


def _variant(filters: int, digits: data.Digits, path: Path) -> Made:
    if not path.exists():
        weights = _weights(filters)
        rows = np.vstack([_noisy(digits.train, seed) for seed in range(1, COPIES + 1)])
        features = _run(_model(weights, None), rows)
        head = _ridge(features, np.tile(digits.train_labels, COPIES))
        temporary = path.with_suffix(".partial")
        temporary.write_bytes(_model(weights, head))
        temporary.rename(path)
    labels = _run(path.read_bytes(), inputs())
    return Made(path.stem, path, float(np.mean(labels == digits.held_out_labels)))


def _weights(filters: int) -> Sequence[NDArray[np.float32]]:
    draw = np.random.default_rng(1)
    first = draw.normal(size=(FIRST, 1, 3, 3)) / 3
    second = draw.normal(size=(FILTERS[-1], FIRST, 3, 3))[:filters] / (9 * FIRST) ** 0.5
    return first.astype(np.float32), second.astype(np.float32)


def _ridge(features: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """The weights [features + 1, 10] of a classifier by least squares, solved over rows, which are fewer."""
    rows = np.hstack([features, np.ones((len(features), 1), np.float32)]).astype(np.float64)
    targets = np.eye(10)[labels] * 2 - 1
    kernel = rows @ rows.T
    kernel[np.diag_indices_from(kernel)] += RIDGE * np.mean(np.diag(kernel))
    weights: NDArray[np.float32] = (rows.T @ np.linalg.solve(kernel, targets)).astype(np.float32)
    return weights


def _model(weights: Sequence[NDArray[np.float32]], head: NDArray[np.float32] | None) -> bytes:
    """The graph from `image` [-1, 64] to `features` [-1, n] or, with a head, to `label` [-1]."""
    tensors = [numpy_helper.from_array(tensor, f"w{i}") for i, tensor in enumerate(weights)]
    tensors += [numpy_helper.from_array(np.array([-1, 1, 8, 8]), "image_shape")]
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Reshape", ["image", "image_shape"], ["pixels"]),
        helper.make_node("Conv", ["pixels", "w0"], ["h0"], **pads),
        helper.make_node("Relu", ["h0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1"], ["h1"], **pads),
        helper.make_node("Relu", ["h1"], ["r1"]),
        helper.make_node("AveragePool", ["r1"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
    ]
    output = helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 4 * len(weights[1])])
    if head is not None:
        tensors += [numpy_helper.from_array(head[:-1], "head"), numpy_helper.from_array(head[-1], "bias")]
        nodes += [
            helper.make_node("Gemm", ["features", "head", "bias"], ["scores"]),
            helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
        ]
        output = helper.make_tensor_value_info("label", TensorProto.INT64, [None])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [None, 64])
    graph = helper.make_graph(nodes, "conv", [image], [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def _run(model: bytes, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    parts = [session.run(None, {"image": rows[at : at + 64]})[0] for at in range(0, len(rows), 64)]
    joined: NDArray[np.float32] = np.concatenate(parts)
    return joined
