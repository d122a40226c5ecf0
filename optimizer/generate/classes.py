"""Lists of labels that a classifier's graph holds; says nothing of which output they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, TensorProto, numpy_helper

Labels = NDArray[Any]

ATTRIBUTES = frozenset(
    {"classlabels_int64s", "classlabels_ints", "classlabels_strings", "keys_int64s", "values_int64s", "values_strings"}
)
"""What operators of ai.onnx.ml call theirs: classifiers, and LabelEncoder's two columns."""


def class_lists(graph: GraphProto) -> list[Labels]:
    """Every list in the main graph that may be one of labels, by class: int64, or object arrays of `bytes`."""
    lists = [
        _strings(attribute.strings) if attribute.strings else np.array(attribute.ints, np.int64)
        for node in graph.node
        for attribute in node.attribute
        if attribute.name in ATTRIBUTES
    ]
    for tensor in graph.initializer:
        if len(tensor.dims) == 1 and tensor.data_type == TensorProto.STRING:
            lists.append(_strings(tensor.string_data))
        elif len(tensor.dims) == 1 and tensor.data_type in (TensorProto.INT64, TensorProto.INT32):
            lists.append(numpy_helper.to_array(tensor).astype(np.int64))
    return lists


def _strings(values: Any) -> Labels:
    labels = np.empty(len(values), dtype=object)
    labels[:] = list(values)
    return labels
