"""Estimators become ONNX variants that answer as the estimator does, in a folder that can be registered."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from examples import export, folder
from examples.diabetes import data as diabetes
from examples.diabetes.build import TASK as DIABETES
from examples.diabetes.variants import candidates as diabetes_candidates
from examples.digits import data as digits
from examples.digits.build import TASK as DIGITS
from examples.digits.variants import LARGEST
from examples.digits.variants import candidates as digits_candidates
from examples.training import Candidate, derive, train
from optimizer.evaluation import load_evaluation
from optimizer.progress import Steps
from registry.manifest import load
from registry.model import Recipe
from registry.prices import local_tiers


def session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options)


def test_classifiers_answer_as_the_estimator_does() -> None:
    loaded = digits.load()
    estimator = make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=300)).fit(loaded.train, loaded.train_labels)
    label, probabilities = session(export.classifier(estimator, 64, 10, input_name="image")).run(
        ["label", "probabilities"], {"image": loaded.held_out}
    )
    np.testing.assert_array_equal(label, estimator.predict(loaded.held_out))
    np.testing.assert_allclose(probabilities, estimator.predict_proba(loaded.held_out), atol=1e-4)
    assert (label.dtype, probabilities.dtype, probabilities.shape) == (np.int64, np.float32, (540, 10))


def test_regressors_answer_as_the_estimator_does() -> None:
    loaded = diabetes.load()
    estimator = Ridge(alpha=0.05).fit(loaded.train, loaded.train_values)
    (value,) = session(export.regressor(estimator, 10, input_name="features")).run(None, {"features": loaded.held_out})
    np.testing.assert_allclose(value.ravel(), estimator.predict(loaded.held_out), rtol=1e-4)
    assert (value.dtype, value.shape) == (np.float32, (142, 1))


def test_a_folder_is_a_manifest_that_loads(tmp_path: Path) -> None:
    loaded = diabetes.load()
    rows = (loaded.train, loaded.train_values)
    estimators = [Candidate("ridge", "linear", Ridge()), Candidate("flat", "linear", Ridge(alpha=10), augmented=True)]
    made = train(estimators, rows, rows, lambda estimator: export.regressor(estimator, 10, input_name="features"))
    seen: list[str] = []
    held_out = {"features": loaded.held_out, "value": loaded.held_out_values}
    path = folder.write(tmp_path / "new", DIABETES, held_out, made, Steps(lambda what, *_: seen.append(what)))
    manifest = load(path)
    assert manifest.task == DIABETES
    assert manifest.tiers == local_tiers()
    assert [(v.name, v.recipe) for v in manifest.variants] == [
        ("ridge", Recipe("train", parameters=(("augmented", "false"), ("family", "linear")))),
        ("flat", Recipe("train", parameters=(("augmented", "true"), ("family", "linear")))),
    ]
    assert load_evaluation(manifest.evaluation, manifest.task).rows == 142
    assert seen == ["ridge trained", "flat trained"]


def test_a_derived_variant_names_its_parent() -> None:
    loaded = digits.load()
    rows = (loaded.train[:200], loaded.train_labels[:200])
    small = [c for c in digits_candidates() if c.name == "mlp-32"]
    (parent,) = train(small, rows, rows, lambda e: export.classifier(e, 64, 10, input_name="image"))
    child = derive(DIGITS, parent, "int8", "mlp-32-int8")
    assert (child.recipe.generator, child.recipe.parent) == ("int8", "mlp-32")
    assert session(child.model).get_outputs()[0].name == "label"


@pytest.mark.parametrize("candidates", [digits_candidates, diabetes_candidates])
def test_variants_are_of_many_kinds(candidates: object) -> None:
    listed = candidates()  # type: ignore[operator]
    assert len({c.name for c in listed}) == len(listed) >= 8
    assert {c.family for c in listed} == {"linear", "forest", "boosted trees", "kernel machine", "mlp"}


def test_the_largest_is_one_of_them() -> None:
    assert LARGEST in {c.name for c in digits_candidates()}
    assert DIGITS.classes == tuple("0123456789")


def test_the_bytes_are_the_same_in_every_process(tmp_path: Path) -> None:
    script = (
        "import hashlib, sys\n"
        "from sklearn.ensemble import RandomForestRegressor\n"
        "from examples import export\n"
        "from examples.diabetes import data\n"
        "loaded = data.load()\n"
        "forest = RandomForestRegressor(3, random_state=0).fit(loaded.train, loaded.train_values)\n"
        "model = export.regressor(forest, 10, input_name='features')\n"
        "sys.stdout.write(hashlib.sha256(model).hexdigest())\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[3],
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1
