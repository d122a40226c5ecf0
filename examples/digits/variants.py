"""The estimators that read a digit, from a few kilobytes to seven megabytes; untrained, each with its seed."""

from __future__ import annotations

from typing import Any

from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC

from examples.training import Candidate

LARGEST = "mlp-1536x1024"


def candidates() -> tuple[Candidate, ...]:
    """Every variant to train, small to large; `shifted` ones also learn from images moved by one pixel."""
    return (
        Candidate("logistic", "linear", make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=300))),
        Candidate("forest-16", "forest", RandomForestClassifier(16, max_depth=6, random_state=0)),
        Candidate("forest-200", "forest", RandomForestClassifier(200, random_state=0)),
        Candidate("boosted-30", "boosted trees", GradientBoostingClassifier(n_estimators=30, random_state=0)),
        Candidate("svm", "kernel machine", _svm()),
        Candidate("svm-shifted", "kernel machine", _svm(), augmented=True),
        Candidate("mlp-32", "mlp", _mlp(32, epochs=60, batch=128)),
        Candidate("mlp-256x128", "mlp", _mlp(256, 128, epochs=30, batch=128), augmented=True),
        Candidate(LARGEST, "mlp", _mlp(1536, 1024, epochs=8, batch=256), augmented=True),
    )


def _svm() -> Any:
    # Calibration gives a kernel machine its probabilities (Platt 1999); one machine serves, the folds only calibrate.
    return CalibratedClassifierCV(make_pipeline(MinMaxScaler(), SVC(C=8, gamma=0.25)), ensemble=False, cv=2)


def _mlp(*hidden: int, epochs: int, batch: int) -> Any:
    return make_pipeline(MinMaxScaler(), MLPClassifier(hidden, max_iter=epochs, batch_size=batch, random_state=0))
