"""What is kept of judged rows says of them what the answers themselves said."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.accuracy import METRICS
from optimizer.evidence import pack, unpack

GENERATOR = np.random.default_rng(0)
WORDS = np.array(["a", "b", "c", "a"], object)


@pytest.mark.parametrize(
    ("metric", "given", "right"),
    [
        ("accuracy", np.array([[1], [2], [3]]), np.array([[1], [2], [4]])),
        ("accuracy", WORDS, np.array(["a", "b", "x", "x"], object)),
        ("accuracy", np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 5]])),
        ("rmse_skill", GENERATOR.normal(size=(20, 3)).astype(np.float32), GENERATOR.normal(size=(20, 3))),
        ("rmse_skill", np.arange(8, dtype=np.int64), np.arange(8, dtype=np.int64)[::-1]),
    ],
)
def test_the_metric_comes_to_the_same(metric: str, given: np.ndarray, right: np.ndarray) -> None:
    again = unpack(metric, pack(metric, given, right), len(right))
    before, after = (METRICS[metric](g, r, np.random.default_rng(1)) for g, r in ((given, right), again))
    assert before == after


def test_answers_of_a_share_are_a_byte_a_row() -> None:
    assert len(pack("accuracy", WORDS, WORDS)) == 1 + len(WORDS)


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_evidence_of_something_else_is_none(metric: str) -> None:
    packed = {name: pack(name, np.arange(4.0), np.arange(4.0)) for name in METRICS}
    other = next(name for name in METRICS if name != metric)
    for evidence, rows in ((packed[other], 4), (packed[metric], 3), (b"", 1)):
        with pytest.raises(ValueError, match=r"evidence|reshape"):
            unpack(metric, evidence, rows)
