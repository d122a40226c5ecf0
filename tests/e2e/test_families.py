"""One registration of one model yields a family, and whatever is in it or was left out is explained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import modelless
from examples.digits import data
from optimizer.register import Registered
from registry.catalogue import Catalogue
from registry.lineage import Outcome
from registry.stores.sqlite import SqliteStore
from scheduler.frontier import frontier

TIERS = ("inline", "process-1769")

LEAST = 6
"""Variants that were made and measured, published or dropped with the numbers that say why."""


@pytest.fixture(scope="module")
def digits() -> data.Digits:
    return data.load()


@contextmanager
def opened(home: Path) -> Iterator[Catalogue]:
    store = SqliteStore(home / "catalogue.db")
    try:
        yield store.load()
    finally:
        store.close()


def check_explained(done: Registered, home: Path) -> None:
    """Every variant is on the frontier or it is said why not, everything tried has its reason; six were measured."""
    with opened(home) as catalogue:
        points = frontier(done.task.name, catalogue)
        tried = catalogue.tried_of(done.task.name)
    shown = {point.placement.variant for point in points}
    assert shown == {variant.id for variant in done.variants}
    for point in points:
        assert point.reason
        assert point.dominated == bool(point.dominated_by)
    assert any(not point.dominated for point in points)
    assert {attempt.id for attempt in tried} == {attempt.id for attempt in done.tried}
    for attempt in tried:
        assert attempt.reason
        assert attempt.numbers or attempt.outcome is not Outcome.DROPPED
    measured = len(shown) + sum(attempt.outcome is Outcome.DROPPED for attempt in tried)
    assert measured >= LEAST, (sorted(shown), [(a.id, a.reason) for a in tried])
    for variant in done.variants:
        assert variant.accuracy.low < variant.accuracy.high  # measured, with an interval


def test_a_pipeline_of_scikit_learn(digits: data.Digits, tmp_path: Path) -> None:
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(60, random_state=0, n_jobs=1))
    pipeline.fit(digits.train, digits.train_labels)
    done = modelless.register(
        "digits", pipeline, digits.held_out, digits.held_out_labels, tiers=TIERS, home=tmp_path, quick=True
    )

    check_explained(done, tmp_path)
    original = next(variant for variant in done.variants if variant.recipe.generator == "convert")
    # Judged on what calibration left over, so within what one row is worth of the forest's own score on all.
    own = pipeline.score(digits.held_out, digits.held_out_labels)
    assert original.accuracy.low <= own <= original.accuracy.high
    assert any(variant.recipe.generator == "trees" for variant in done.variants)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_network_of_pytorch_exported_to_onnx(digits: data.Digits, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    model = tmp_path / "cnn.onnx"
    model.write_bytes(exported_cnn(torch, digits))
    images = (digits.held_out / 16).reshape(-1, 1, 8, 8)
    done = modelless.register(
        "digits", model, images, digits.held_out_labels, tiers=TIERS, home=tmp_path / "home", quick=True
    )

    check_explained(done, tmp_path / "home")
    assert done.task.judged == "label"
    assert max(variant.accuracy.value for variant in done.variants) > 0.9


def exported_cnn(torch: Any, digits: data.Digits) -> bytes:
    """A small convolutional network, trained for a second, as its maker would export it."""
    torch.manual_seed(0)
    nn = torch.nn
    network = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
    images = torch.from_numpy((digits.train / 16).astype(np.float32).reshape(-1, 1, 8, 8))
    labels = torch.from_numpy(digits.train_labels)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    with threadpool_limits(1):
        for _ in range(4):
            for rows in torch.randperm(len(images)).split(64):
                optimiser.zero_grad()
                nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
                optimiser.step()
    program = torch.onnx.export(
        network.eval(),
        (images[:2],),
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("n")},),
        dynamo=True,
        verbose=False,
    )
    return bytes(program.model_proto.SerializeToString())
