"""Sessions bound to memory, what they say of themselves, and execution providers that are not to be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from runtime.errors import ExecutionFailed, NoProvider
from runtime.ort import OrtSession, Span, _config, check_providers


def open_session(graph: bytes, folder: Path, **options: Any) -> OrtSession:
    return OrtSession(graph, str(folder), threads=1, prepack=True, optimised=False, **options)


def span(name: str, array: NDArray[Any], /, **changes: Any) -> Span:
    return Span(name, "FP32", array.shape, array.ctypes.data, array.nbytes)._replace(**changes)


def test_a_bound_run_reads_and_writes_in_place(graphs: Any, tmp_path: Path) -> None:
    session = open_session(graphs.scaled(3.0), tmp_path)
    x, y = np.ones((2, 4), np.float32), np.zeros((2, 4), np.float32)
    bound = session.bind([span("x", x)], [span("y", y)])

    for factor in (1.0, 2.0):
        x[:] = factor
        bound.run()
        np.testing.assert_array_equal(y, 3 * x)
    bound.close()
    bound.close()


def test_a_session_is_bound_for_several_shapes_at_once(graphs: Any, tmp_path: Path) -> None:
    session = open_session(graphs.scaled(3.0), tmp_path)
    x, y = np.arange(12, dtype=np.float32).reshape(3, 4), np.zeros((3, 4), np.float32)
    one, three = (session.bind([span("x", x[:n])], [span("y", y[:n])]) for n in (1, 3))

    one.run()
    np.testing.assert_array_equal(y, [3 * x[0], [0] * 4, [0] * 4])
    three.run()
    np.testing.assert_array_equal(y, 3 * x)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [({"name": "z"}, "Invalid input name: z"), ({"shape": (1, 3), "size": 12}, "Got: 3 Expected: 4")],
)
def test_a_bound_run_that_cannot_be_says_why(graphs: Any, tmp_path: Path, wrong: dict[str, Any], reason: str) -> None:
    session = open_session(graphs.scaled(3.0), tmp_path)
    x, y = np.ones((1, 4), np.float32), np.zeros((1, 4), np.float32)
    with pytest.raises(ExecutionFailed, match=reason):
        session.bind([span("x", x, **wrong)], [span("y", y)]).run()


def test_a_span_that_is_too_small_cannot_be_bound(graphs: Any, tmp_path: Path) -> None:
    session = open_session(graphs.scaled(3.0), tmp_path)
    x, y = np.ones((1, 4), np.float32), np.zeros((1, 4), np.float32)
    with pytest.raises(ExecutionFailed):
        session.bind([span("x", x, size=8)], [span("y", y)])


@pytest.mark.parametrize(("threads", "spins"), [(1, b"0"), (4, b"1")])
def test_threads_spin_from_node_to_node_and_not_for_long_after_a_run(threads: int, spins: bytes) -> None:
    configured = dict(_config("", True, threads))
    assert configured[b"session.intra_op.allow_spinning"] == spins
    assert 0 < int(configured[b"session.intra_op.spin_duration_us"]) <= 1000


@pytest.mark.parametrize("threads", [2, 3])
def test_a_session_on_several_threads_answers_as_one_on_one(graphs: Any, tmp_path: Path, threads: int) -> None:
    session = OrtSession(graphs.scaled(3.0), str(tmp_path), threads=threads, prepack=True, optimised=False)
    x, y = np.arange(8, dtype=np.float32).reshape(2, 4), np.zeros((2, 4), np.float32)
    session.bind([span("x", x)], [span("y", y)]).run()
    np.testing.assert_array_equal(y, 3 * x)


def test_inputs_and_outputs_as_the_graph_tells_them(graphs: Any, tmp_path: Path) -> None:
    session = open_session(graphs.echoed(TensorProto.INT64, ["n", 3, "m"]), tmp_path)
    assert session.inputs == {"x": ("INT64", (-1, 3, -1))}
    assert session.describe_outputs() == {"y": ("INT64", (-1, 3, -1))}


def test_the_cpu_is_always_to_be_had(graphs: Any, tmp_path: Path) -> None:
    check_providers(["CPU"])
    assert open_session(graphs.scaled(1.0), tmp_path, providers=["CPU"]).outputs == ["y"]


@pytest.mark.parametrize(
    ("provider", "message"),
    [("CUDA", "was built without CUDA; install onnxruntime-gpu"), ("TPU", "'TPU' is unknown; use CUDA or CPU")],
)
def test_a_provider_that_is_not_to_be_had_is_said_so(provider: str, message: str) -> None:
    with pytest.raises(NoProvider, match=message):
        check_providers([provider, "CPU"])


def test_a_session_on_a_provider_that_is_not_to_be_had_is_refused(graphs: Any, tmp_path: Path) -> None:
    with pytest.raises(NoProvider, match="CUDA cannot be used here: CUDA execution provider is not enabled"):
        open_session(graphs.scaled(1.0), tmp_path, providers=["CUDA", "CPU"])
