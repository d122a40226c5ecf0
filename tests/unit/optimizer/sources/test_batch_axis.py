"""A fixed number of rows is freed where no answer changes by it, and refused otherwise."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from optimizer.signature import infer
from optimizer.sources.batch_axis import Probe, fixed_rows, freed
from registry.errors import InvalidValue

ROWS = {"x": np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)}


def parsed(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')


@pytest.mark.parametrize("fixed", [1, 4])
def test_a_graph_for_one_number_of_rows_runs_on_any(fixed: int) -> None:
    model = parsed(f"g (float[{fixed}, 2] x) => (float[{fixed}, 2] y) {{ h = Relu(x)  y = Softmax(h) }}")
    assert fixed_rows(model) == fixed
    free = freed(model, ROWS)

    assert fixed_rows(onnx.load_from_string(free)) is None
    assert Probe(free).run(ROWS, 7)["y"].shape == (7, 2)
    assert infer(model.SerializeToString(), ROWS).inputs[0].shape == (-1, 2)


@pytest.mark.parametrize("fixed", [1, 4])
def test_a_reshape_to_that_number_of_rows_is_freed_too(fixed: int) -> None:
    shapes = f"<int64[2] flat = {{{fixed}, 4}}>"
    model = parsed(f"g (float[{fixed}, 2, 2] x) => (float[{fixed}, 4] y) {shapes} {{ y = Reshape(x, flat) }}")
    constant = parsed(
        f"g (float[{fixed}, 2, 2] x) => (float[{fixed}, 4] y)"
        f" {{ flat = Constant<value = int64[2] {{{fixed}, 4}}>()  y = Reshape(x, flat) }}"
    )
    rows = {"x": np.arange(24, dtype=np.float32).reshape(6, 2, 2)}
    for either in (model, constant):
        assert Probe(freed(either, rows)).run(rows, 6)["y"].tolist() == rows["x"].reshape(6, 4).tolist()


def test_a_number_of_rows_inside_the_graph_is_refused() -> None:
    head = "g (float[1, 2] x) => (float[1, 2] y) <int64[1] axes = {0}, int64[1] first = {0}, int64[1] one = {1}>"
    model = parsed(f"{head} {{ y = Slice(x, first, one, axes) }}")
    with pytest.raises(InvalidValue, match=r"model: takes 1 rows at a time and no others"):
        freed(model, ROWS)


def test_rows_that_would_mix_are_refused() -> None:
    model = parsed("g (float[2, 2] x) => (float[2, 2] y) { y = Softmax<axis = 0>(x) }")
    with pytest.raises(InvalidValue, match="takes 2 rows at a time and no others: with 1, 'y' changes"):
        freed(model, ROWS)


def test_an_output_that_is_declared_wrongly_is_freed_too() -> None:
    model = parsed("g (float[n, 2] x) => (float[1, 2] y) { y = Relu(x) }")
    (output,) = onnx.load_from_string(freed(model, ROWS)).graph.output
    assert output.type.tensor_type.shape.dim[0].dim_param == "batch"
