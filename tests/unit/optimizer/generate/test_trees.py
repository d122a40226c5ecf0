"""A shortened ensemble answers as the library's own ensemble of its first rounds does."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from optimizer.errors import GenerationFailed
from optimizer.generate.generated import Parent
from optimizer.generate.running import answers
from optimizer.generate.table import GENERATORS
from optimizer.generate.trees import trees
from registry.model import Recipe, Task, TensorSpec

Data = tuple[NDArray[np.float32], NDArray[Any]]


def _data(load: Any) -> Data:
    x, y = load(return_X_y=True)
    return x.astype(np.float32), y


IRIS, CANCER, DIABETES = _data(load_iris), _data(load_breast_cancer), _data(load_diabetes)


def export(estimator: Any, data: Data) -> bytes:
    classifies = hasattr(estimator, "predict_proba")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bytes(
            convert_sklearn(
                estimator,
                initial_types=[("x", FloatTensorType([None, data[0].shape[1]]))],
                target_opset={"": 18, "ai.onnx.ml": 3},
                options={id(estimator): {"zipmap": False}} if classifies else None,
            ).SerializeToString()
        )


def parent(model: bytes, data: Data, *, calibrated: bool = True) -> Parent:
    columns = data[0].shape[1]
    task = Task("t", (TensorSpec("x", "FP32", (-1, columns)),), (TensorSpec("y", "FP32", (-1, 1)),), "accuracy")
    return Parent("whole", model, task, {"x": data[0]} if calibrated else {})


def shortened(model: bytes, data: Data, percent: int, *, calibrated: bool = True) -> Mapping[str, NDArray[Any]]:
    generated = trees.generate(parent(model, data, calibrated=calibrated), {"percent": str(percent)})
    onnx.checker.check_model(onnx.load_from_string(generated.model))
    return answers("test", generated.model, {"x": data[0]})


@pytest.mark.parametrize("data", [IRIS, CANCER], ids=["three classes", "two classes"])
@pytest.mark.parametrize("percent", [50, 20])
def test_a_forest_is_the_average_of_its_first_trees(data: Data, percent: int) -> None:
    forest = RandomForestClassifier(10, max_depth=5, random_state=0).fit(*data)
    given = shortened(export(forest, data), data, percent)["probabilities"]
    first = np.mean([tree.predict_proba(data[0]) for tree in forest.estimators_[: percent // 10]], axis=0)
    np.testing.assert_allclose(given, first, atol=1e-5)


@pytest.mark.parametrize("data", [IRIS, CANCER], ids=["three classes", "two classes"])
def test_a_forest_of_which_no_leaf_is_sure(data: Data) -> None:
    noise = np.random.default_rng(0)
    unsure = np.where(noise.random(len(data[1])) < 0.8, noise.permutation(data[1]), data[1])
    forest = RandomForestClassifier(10, min_samples_leaf=40, random_state=0).fit(data[0], unsure)
    assert max(tree.predict_proba(data[0]).max() for tree in forest.estimators_) < 0.98
    given = shortened(export(forest, data), data, 50)
    first = np.mean([tree.predict_proba(data[0]) for tree in forest.estimators_[:5]], axis=0)
    np.testing.assert_allclose(given["probabilities"], first, atol=1e-5)
    sure = np.sort(first, axis=1)[:, -1] - np.sort(first, axis=1)[:, -2] > 1e-4
    np.testing.assert_array_equal(given["label"][sure], first.argmax(axis=1)[sure])


@pytest.mark.parametrize("kind", [RandomForestRegressor, ExtraTreesRegressor])
@pytest.mark.parametrize("centred", [False, True])
def test_a_regressing_forest_too_even_around_nothing(kind: Any, centred: bool) -> None:
    x, y = DIABETES
    y = y - y.mean() if centred else y
    forest = kind(12, max_depth=4, random_state=0).fit(x, y)
    given = shortened(export(forest, (x, y)), (x, y), 25)["variable"].ravel()
    np.testing.assert_allclose(given, np.mean([tree.predict(x) for tree in forest.estimators_[:3]], axis=0), rtol=1e-4)


def test_a_forest_with_several_answers() -> None:
    x, y = DIABETES
    forest = RandomForestRegressor(8, max_depth=3, random_state=0).fit(x, np.stack([y, 2 * y], axis=1))
    given = shortened(export(forest, DIABETES), DIABETES, 50)["variable"]
    np.testing.assert_allclose(given, np.mean([t.predict(x) for t in forest.estimators_[:4]], axis=0), rtol=1e-4)


@pytest.mark.parametrize("data", [IRIS, CANCER], ids=["three classes", "two classes"])
def test_a_boosted_model_is_its_first_stages(data: Data) -> None:
    boosted = GradientBoostingClassifier(n_estimators=10, max_depth=2, random_state=0).fit(*data)
    model = export(boosted, data)
    stages = list(boosted.staged_predict_proba(data[0]))
    for percent in (10, 40, 90):
        given = shortened(model, data, percent)["probabilities"]
        np.testing.assert_allclose(given, stages[percent // 10 - 1], atol=1e-5)


@pytest.mark.parametrize("centred", [False, True])
def test_a_boosted_regressor_too(centred: bool) -> None:
    x, y = DIABETES
    y = y - y.mean() if centred else y
    boosted = GradientBoostingRegressor(n_estimators=20, max_depth=2, random_state=0).fit(x, y)
    given = shortened(export(boosted, (x, y)), (x, y), 50)["variable"].ravel()
    np.testing.assert_allclose(given, list(boosted.staged_predict(x))[9], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("objective", ["three classes", "two classes", "regression"])
def test_lightgbm_and_xgboost(objective: str) -> None:
    lightgbm, xgboost = pytest.importorskip("lightgbm"), pytest.importorskip("xgboost")
    tools = pytest.importorskip("onnxmltools")
    from onnxmltools.convert.common.data_types import FloatTensorType as Floats

    x, y = data = {"three classes": IRIS, "two classes": CANCER, "regression": DIABETES}[objective]
    kind, output = ("Regressor", "variable") if objective == "regression" else ("Classifier", "probabilities")
    light = getattr(lightgbm, f"LGBM{kind}")(n_estimators=10, num_leaves=4, verbose=-1, n_jobs=1).fit(x, y)
    extreme = getattr(xgboost, f"XGB{kind}")(n_estimators=10, max_depth=2, n_jobs=1).fit(x, y)
    inputs: list[Any] = [("x", Floats([None, x.shape[1]]))]
    options = {} if objective == "regression" else {"zipmap": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ask = "predict" if objective == "regression" else "predict_proba"
        of_light = getattr(light, ask)(x, num_iteration=5)
        of_extreme = getattr(extreme, ask)(x, iteration_range=(0, 5))
        models = (
            (tools.convert_lightgbm(light, initial_types=inputs, target_opset=15, **options), of_light),
            (tools.convert_xgboost(extreme, initial_types=inputs, target_opset=15), of_extreme),
        )
    for model, expected in models:
        given = shortened(model.SerializeToString(), data, 50)[output]
        np.testing.assert_allclose(given.reshape(expected.shape), expected, rtol=1e-3, atol=1e-4)


def test_lightgbm_forests_are_averages_that_are_divided_behind_the_trees() -> None:
    lightgbm, tools = pytest.importorskip("lightgbm"), pytest.importorskip("onnxmltools")
    from onnxmltools.convert.common.data_types import FloatTensorType as Floats

    x, y = DIABETES
    bagging = {"bagging_freq": 1, "bagging_fraction": 0.6}
    # The converter divides by a hundred, however many there are.
    forest = lightgbm.LGBMRegressor(
        boosting_type="rf", n_estimators=100, num_leaves=8, verbose=-1, n_jobs=1, **bagging
    ).fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = tools.convert_lightgbm(forest, initial_types=[("x", Floats([None, 10]))], target_opset=15)
        expected = forest.predict(x, num_iteration=50)
    given = shortened(model.SerializeToString(), DIABETES, 50)["variable"].ravel()
    np.testing.assert_allclose(given, expected, rtol=1e-3)


def test_inside_a_pipeline_and_without_calibration_rows() -> None:
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(4, random_state=0)).fit(*IRIS)
    given = shortened(export(pipeline, IRIS), IRIS, 50, calibrated=False)["probabilities"]
    scaled = pipeline[0].transform(IRIS[0])
    first = np.mean([tree.predict_proba(scaled) for tree in pipeline[1].estimators_[:2]], axis=0)
    assert np.mean(np.abs(given - first).max(axis=1) < 1e-4) > 0.98  # a row may lie on a threshold, in single precision


def test_every_ensemble_of_a_vote_is_cut() -> None:
    vote = VotingClassifier(
        [
            ("forest", RandomForestClassifier(8, max_depth=3, random_state=0)),
            ("boosted", GradientBoostingClassifier(n_estimators=4, max_depth=2, random_state=0)),
        ],
        voting="soft",
        flatten_transform=False,
    ).fit(*IRIS)
    given = shortened(export(vote, IRIS), IRIS, 50)["probabilities"]
    forest, boosted = vote.estimators_
    first = np.mean([tree.predict_proba(IRIS[0]) for tree in forest.estimators_[:4]], axis=0)
    stage = list(boosted.staged_predict_proba(IRIS[0]))[1]
    np.testing.assert_allclose(given, (first + stage) / 2, atol=1e-5)


def test_averages_that_the_operator_makes_need_no_scaling() -> None:
    forest = RandomForestRegressor(4, max_depth=3, random_state=0).fit(*DIABETES)
    model = onnx.load_from_string(export(forest, DIABETES))
    (node,) = model.graph.node
    weights = next(a for a in node.attribute if a.name == "target_weights")
    weights.floats[:] = [4 * w for w in weights.floats]
    node.attribute.append(helper.make_attribute("aggregate_function", "AVERAGE"))
    given = shortened(model.SerializeToString(), DIABETES, 50)["variable"].ravel()
    first = np.mean([tree.predict(DIABETES[0]) for tree in forest.estimators_[:2]], axis=0)
    np.testing.assert_allclose(given, first, rtol=1e-4)


def test_numbers_kept_as_tensors_are_cut_too() -> None:
    forest = RandomForestClassifier(4, max_depth=3, random_state=0).fit(*IRIS)
    model = onnx.load_from_string(export(forest, IRIS))
    for attribute in model.graph.node[0].attribute:
        if attribute.name in ("class_weights", "nodes_values"):
            values = np.array(attribute.floats, np.float64)
            tensor = numpy_helper.from_array(values, attribute.name)
            attribute.CopyFrom(helper.make_attribute(f"{attribute.name}_as_tensor", tensor))
            assert attribute.type == AttributeProto.TENSOR
        elif attribute.name == "nodes_hitrates":
            attribute.CopyFrom(
                helper.make_attribute(
                    "nodes_hitrates_as_tensor", numpy_helper.from_array(np.array(attribute.floats, np.float64), "h")
                )
            )
    next(opset for opset in model.opset_import if opset.domain == "ai.onnx.ml").version = 3
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.FLOAT
    x = IRIS[0].astype(np.float64)
    generated = trees.generate(Parent("w", model.SerializeToString(), parent(b"", IRIS).task, {"x": x}), {})
    given = answers("test", generated.model, {"x": x})["probabilities"]
    first = np.mean([tree.predict_proba(IRIS[0]) for tree in forest.estimators_[:2]], axis=0)
    np.testing.assert_allclose(given, first, atol=1e-5)


@pytest.fixture(scope="module")
def boosted() -> Parent:
    model = GradientBoostingClassifier(n_estimators=10, max_depth=2, random_state=0).fit(*IRIS)
    return parent(export(model, IRIS), IRIS)


def test_the_recipe_says_how_many_trees_and_can_be_followed_again(boosted: Parent) -> None:
    generated = trees.generate(boosted, {"percent": "20"})
    assert generated.recipe == Recipe("trees", "whole", (("percent", "20"), ("trees", "6")))
    assert trees.generate(boosted, dict(generated.recipe.parameters)).model == generated.model


def test_proposals_leave_a_round_at_least_and_differ(boosted: Parent) -> None:
    assert [name for name, _ in trees.propose(boosted)] == ["trees-50", "trees-25", "trees-10"]
    small = RandomForestClassifier(3, max_depth=2, random_state=0).fit(*IRIS)
    assert trees.propose(parent(export(small, IRIS), IRIS)) == (("trees-50", {"percent": "50"}),)


def test_refining_gives_every_number_of_rounds_once(boosted: Parent) -> None:
    assert trees.refine is not None
    assert [p["percent"] for _, p in trees.refine(boosted)] == [str(p) for p in range(90, 0, -10)]


def test_time_is_expected_to_follow_the_trees(boosted: Parent) -> None:
    assert trees.expect(boosted, {"percent": "50"}).latency == 0.5
    assert trees.expect(boosted, {"percent": "25"}).latency == 0.2  # two rounds of ten


@pytest.mark.parametrize("parameters", [{"percent": "0"}, {"percent": "100"}, {"percent": "x"}, {"depth": "3"}])
def test_unknown_parameters_are_refused(boosted: Parent, parameters: dict[str, str]) -> None:
    with pytest.raises(GenerationFailed, match="from 1 to 99"):
        trees.generate(boosted, parameters)


def test_what_cannot_be_shortened_says_why(boosted: Parent) -> None:
    linear = parent(export(LogisticRegression().fit(*IRIS), IRIS), IRIS)
    for function in (lambda p: trees.generate(p, {}), trees.propose, lambda p: trees.expect(p, {})):
        with pytest.raises(GenerationFailed, match="no tree ensemble"):
            function(linear)
    single = parent(export(DecisionTreeClassifier().fit(*IRIS), IRIS), IRIS)
    with pytest.raises(GenerationFailed, match="more than one round"):
        trees.propose(single)
    with pytest.raises(GenerationFailed, match="less than one"):
        trees.generate(boosted, {"percent": "5"})
    with pytest.raises(GenerationFailed, match="not ONNX"):
        trees.propose(Parent("x", b"nonsense", boosted.task))
    model = onnx.load_from_string(export(RandomForestRegressor(4, max_depth=2).fit(*DIABETES), DIABETES))
    model.graph.node[0].attribute.append(helper.make_attribute("aggregate_function", "MAX"))
    with pytest.raises(GenerationFailed, match="the max of its trees"):
        trees.propose(parent(model.SerializeToString(), DIABETES))


def test_the_newest_operator_is_refused(boosted: Parent) -> None:
    node = helper.make_node("TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1)
    arrays = {
        "tree_roots": [0],
        "nodes_featureids": [0],
        "nodes_truenodeids": [0],
        "nodes_falsenodeids": [1],
        "nodes_trueleafs": [1],
        "nodes_falseleafs": [1],
        "leaf_targetids": [0, 0],
        "nodes_splits": numpy_helper.from_array(np.array([0.5], np.float32)),
        "nodes_modes": numpy_helper.from_array(np.array([0], np.uint8)),
        "leaf_weights": numpy_helper.from_array(np.array([1, 2], np.float32)),
    }
    node.attribute.extend(helper.make_attribute(name, value) for name, value in arrays.items())
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    with pytest.raises(GenerationFailed, match=r"TreeEnsemble of ai\.onnx\.ml 5"):
        trees.propose(Parent("x", model, boosted.task))


def test_the_table_names_it() -> None:
    assert GENERATORS["trees"] is trees
