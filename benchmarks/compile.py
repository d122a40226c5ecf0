"""Load times of compiled variants against their originals, which are optimised whenever they load; answers are equal.

A load is `Session.open`: reading, hashing and mapping the artifact, and making the session, in a process in which ONNX
Runtime has started already, from a warm page cache, on one thread, with weights pre-packed as ONNX Runtime does by
default. The outsider's way stands beside it: an `onnxruntime.InferenceSession` from the plain .onnx file, which hashes
nothing. The four ways take turns, and answer all held-out rows; every answer must be within 1e-5 of the outsider's.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.harness import Row, interleaved, interval, run
from examples.diabetes.build import TASK as DIABETES
from examples.diabetes.build import build as build_diabetes
from examples.digits import data
from examples.digits.build import TASK as DIGITS
from examples.digits.build import build as build_digits
from optimizer.artifact import Optimise, make_artifact
from optimizer.generate.compile_ import best_level, compile_
from optimizer.generate.generated import Parent
from registry.blobs.files import Files
from registry.isa import PORTABLE
from registry.model import Task
from runtime import ort
from runtime.session import Session

TOLERANCE = 1e-5
"""Of the largest answer where that is beyond one, as a patient's progression is (25 to 346), and absolute elsewhere."""

EPOCHS = 5
"""Enough for the convolutional network to tell digits apart: answers of an untrained one are nearly the same."""

Arrays = Mapping[str, NDArray[Any]]


class Subject(NamedTuple):
    """One model of an example, and rows that it never saw."""

    example: str
    path: Path
    task: Task
    inputs: Arrays


class Way(NamedTuple):
    """One way to load it."""

    load: Callable[[], Any]
    answer: Callable[[Any], Arrays]
    close: Callable[[Any], None]


def rows(quick: bool) -> list[Row]:
    """One row per model of the examples, and for a convolutional network where torch is at hand."""
    ort.start()
    with tempfile.TemporaryDirectory(prefix="compile-") as folder:
        return [_row(subject, Files(Path(folder, "blobs")), 15 if quick else 41) for subject in _subjects(Path(folder))]


def _subjects(folder: Path) -> Iterator[Subject]:
    for task, build in ((DIGITS, build_digits), (DIABETES, build_diabetes)):
        name = task.name
        build(folder / name)
        with np.load(folder / name / "eval.npz") as held_out:
            inputs = {spec.name: held_out[spec.name] for spec in task.inputs}
        if task is DIGITS and importlib.util.find_spec("torch") is not None:
            (folder / name / "cnn.onnx").write_bytes(convolutional())
        for path in sorted((folder / name).glob("*.onnx"), key=lambda path: path.stat().st_size):
            yield Subject(name, path, task, inputs)


def convolutional() -> bytes:
    """A convolutional network that reads the digits, trained with torch and exported as registering would."""
    import torch
    from torch import nn

    from optimizer.sources.convert import convert

    class Reader(nn.Module):  # type: ignore[misc] # torch is its users' own, and its types with it
        def __init__(self) -> None:
            super().__init__()
            body = (nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU())
            head = (nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 16, 128), nn.ReLU(), nn.Linear(128, 10))
            self.layers = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *body, *head)

        def forward(self, image: Any) -> Any:
            scores = self.layers(image / 16)
            return {"label": scores.argmax(-1), "probabilities": scores.softmax(-1)}

    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows, model = data.load(), Reader()
    images, labels = torch.from_numpy(rows.train), torch.from_numpy(rows.train_labels)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        order: Any = torch.randperm(len(images))
        for batch in order.split(64):
            optimiser.zero_grad()
            loss: Any = nn.functional.cross_entropy(model.layers(images[batch] / 16), labels[batch])
            loss.backward()
            optimiser.step()
    return convert(model, rows.train).onnx


def _row(subject: Subject, blobs: Files, repeats: int) -> Row:
    ways = ways_of(subject, blobs)
    largest = max_diff({name: _answers(way) for name, way in ways.items()})
    assert largest <= TOLERANCE, f"{subject.path.stem} differs by {largest}"
    samples = interleaved({name: partial(_load_ms, way) for name, way in ways.items()}, repeats)
    ratio, low, high = _ratio(samples, "compiled")
    medians = {name: interval(samples[name])[0] if name in samples else None for name in (*WAYS, "native")}
    return {
        "example": subject.example,
        "model": subject.path.stem,
        "model_mb": round(subject.path.stat().st_size / 1e6, 3),
        **{f"{name}_load_ms": ms for name, ms in medians.items()},
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
        "native_ratio": _ratio(samples, "native")[0] if "native" in samples else None,
        "max_diff": largest,
        "repeats": repeats,
    }


WAYS = ("onnxruntime", "original", "compiled")
"""The ways that every model has; some have a `native` one beside."""


def ways_of(subject: Subject, blobs: Files) -> dict[str, Way]:
    """The ways to load a model, the outsider's first."""
    model = subject.path.read_bytes()
    parent = Parent(subject.path.stem, model, subject.task)
    level = best_level("compile", model)
    artifacts = {
        "original": make_artifact(model, blobs, optimise=Optimise.AT_LOAD),
        "compiled": make_artifact(compile_.generate(parent, {}).model, blobs, optimise=Optimise.NEVER),
    }
    if level != PORTABLE:
        native = compile_.generate(parent, {"level": level}).model
        artifacts["native"] = make_artifact(native, blobs, optimise=Optimise.NEVER)
    ours = {name: _ours(blobs, digest, subject.inputs) for name, digest in artifacts.items()}
    return {"onnxruntime": _outsiders(subject), **ours}


def _ours(blobs: Files, digest: str, inputs: Arrays) -> Way:
    return Way(
        lambda: Session.open(blobs, digest, threads=1, prepack=True),
        lambda session: session.run(inputs),
        Session.close,
    )


def _outsiders(subject: Subject) -> Way:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4

    def load() -> Any:
        return onnxruntime.InferenceSession(str(subject.path), options, providers=["CPUExecutionProvider"])

    def answer(session: Any) -> Arrays:
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(subject.inputs)), strict=True))

    return Way(load, answer, lambda session: None)


def _answers(way: Way) -> Arrays:
    session = way.load()
    try:
        return way.answer(session)
    finally:
        way.close(session)


def _load_ms(way: Way) -> float:
    began = time.perf_counter()
    session = way.load()
    took = (time.perf_counter() - began) * 1e3
    way.close(session)
    return took


def _ratio(samples: Mapping[str, Sequence[float]], name: str) -> tuple[float, float, float]:
    """How many times as long the original takes, turn by turn: the median and its interval."""
    return interval([a / b for a, b in zip(samples["original"], samples[name], strict=True)])


def max_diff(answers: Mapping[str, Arrays]) -> float:
    """The largest difference from the outsider's answers; labels must be the same ones."""
    expected, largest = answers["onnxruntime"], 0.0
    for way, got in answers.items():
        for name, right in expected.items():
            if right.dtype.kind != "f":
                np.testing.assert_array_equal(got[name], right, err_msg=f"{way}: {name}")
                continue
            scale = max(1.0, float(np.abs(right).max()))
            difference = float(np.abs(got[name] - right).max()) / scale
            # The largest of a number and NaN is the number.
            assert np.isfinite(difference), f"{way}: {name} is not finite"
            largest = max(largest, difference)
    return largest


if __name__ == "__main__":
    raise SystemExit(run("compile", rows))
