"""LightGBM's and XGBoost's Boosters answer as ONNX what they answer themselves."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost

from optimizer.errors import NotConvertible
from optimizer.sources import convert, libraries

QUIET = {"verbose": -1, "num_threads": 1}


def test_a_lightgbm_booster_of_classes(digits: Any, run: Any) -> None:
    X, y = digits
    booster = lightgbm.train({"objective": "multiclass", "num_class": 10, **QUIET}, lightgbm.Dataset(X, y), 3)
    outputs = run(convert(booster, X))

    np.testing.assert_allclose(outputs["probabilities"], booster.predict(X), atol=1e-6)
    np.testing.assert_array_equal(outputs["label"], booster.predict(X).argmax(axis=1))


def test_a_lightgbm_booster_of_numbers(diabetes: Any, run: Any) -> None:
    X, y = diabetes
    booster = lightgbm.train({"objective": "regression", **QUIET}, lightgbm.Dataset(X, y), 5)

    np.testing.assert_allclose(run(convert(booster, X))["value"][:, 0], booster.predict(X), rtol=1e-6)


def test_an_xgboost_booster_of_two_classes(digits: Any, run: Any) -> None:
    X, y = digits[0], digits[1] % 2
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X, y), 3)
    outputs = run(convert(booster, X))

    np.testing.assert_allclose(outputs["probabilities"][:, 1], booster.predict(xgboost.DMatrix(X)), atol=1e-6)


def test_an_xgboost_booster_keeps_the_names_of_its_features(diabetes: Any, run: Any) -> None:
    X, y = diabetes
    frame = pd.DataFrame(X, columns=[f"measure {i}" for i in range(X.shape[1])])
    booster = xgboost.train({}, xgboost.DMatrix(frame, y), 5)
    outputs = run(convert(booster, frame))

    assert booster.feature_names == list(frame.columns)
    np.testing.assert_allclose(outputs["value"][:, 0], booster.predict(xgboost.DMatrix(frame)), rtol=1e-6)


@pytest.mark.parametrize("kind", [lightgbm.LGBMRanker, xgboost.XGBRanker])
def test_rankers_give_their_scores(kind: Any, diabetes: Any, run: Any) -> None:
    X, y = diabetes
    options = QUIET if kind is lightgbm.LGBMRanker else {}
    ranker = kind(n_estimators=3, **options).fit(X, (y // 100).astype(int), group=[len(X)])

    np.testing.assert_allclose(run(convert(ranker, X))["value"][:, 0], ranker.predict(X), atol=1e-6)


def test_without_onnxmltools_it_says_what_to_install(diabetes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> None:
        raise ModuleNotFoundError(name=module)

    booster = lightgbm.train(QUIET, lightgbm.Dataset(*diabetes), 2)
    monkeypatch.setattr(libraries.importlib, "import_module", missing)
    with pytest.raises(NotConvertible, match=r"converted by onnxmltools, .*; run `pip install onnxmltools`"):
        convert(booster, diabetes[0])
