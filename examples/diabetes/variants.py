"""The estimators that foresee the disease's course, from a kilobyte to 4 MB; untrained, each with its seed."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from examples.training import Candidate

LARGEST = "mlp-1024x1024"


def candidates() -> tuple[Candidate, ...]:
    """Every variant to train, small to large."""
    boosted = GradientBoostingRegressor(n_estimators=60, max_depth=2, learning_rate=0.08, random_state=0)
    return (
        Candidate("ridge", "linear", Ridge(alpha=0.05)),
        Candidate("forest-16", "forest", RandomForestRegressor(16, max_depth=4, random_state=0)),
        Candidate("forest-300", "forest", RandomForestRegressor(300, min_samples_leaf=5, random_state=0)),
        Candidate("boosted-60", "boosted trees", boosted),
        Candidate("svr", "kernel machine", make_pipeline(StandardScaler(), SVR(C=60, gamma=0.02))),
        Candidate("mlp-16", "mlp", _mlp(16, epochs=150, rate=0.01, decay=1)),
        Candidate("mlp-128x64", "mlp", _mlp(128, 64, epochs=60, rate=0.003, decay=5)),
        Candidate(LARGEST, "mlp", _mlp(1024, 1024, epochs=25, rate=0.001, decay=20)),
    )


def _mlp(*hidden: int, epochs: int, rate: float, decay: float) -> Any:
    network = MLPRegressor(
        hidden_layer_sizes=hidden,
        max_iter=epochs,
        learning_rate_init=rate,
        alpha=decay,
        batch_size=32,
        random_state=0,
    )
    return make_pipeline(StandardScaler(), network)
