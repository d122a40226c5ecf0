"""scikit-learn's estimators answer as ONNX what they answer themselves, boosters inside them included."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from optimizer.errors import NotConvertible
from optimizer.sources import convert
from registry.errors import InvalidValue

CLASSIFIERS = [
    LogisticRegression(max_iter=30),
    VotingClassifier(
        [("a", LogisticRegression(max_iter=30)), ("b", xgboost.XGBClassifier(n_estimators=2))], voting="soft"
    ),
    make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)),
    HistGradientBoostingClassifier(max_iter=2, max_leaf_nodes=5),
    StackingClassifier([("forest", RandomForestClassifier(3, random_state=0))], LogisticRegression(max_iter=30), cv=2),
    lightgbm.LGBMClassifier(n_estimators=3, verbose=-1),
    make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(n_estimators=3, verbose=-1)),
    xgboost.XGBClassifier(n_estimators=3),
    make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=3)),
]

REGRESSORS = [
    LinearRegression(),
    HistGradientBoostingRegressor(max_iter=5, max_leaf_nodes=5),
    lightgbm.LGBMRegressor(n_estimators=5, verbose=-1),
    xgboost.XGBRegressor(n_estimators=5),
]


def name(estimator: Any) -> str:
    return "+".join(type(step).__name__ for step in getattr(estimator, "named_steps", {0: estimator}).values())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=name)
def test_a_classifier_gives_the_labels_and_probabilities_that_it_gives(
    estimator: Any, dtype: type, digits: Any, run: Any
) -> None:
    X, y = digits[0].astype(dtype), digits[1]
    estimator.fit(X, y)
    outputs = run(convert(estimator, X))

    assert list(outputs) == ["label", "probabilities"]
    np.testing.assert_array_equal(outputs["label"], estimator.predict(X))
    np.testing.assert_allclose(outputs["probabilities"], estimator.predict_proba(X), atol=2e-6)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("estimator", REGRESSORS, ids=name)
def test_a_regressor_gives_its_values(estimator: Any, diabetes: Any, run: Any) -> None:
    X, y = diabetes
    frame = pd.DataFrame(X, columns=[f"measure {i}" for i in range(X.shape[1])])
    estimator.fit(frame, y)
    # The columns in another order are the same rows.
    converted = convert(estimator, frame[frame.columns[::-1]])

    assert {k: v.shape for k, v in converted.rows.items()} == {"X": X.shape}
    np.testing.assert_allclose(run(converted)["value"][:, 0], estimator.predict(frame), rtol=1e-6)


def test_several_values_stay_several(diabetes: Any, run: Any) -> None:
    X, y = diabetes
    estimator = LinearRegression().fit(X, np.column_stack([y, -y]))

    np.testing.assert_allclose(run(convert(estimator, X))["value"], estimator.predict(X), rtol=1e-5)


def test_the_bytes_are_the_same_each_time(digits: Any) -> None:
    estimator = make_pipeline(StandardScaler(), RidgeClassifier()).fit(*digits)
    first, again = (convert(estimator, digits[0]).onnx for _ in range(2))
    assert first == again


@pytest.fixture(scope="module")
def people() -> tuple[pd.DataFrame, Any]:
    i = np.arange(90)
    frame = pd.DataFrame({"age": i % 7 * 1.5, "town": np.array(["Bonn", "Köln", "Ulm"])[i % 3], "visits": i % 5})
    return frame, np.where(i % 7 > 3, "yes", "no")


def test_columns_that_are_picked_by_name_are_inputs_of_their_own(people: Any, run: Any) -> None:
    frame, y = people
    columns = ColumnTransformer([("town", OneHotEncoder(), ["town"]), ("numbers", StandardScaler(), ["age", "visits"])])
    estimator = make_pipeline(columns, RandomForestClassifier(5, random_state=0)).fit(frame, y)
    converted = convert(estimator, frame)
    outputs = run(converted)

    assert {k: v.shape for k, v in converted.rows.items()} == dict.fromkeys(frame.columns, (90, 1))
    assert converted.classes == ("no", "yes")
    assert [str(label) for label in outputs["label"]] == list(estimator.predict(frame))
    np.testing.assert_allclose(outputs["probabilities"], estimator.predict_proba(frame), atol=1e-6)


def test_whole_numbers_that_are_picked_together_with_fractions_are_fractions(people: Any, run: Any) -> None:
    frame, y = people
    frame = frame.assign(age=frame["age"].where(frame["age"] > 0))
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = [("numbers", numbers, ["age", "visits"]), ("codes", OneHotEncoder(), ["visits", "town"])]
    estimator = make_pipeline(ColumnTransformer(columns), LogisticRegression()).fit(frame, y)
    outputs = run(convert(estimator, frame))

    assert [str(label) for label in outputs["label"]] == list(estimator.predict(frame))
    np.testing.assert_allclose(outputs["probabilities"], estimator.predict_proba(frame), atol=1e-5)


def test_columns_of_numbers_are_one_matrix_where_nobody_picks_them(people: Any, run: Any) -> None:
    frame, y = people
    estimator = RandomForestClassifier(5, random_state=0).fit(frame[["age", "visits"]], y)
    converted = convert(estimator, frame[["visits", "age"]])

    assert list(converted.rows) == ["X"]
    expected = estimator.predict(frame[["age", "visits"]])
    assert [str(label) for label in run(converted)["label"]] == list(expected)


def test_a_column_that_was_not_there_is_named(people: Any) -> None:
    frame, y = people
    estimator = RandomForestClassifier(2).fit(frame[["age", "visits"]], y)
    with pytest.raises(InvalidValue, match=r"has the columns \['age'\], and .* fitted on \['age', 'visits'\]"):
        convert(estimator, frame[["age"]])


def test_texts_are_strings_of_any_locale(run: Any) -> None:
    texts = np.array(["Good morning", "good night", "Bad luck", "bad weather"] * 5)
    y = np.array([1, 1, 0, 0] * 5)
    estimator = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, y)

    np.testing.assert_array_equal(run(convert(estimator, texts))["label"], y)


def test_whole_numbers_that_fp32_cannot_hold_stay_whole(run: Any) -> None:
    X = np.array([[1 << 24, 0], [(1 << 24) + 1, 0]] * 10)
    y = np.array([0, 1] * 10)
    converted = convert(LogisticRegression().fit(X, y), X)
    assert run(converted)["label"].shape == (20,)
    assert b"X" in converted.onnx
    assert converted.rows["X"].dtype == np.int64


def test_a_transformer_keeps_the_name_value(digits: Any, run: Any) -> None:
    X, _ = digits
    estimator = PCA(4, random_state=0).fit(X)

    np.testing.assert_allclose(run(convert(estimator, X))["value"], estimator.transform(X), atol=1e-3)


@pytest.mark.parametrize("estimator", [LinearSVC(), make_pipeline(StandardScaler(), LinearSVC())], ids=name)
def test_a_classifier_without_probabilities_gives_labels(estimator: Any, digits: Any, run: Any) -> None:
    X, y = digits
    estimator.fit(X, y)

    np.testing.assert_array_equal(run(convert(estimator, X))["label"], estimator.predict(X))


def test_an_estimator_that_is_not_fitted_says_so(digits: Any) -> None:
    with pytest.raises(NotConvertible, match=r"RidgeClassifier: is not fitted; call its fit"):
        convert(RidgeClassifier(), digits[0])


def test_an_estimator_without_a_converter_says_so(digits: Any) -> None:
    class Mine(LogisticRegression):  # type: ignore[misc]
        pass

    with pytest.raises(NotConvertible, match=r"Mine: scikit-learn's converter failed: .*; convert it to ONNX yourself"):
        convert(Mine(max_iter=500).fit(*digits), digits[0])


@pytest.mark.parametrize("kind", [RandomForestClassifier, KNeighborsClassifier])
def test_several_labels_with_probabilities_of_their_own_are_refused_with_a_way_out(kind: Any) -> None:
    X = np.random.default_rng(0).normal(size=(40, 3))
    with pytest.raises(
        NotConvertible, match=r"gives 2 labels for each row, .*; fit one estimator for each column of y"
    ):
        convert(make_pipeline(StandardScaler(), kind()).fit(X, X[:, :2] > 0), X)
