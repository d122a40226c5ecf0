"""Which digit is this? Scikit-learn's 8×8 handwritten digits: a classification task with ten variants."""

from examples.digits.build import build
from examples.digits.data import sample

__all__ = ["build", "sample"]
