"""Models in memory: rows of several requests in one run, each given its own, whatever the buffers hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from runtime.container.loaded import MOST_BOUND, Loaded, Traits
from runtime.container.opening import signature_of
from runtime.container.probe import try_out
from runtime.container.signature import Port, Signature
from runtime.errors import ExecutionFailed
from runtime.ort import OrtSession


def load(graph: bytes, folder: Path) -> Loaded:
    session = OrtSession(graph, str(folder), threads=1, prepack=True, optimised=False)
    return Loaded(session, signature_of(session), private_mb=0.0)


def test_rows_run_together_give_what_each_gives_alone(graphs: Any, tmp_path: Path) -> None:
    w = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    loaded = load(graphs.linear(w), tmp_path)
    loaded.adopt(try_out(loaded, max_batch=16, declared=False))
    requests = [{"x": np.random.default_rng(i).normal(size=(n, 4)).astype(np.float32)} for i, n in enumerate((1, 3, 2))]

    together, took = loaded.run(requests, [1, 3, 2])

    assert took > 0
    for request, outputs in zip(requests, together, strict=True):
        alone, _ = loaded.run([request], [len(request["x"])])
        np.testing.assert_allclose(outputs["y"], alone[0]["y"], rtol=1e-6)
        np.testing.assert_allclose(outputs["y"], request["x"] @ w, rtol=1e-5, atol=1e-6)


def test_answers_are_kept_when_buffers_are_used_again(graphs: Any, tmp_path: Path) -> None:
    loaded = load(graphs.scaled(2.0), tmp_path)
    loaded.adopt(try_out(loaded, max_batch=16, declared=False))
    ones, twos = np.ones((1, 4), np.float32), np.full((5, 4), 2, np.float32)

    (first,), _ = loaded.run([{"x": ones}], [1])
    (second,), _ = loaded.run([{"x": twos}], [5])

    np.testing.assert_array_equal(first["y"], 2 * ones)
    np.testing.assert_array_equal(second["y"], 2 * twos)


def test_more_rows_than_a_buffer_holds_run_all_the_same(
    graphs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.container.loaded.BENCH_BYTES", 200)
    loaded = load(graphs.scaled(2.0), tmp_path)
    loaded.adopt(try_out(loaded, max_batch=64, declared=False))
    x = np.arange(400, dtype=np.float32).reshape(100, 4)

    (outputs,), _ = loaded.run([{"x": x}], [100])

    np.testing.assert_array_equal(outputs["y"], 2 * x)


def test_only_so_many_numbers_of_rows_are_remembered(graphs: Any, tmp_path: Path) -> None:
    loaded = load(graphs.scaled(2.0), tmp_path)
    loaded.adopt(Traits(64, aligned=True))
    x = np.arange(4 * 300, dtype=np.float32).reshape(300, 4)
    for rows in (*range(300, 0, -1), 300):
        (outputs,), _ = loaded.run([{"x": x[:rows]}], [rows])
        np.testing.assert_array_equal(outputs["y"], 2 * x[:rows])
    (bench,) = loaded._benches
    assert len(bench._bound) == MOST_BOUND


def test_texts_run_together(graphs: Any, tmp_path: Path) -> None:
    loaded = load(graphs.echoed(TensorProto.STRING, ["n", 1]), tmp_path)
    loaded.adopt(try_out(loaded, max_batch=16, declared=False))
    first, second = np.array([[b"a"]], object), np.array([[b"b"], [b"c"]], object)

    together, _ = loaded.run([{"x": first}, {"x": second}], [1, 2])

    assert [outputs["y"].tolist() for outputs in together] == [[[b"a"]], [[b"b"], [b"c"]]]


def test_a_graph_that_is_wrong_about_its_outputs_runs_all_the_same(graphs: Any, tmp_path: Path) -> None:
    loaded = load(graphs.scaled(2.0), tmp_path)
    loaded.adopt(Traits(16, aligned=True))
    lie = Signature(loaded.signature.inputs, [Port("y", "FP32", (-1, 3))])
    wrong = Loaded(loaded.session, lie, private_mb=0.0)
    wrong.adopt(Traits(16, aligned=True))

    (outputs,), _ = wrong.run([{"x": np.ones((1, 4), np.float32)}], [1])

    np.testing.assert_array_equal(outputs["y"], np.full((1, 4), 2, np.float32))
    assert not wrong.traits.aligned


def test_inputs_that_fail_fail_again(graphs: Any, tmp_path: Path) -> None:
    loaded = load(graphs.picked(), tmp_path)
    loaded.adopt(try_out(loaded, max_batch=16, declared=False))
    assert loaded.traits.max_batch == 16

    with pytest.raises(ExecutionFailed, match="out of data bounds"):
        loaded.run([{"x": np.array([1])}, {"x": np.array([9])}], [1, 1])
    (outputs,), _ = loaded.run([{"x": np.array([1])}], [1])
    np.testing.assert_array_equal(outputs["y"], [[3, 4]])
