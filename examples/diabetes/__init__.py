"""How far will the disease progress? Scikit-learn's diabetes study: a regression task with nine variants."""

from examples.diabetes.build import build
from examples.diabetes.data import sample

__all__ = ["build", "sample"]
