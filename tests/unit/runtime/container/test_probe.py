"""Trying models out: requests share runs only where rows keep to themselves, and run right either way."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pytest
from onnx import TensorProto

from runtime.container.loaded import Loaded, Traits
from runtime.container.opening import signature_of
from runtime.container.probe import _trials, try_out
from runtime.errors import ExecutionFailed
from runtime.ort import OrtSession
from runtime.tensor import MAX_ELEMENTS


def load(graph: bytes, folder: Path) -> Loaded:
    session = OrtSession(graph, str(folder), threads=1, prepack=True, optimised=False)
    return Loaded(session, signature_of(session), private_mb=0.0)


def test_rows_that_keep_to_themselves_share_runs(graphs: Any, tmp_path: Path) -> None:
    traits = try_out(load(graphs.scaled(2.0), tmp_path), max_batch=16, declared=False)

    assert (traits.max_batch, traits.aligned) == (16, True)
    assert [rows for rows, _, _ in traits.service][:2] == [1, 2]
    assert all(0 < median <= worst for _, median, worst in traits.service)


def test_rows_that_depend_on_one_another_never_do(graphs: Any, tmp_path: Path) -> None:
    traits = try_out(load(graphs.centred(), tmp_path), max_batch=16, declared=True)

    assert traits.max_batch == 1
    assert [rows for rows, _, _ in traits.service] == [1]


def test_a_fixed_first_extent_is_no_batch(graphs: Any, tmp_path: Path) -> None:
    graph = graphs.echoed(TensorProto.FLOAT, [1, 3])
    assert try_out(load(graph, tmp_path), max_batch=16, declared=False).max_batch == 1


class Watched(Loaded):
    """Keeps how large each of its runs was."""

    ran: list[int]

    @classmethod
    def of(cls, loaded: Loaded) -> Self:
        watched = cls(loaded.session, loaded.signature, private_mb=0.0)
        watched.ran = []
        return watched


class Slow(Watched):
    """Says of each run that it takes a second, and keeps how many rows it had."""

    def run(self, inputs: Any, rows: Any) -> Any:
        self.ran.append(sum(rows))
        return super().run(inputs, rows)[0], 1.0

    def run_alone(self, inputs: Any) -> Any:
        self.ran.append(len(inputs["x"]))
        return super().run_alone(inputs)


def test_what_is_slow_is_measured_with_two_runs(graphs: Any, tmp_path: Path) -> None:
    slow = Slow.of(load(graphs.scaled(2.0), tmp_path))
    assert try_out(slow, max_batch=16, declared=True).service == ((1, 1.0, 1.0),)
    assert slow.ran == [3, 1, 1, 1, 3, 1, 1]


def test_what_shares_no_runs_and_was_measured_before_is_only_looked_at(graphs: Any, tmp_path: Path) -> None:
    slow = Slow.of(load(graphs.scaled(2.0), tmp_path))
    assert try_out(slow, max_batch=1, declared=True, timed=False) == Traits(1, aligned=True)
    assert slow.ran == [3, 1]


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT16])
def test_every_kind_of_tensor_is_tried(graphs: Any, tmp_path: Path, kind: int) -> None:
    loaded = load(graphs.echoed(kind, ["n", "m"]), tmp_path)
    assert try_out(loaded, max_batch=16, declared=False).max_batch == 16


class Sized(Watched):
    """Keeps how many elements each of its inputs had, and fails the first time."""

    def run_alone(self, inputs: Any) -> Any:
        self.ran.append(inputs["x"].size)
        if len(self.ran) == 1:
            raise ExecutionFailed("these extents do not fit")
        return super().run_alone(inputs)


def test_nothing_larger_than_a_request_may_be_is_tried(graphs: Any, tmp_path: Path) -> None:
    # Four axes of any extent: of 32 each they are three million elements, of 224 each seven billion.
    sized = Sized.of(load(graphs.echoed(TensorProto.INT8, ["n", "a", "b", "c", "d"]), tmp_path))

    assert try_out(sized, max_batch=16, declared=False).max_batch == 16
    assert sized.ran[:2] == [3 * 8**4, 3 * 32**4]
    assert max(sized.ran) <= MAX_ELEMENTS

    tried = [next(iter(rows.values())).shape for rows in _trials(sized)]
    assert tried == [(3, 8, 8, 8, 8), (3, 32, 32, 32, 32), (3, 1, 1, 1, 1)]


@pytest.mark.parametrize("declared", [True, False])
def test_what_cannot_be_tried_shares_runs_only_if_that_was_declared(
    graphs: Any, tmp_path: Path, declared: bool
) -> None:
    loaded = load(graphs.scaled(1.0), tmp_path)
    loaded.run_alone = _fails  # type: ignore[method-assign]

    assert try_out(loaded, max_batch=16, declared=declared) == Traits(16 if declared else 1)


def _fails(inputs: Any) -> Any:
    raise ExecutionFailed("no such index")
