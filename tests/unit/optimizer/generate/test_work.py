"""Multiply-adds of graphs whose sums can be done by hand."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from optimizer.generate.work import VISIT, multiply_adds

X, Y = load_iris(return_X_y=True)


def test_each_weight_of_a_network_counts_once(model: bytes) -> None:
    assert multiply_adds(onnx.load_from_string(model)) == 8 * 512 + 512 * 512 + 512


def test_a_convolution_is_moved_over_its_output() -> None:
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3])],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros((4, 2, 3, 3), np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert multiply_adds(model) == 4 * 2 * 9 * 36


def test_trees_are_worth_their_visits() -> None:
    forest = RandomForestClassifier(7, max_depth=2, random_state=0).fit(X, Y)
    leaves = sum(tree.get_n_leaves() for tree in forest.estimators_) / 7
    assert 2 < leaves <= 4
    assert multiply_adds(to_onnx(forest, X[:1].astype(np.float32), options={"zipmap": False})) == VISIT * 7 * 3


def test_coefficients_in_attributes_count() -> None:
    linear = to_onnx(LogisticRegression(max_iter=1000).fit(X, Y), X[:1].astype(np.float32), options={"zipmap": False})
    assert 12 <= multiply_adds(linear) <= 20
