"""A converter that changes answers is found out before anything is registered."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LinearRegression, LogisticRegression

from optimizer.errors import NotConvertible
from optimizer.signature import Signature, infer
from optimizer.sources import convert
from optimizer.sources.faithful import check_faithful
from registry.errors import InvalidValue


def signature_of(model: Any, X: Any) -> Signature:
    converted = convert(model, X)
    return infer(converted.onnx, converted.rows)


def test_equal_answers_pass(digits: Any, diabetes: Any) -> None:
    X, y = digits
    strings = LogisticRegression(max_iter=500).fit(X, np.array(list("abcdefghij"))[y])
    check_faithful(strings, X, signature_of(strings, X))
    frame = pd.DataFrame(diabetes[0]).rename(columns=str)
    numbers = LinearRegression().fit(frame, diabetes[1])
    check_faithful(numbers, frame, signature_of(numbers, frame))


@pytest.mark.filterwarnings("ignore:`XGBRFClassifier` is deprecated:FutureWarning")
def test_a_forest_of_xgboost_loses_its_classes(digits: Any) -> None:
    X, y = digits
    forest = xgboost.XGBRFClassifier(n_estimators=3).fit(X, y)
    with pytest.raises(
        NotConvertible, match=r"XGBRFClassifier: its converter changes the answers of [789].% of the rows"
    ):
        check_faithful(forest, X, signature_of(forest, X))


def test_probabilities_are_compared_beside_labels(digits: Any) -> None:
    X, y = digits
    # skl2onnx takes a binary discriminant's score for two, and its softmax for the sigmoid: the labels are right.
    binary = LinearDiscriminantAnalysis().fit(X[:, 20:30], y > 4)
    with pytest.raises(NotConvertible, match="changes the probabilities of"):
        check_faithful(binary, X[:, 20:30], signature_of(binary, X[:, 20:30]))
    several = LinearDiscriminantAnalysis().fit(X, y)
    check_faithful(several, X, signature_of(several, X))


def test_boosters_of_lightgbm_are_compared_too(digits: Any, diabetes: Any) -> None:
    quiet = {"verbose": -1, "num_threads": 1}
    X, y = digits
    for booster in (
        lightgbm.train({"objective": "binary", **quiet}, lightgbm.Dataset(X, y > 4), 3),
        lightgbm.train({"objective": "multiclass", "num_class": 10, **quiet}, lightgbm.Dataset(X, y), 3),
    ):
        check_faithful(booster, X, signature_of(booster, X))
    X, y = diabetes
    forest = {"objective": "regression", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6, **quiet}
    summed = lightgbm.train(forest, lightgbm.Dataset(X, y), 10)
    with pytest.raises(NotConvertible, match="changes the answers of 100% of the rows"):
        check_faithful(summed, X, signature_of(summed, X))


def test_other_numbers_are_other_answers(diabetes: Any) -> None:
    X, y = diabetes
    model = LinearRegression().fit(X, y)
    signature = signature_of(model, X)
    model.intercept_ += 50
    with pytest.raises(NotConvertible, match="changes the answers of 100% of the rows"):
        check_faithful(model, X, signature)


def test_rows_that_the_model_itself_refuses_are_named(diabetes: Any) -> None:
    X, y = diabetes
    model = LinearRegression().fit(X, y)
    signature = signature_of(model, X)
    with pytest.raises(InvalidValue, match=r"X: is nothing that the model itself can predict: X has 3 features"):
        check_faithful(model, X[:, :3], signature)
