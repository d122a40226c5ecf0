"""Graphs for one batch size answer every smaller batch as their parent does, or are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from optimizer.errors import GenerationFailed
from optimizer.generate.batch import batch
from optimizer.generate.compile_ import best_level
from optimizer.generate.generated import Parent
from optimizer.generate.table import GENERATORS
from registry.isa import PORTABLE
from registry.model import Recipe, Task, TensorSpec, TierKind

Answer = Callable[..., dict[str, Any]]

COLUMNS = 6


@pytest.fixture
def task() -> Task:
    return Task("t", (TensorSpec("x", "FP32", (-1, COLUMNS)),), (TensorSpec("y", "FP32", (-1, COLUMNS)),), "rmse_skill")


def graph(
    *nodes: Any, opset: int = 18, rows: int | str = "n", kind: int = TensorProto.FLOAT, weights: Any = ()
) -> bytes:
    """A model from `x` to `y`, each [rows, COLUMNS]."""
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        list(nodes), "g", [value("x", kind, [rows, COLUMNS])], [value("y", kind, [rows, COLUMNS])], list(weights)
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def traced(steps: int = 5) -> bytes:
    """What tracing exporters write for `x = (x + torch.full(x.shape, i)) @ w`, over and over."""
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(COLUMNS, COLUMNS)).astype(np.float32), "w")
    nodes: list[Any] = []
    for i in range(steps):
        last, following = f"x{i}" if i else "x", f"x{i + 1}" if i < steps - 1 else "y"
        value = numpy_helper.from_array(np.array([i / 4], np.float32))
        nodes += [
            helper.make_node("Shape", [last], [f"s{i}"]),
            helper.make_node("ConstantOfShape", [f"s{i}"], [f"c{i}"], value=value),
            helper.make_node("Add", [last, f"c{i}"], [f"a{i}"]),
            helper.make_node("MatMul", [f"a{i}", "w"], [f"m{i}"]),
            helper.make_node("Tanh", [f"m{i}"], [following]),
        ]
    return graph(*nodes, weights=[weight])


def rows(count: int, seed: int = 0) -> dict[str, Any]:
    return {"x": np.random.default_rng(seed).normal(size=(count, COLUMNS)).astype(np.float32)}


@pytest.mark.parametrize("size", [1, 2, 8])
def test_every_smaller_batch_is_answered(task: Task, answer: Answer, size: int) -> None:
    parent = Parent("net", traced(), task)

    made = batch.generate(parent, {"rows": str(size)})

    assert made.max_batch == size
    for count in range(1, size + 1):
        expected, got = answer(parent.model, rows(count))["y"], answer(made.model, rows(count), final=True)["y"]
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_shapes_are_known_and_no_longer_computed(task: Task) -> None:
    made = batch.generate(Parent("net", traced(), task), {"rows": "1"})
    operators = {node.op_type for node in onnx.load_from_string(made.model).graph.node}
    assert operators <= {"Add", "MatMul", "Tanh"}

    made = batch.generate(Parent("net", traced(), task), {"rows": "8"})
    padded = [node.op_type for node in onnx.load_from_string(made.model).graph.node]
    assert padded.count("Shape") == 1
    assert "ConstantOfShape" not in padded


def test_more_rows_are_an_error_and_never_a_part_of_the_answer(task: Task, answer: Answer) -> None:
    for size in (1, 4):
        made = batch.generate(Parent("net", traced(), task), {"rows": str(size)})
        with pytest.raises(Exception, match=r"INVALID_ARGUMENT|out of data bounds"):
            answer(made.model, rows(size + 1), final=True)


def test_it_is_final_and_says_how_it_was_made(task: Task) -> None:
    parent = Parent("net", traced(), task)

    made = batch.generate(parent, {"rows": "8"})

    assert made.recipe == Recipe("batch", "net", (("level", PORTABLE), ("rows", "8")))
    assert (made.optimised, made.kinds) == (True, None)
    assert made.model == batch.generate(parent, {"rows": "8"}).model


def test_only_what_shortens_the_graph_is_proposed(task: Task, model: bytes) -> None:
    assert batch.propose(Parent("net", traced(), task)) == (
        ("batch-1", {"rows": "1", "level": PORTABLE}),
        ("batch-8", {"rows": "8", "level": PORTABLE}),
    )
    # One row needs no padding, which takes more nodes than a single step loses.
    assert [name for name, _ in batch.propose(Parent("net", traced(1), task))] == ["batch-1"]
    with pytest.raises(GenerationFailed, match="no shape is computed in this graph"):
        batch.propose(Parent("dense", model, task))


def test_a_convolution_keeps_the_layout_of_its_parent(convnet: bytes, digit: Task, answer: Answer) -> None:
    level = best_level("batch", convnet)

    made = batch.generate(Parent("net", convnet, digit), {"rows": "2", "level": level})

    image = np.random.default_rng(1).uniform(0, 1, (2, 64)).astype(np.float32)
    expected, got = answer(convnet, {"image": image}), answer(made.model, {"image": image}, final=True)
    np.testing.assert_allclose(got["probabilities"], expected["probabilities"], atol=1e-5)
    if level != PORTABLE:
        assert made.kinds == {TierKind.INLINE, TierKind.PROCESS, TierKind.CONTAINER}
        assert any("nchwc" in node.domain for node in onnx.load_from_string(made.model).graph.node)


def test_shapes_that_the_runtime_folds_itself_pay_nothing(convnet: bytes, digit: Task) -> None:
    with pytest.raises(GenerationFailed, match="leaves no fewer nodes"):
        batch.propose(Parent("net", convnet, digit))


def mixing() -> bytes:
    """Every row less the mean of all rows."""
    mean = helper.make_node("ReduceMean", ["x", "axis"], ["m"], keepdims=1)
    axis = numpy_helper.from_array(np.array([0]), "axis")
    return graph(mean, helper.make_node("Sub", ["x", "m"], ["y"]), weights=[axis])


def test_rows_that_depend_on_each_other_are_refused(task: Task) -> None:
    with pytest.raises(GenerationFailed, match="rows depend on each other"):
        batch.generate(Parent("mean", mixing(), task), {"rows": "4"})
    # On its own, a row is its own mean, whatever the size.
    batch.generate(Parent("mean", mixing(), task), {"rows": "1"})


def test_a_branch_may_read_what_is_outside(task: Task, answer: Answer) -> None:
    def branch(name: str, operator: str) -> Any:
        node = helper.make_node(operator, ["x", "w"], [name])
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])

    source = graph(
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "ten"], ["high"]),
        helper.make_node("If", ["high"], ["y"], then_branch=branch("less", "Sub"), else_branch=branch("more", "Add")),
        weights=[
            numpy_helper.from_array(np.arange(COLUMNS, dtype=np.float32), "w"),
            numpy_helper.from_array(np.float32(10), "ten"),
        ],
    )

    made = batch.generate(Parent("branch", source, task), {"rows": "4"})

    for inputs in (rows(3), {"x": rows(3)["x"] + 20}):
        np.testing.assert_array_equal(answer(made.model, inputs, final=True)["y"], answer(source, inputs)["y"])


def test_strings_are_padded_too(answer: Answer) -> None:
    words = Task(
        "w", (TensorSpec("x", "BYTES", (-1, COLUMNS)),), (TensorSpec("y", "BYTES", (-1, COLUMNS)),), "accuracy"
    )
    source = graph(helper.make_node("Identity", ["x"], ["y"]), kind=TensorProto.STRING)

    made = batch.generate(Parent("words", source, words), {"rows": "4"})

    given = np.array([[f"{i}{j}" for j in range(COLUMNS)] for i in range(3)], dtype=object)
    np.testing.assert_array_equal(answer(made.model, {"x": given}, final=True)["y"], given)


def test_calibration_rows_are_compared_where_there_are_any(task: Task) -> None:
    """A single row is enough: it is compared in every number."""
    batch.generate(Parent("net", traced(), task, rows(1)), {"rows": "4"})


@pytest.mark.parametrize(
    "parameters", [{"rows": "0"}, {"rows": "257"}, {"rows": "all"}, {"rows": "-1"}, {"size": "4"}, {"rows": "½"}]
)
def test_other_parameters_are_refused(task: Task, parameters: dict[str, str]) -> None:
    with pytest.raises(GenerationFailed, match=r"are not rows=1\.\.256 and level"):
        batch.generate(Parent("net", traced(), task), parameters)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"nonsense", "not ONNX"),
        (graph(helper.make_node("Relu", ["x"], ["y"]), rows=4), "'x' has no batch of variable extent"),
        (graph(helper.make_node("Relu", ["x"], ["y"]), opset=11), "opset 12; this model has 11"),
    ],
)
def test_models_that_cannot_be_specialised(task: Task, source: bytes, reason: str) -> None:
    with pytest.raises(GenerationFailed, match=reason):
        batch.generate(Parent("net", source, task), {"rows": "4"})


def test_a_graph_with_other_inputs_is_refused(digit: Task) -> None:
    with pytest.raises(GenerationFailed, match=r"inputs are not \['image'\], the task's"):
        batch.generate(Parent("net", traced(), digit), {"rows": "4"})


def test_it_hopes_for_a_little_less_time(task: Task) -> None:
    assert batch.expect(Parent("net", traced(), task), {}).latency == 0.87


def test_the_table_names_it() -> None:
    assert GENERATORS["batch"] is batch
