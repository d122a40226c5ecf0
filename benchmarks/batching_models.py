"""The models of the batching benchmark, from no work to milliseconds; made once, and loaded as the container does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from examples import export
from examples.digits import data
from examples.digits.variants import candidates
from examples.training import Candidate, train
from runtime.container.loaded import Loaded
from runtime.container.opening import signature_of
from runtime.container.probe import try_out
from runtime.ort import OrtSession
from scheduler.work import Ladder, Rung

CACHE = Path(".cache/benchmarks/batching")

OF_DIGITS = {"linear": "logistic", "forest": "forest-200", "kernel_machine": "svm-shifted"}
"""Model to the digits' variant that it is."""

MLP, NO_OP = "mlp", "no_op"

LAYERS = (4096, 2048)
"""Of the MLP, 35 MB of weights: a row takes as long as reading them, and 64 take more than 10 ms, which is what a core
can spend on one run with 20 ms to each deadline. No variant of the digits is as slow."""

MOST_ROWS = 64
"""As the container has it where nothing else is said."""

SIZES, RUNS = (1, 8, 32, MOST_ROWS), 7
"""Of the runs that are timed alone."""

RTOL, ATOL = 1e-4, 1e-5
"""How near an answer is to the row's own: a batch sums floats in another order than a row alone."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is ready to run on one thread, the rows that are asked of it, and what it answers to each alone."""

    name: str
    loaded: Loaded
    rows: Sequence[NDArray[np.float32]]
    """Each [1, 64]."""
    alone: Sequence[dict[str, NDArray[Any]]]

    def ladder(self) -> Ladder:
        """The model as a station is offered it: one variant, with what trying it out told."""
        traits = self.loaded.traits
        return Ladder(self.name, (Rung(self.name, 1.0, traits.max_batch, {1: traits.service}),))

    def most_rps(self) -> float:
        """Rows a second of its runs alone, one after another, at the best of some sizes; measured now."""
        return max(size / self._run_s(size) for size in SIZES)

    def _run_s(self, size: int) -> float:
        inputs = [{"image": row} for row in self.rows[:size]]
        return median(self.loaded.run(inputs, [1] * size)[1] for _ in range(RUNS))

    def check(self, answers: Sequence[tuple[int, dict[str, NDArray[Any]]]]) -> None:
        """Raises AssertionError unless each (row's number, outputs) is what the model gives to that row alone."""
        for name in self.alone[0]:
            got = np.concatenate([outputs[name] for _, outputs in answers])
            wanted = np.concatenate([self.alone[i][name] for i, _ in answers])
            if got.dtype.kind == "f":
                right = np.isclose(got, wanted, rtol=RTOL, atol=ATOL).reshape(len(got), -1).all(axis=1)
            else:
                right = (got == wanted).reshape(len(got), -1).all(axis=1)
            assert right.all(), f"{self.name}: {name} of row {answers[int(np.argmin(right))][0]} is another than alone"


@contextmanager
def subjects(names: Sequence[str], cache: Path = CACHE) -> Iterator[list[Subject]]:
    """The models of these names, loaded; those that are not in `cache` are made, which takes half a minute for all."""
    rows = [row[np.newaxis] for row in data.load().held_out]
    opened = [_loaded(_made(name, cache)) for name in names]
    try:
        yield [
            Subject(name, loaded, rows, [_one(loaded, row) for row in rows])
            for name, loaded in zip(names, opened, strict=True)
        ]
    finally:
        for loaded in opened:
            loaded.close()


def _one(loaded: Loaded, row: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    return loaded.run([{"image": row}], [1])[0][0]


def _loaded(path: Path) -> Loaded:
    session = OrtSession(path.read_bytes(), "", threads=1, prepack=True, optimised=False)
    loaded = Loaded(session, signature_of(session), private_mb=0.0)
    loaded.adopt(try_out(loaded, max_batch=MOST_ROWS, declared=False))
    return loaded


def _made(name: str, cache: Path) -> Path:
    path = cache / f"{_source(name)}.onnx"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".partial")
        temporary.write_bytes(_no_op() if name == NO_OP else _trained(_candidate(name)))
        temporary.rename(path)
    return path


def _source(name: str) -> str:
    """What a model is made from, so that another one is made where that changes."""
    return "mlp-" + "x".join(map(str, LAYERS)) if name == MLP else OF_DIGITS.get(name, name)


def _candidate(name: str) -> Candidate:
    if name == MLP:
        # One epoch: how well it reads is not measured here.
        return Candidate(MLP, "mlp", make_pipeline(MinMaxScaler(), MLPClassifier(LAYERS, max_iter=1, random_state=0)))
    return next(each for each in candidates() if each.name == OF_DIGITS[name])


def _trained(candidate: Candidate) -> bytes:
    digits = data.load()
    plain = digits.train, digits.train_labels
    [made] = train(
        [candidate],
        plain,
        data.shifted(*plain),
        lambda estimator: export.classifier(estimator, 64, 10, input_name="image"),
    )
    return made.model


def _no_op() -> bytes:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 64]) for name in ("image", "same")]
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["same"])], NO_OP, ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
