"""One call from a model to a family that a platform serves, from Python and from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelless
from cli.main import main
from examples.digits import data
from gateway.auth import ANONYMOUS
from gateway.local import Platform
from optimizer.errors import NothingRegistered
from optimizer.sources import convert
from registry.stores.sqlite import SqliteStore


@pytest.fixture(scope="module")
def digits() -> data.Digits:
    return data.load()


@pytest.fixture(scope="module")
def estimator(digits: data.Digits) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(digits.train, digits.train_labels)


async def test_an_estimator_becomes_a_family_that_is_served(
    estimator: Any, digits: data.Digits, tmp_path: Path
) -> None:
    # Within a running loop, as in a notebook.
    done = modelless.register(
        "digits",
        estimator,
        digits.held_out,
        digits.held_out_labels,
        tiers=["inline", "process-1769"],
        generate=["compile", "distill"],
        home=tmp_path,
        quick=True,
    )

    assert done.task.judged == "label"
    assert {placement.tier for placement in done.placements} == {"inline", "process-1769"}
    assert "logistic-regression" in {variant.name for variant in done.variants}
    for tried in done.tried:
        assert tried.reason
    async with Platform.open(tmp_path) as platform:
        rows = digits.held_out[:5].astype(np.float32)
        for hints in ({"objective": "accuracy"}, {"objective": "latency"}):
            answer = await platform.service.predict(ANONYMOUS, "digits", {"X": rows}, hints)
            assert answer.outputs["label"].shape == (5,)


def test_the_command_line_registers_a_file(estimator: Any, digits: data.Digits, tmp_path: Path) -> None:
    model, rows, home = tmp_path / "logistic.onnx", tmp_path / "eval.npz", tmp_path / "home"
    model.write_bytes(convert(estimator, {"pixels": digits.held_out}).onnx)
    np.savez(rows, pixels=digits.held_out, label=digits.held_out_labels)
    said = [
        "--eval",
        str(rows),
        "--tier",
        "inline",
        "--generator",
        "compile",
        "--latency-ms",
        "50",
        "--quick",
        "--json",
    ]
    result = CliRunner().invoke(main, ["register", "digits", str(model), *said, "--home", str(home)])

    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["judged"] == "label"
    assert told["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 64]}]
    made = {variant["id"] for variant in told["variants"]} | {tried["id"] for tried in told["tried"]}
    assert {"digits/logistic", "digits/compile"} <= made
    store = SqliteStore(home / "catalogue.db")
    try:
        catalogue = store.load()
    finally:
        store.close()
    assert catalogue.task("digits").default_slo.latency_ms == 50.0
    assert catalogue.sources["digits"].models[0][0] == "logistic"


def test_a_suspicious_evaluation_is_warned_of(estimator: Any, digits: data.Digits, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="^digits: ") as warned:
        done = modelless.register(
            "digits",
            estimator,
            digits.held_out[:20],
            digits.held_out_labels[:20] + 10,
            tiers="inline",
            generate=False,
            home=tmp_path,
            quick=True,
        )

    assert [str(warning.message) for warning in warned] == [f"digits: {doubt}" for doubt in done.warnings]
    few, foreign, useless = done.warnings
    assert few.startswith("only 20 rows")
    assert "the right answer of 100.0% of the rows" in foreign
    assert "no better than that of always answering" in useless
    assert {warning.filename for warning in warned} == {__file__}


def test_what_cannot_be_measured_publishes_nothing(
    estimator: Any, digits: data.Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import modelless.registering

    async def failing(*_: object, **__: object) -> None:
        raise NothingRegistered(["none"])

    monkeypatch.setattr(modelless.registering, "measured", failing)
    with pytest.raises(NothingRegistered):
        modelless.register("digits", estimator, digits.held_out, digits.held_out_labels, home=tmp_path)
    store = SqliteStore(tmp_path / "catalogue.db")
    try:
        assert store.head() == 0
    finally:
        store.close()
