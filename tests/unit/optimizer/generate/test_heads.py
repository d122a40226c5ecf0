"""Which outputs a student can learn, and which labels its columns stand for."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.generate.heads import Unteachable, heads
from registry.model import Task, TensorSpec

X = (TensorSpec("x", "FP32", (-1, 2)),)
LABEL = TensorSpec("label", "INT64", (-1,))
SCORES = TensorSpec("scores", "FP32", (-1, 3))
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.0, 0.4, 0.6], [0.6, 0.4, 0.0]], np.float32)


def task(*outputs: TensorSpec, classes: tuple[str, ...] = ()) -> Task:
    return Task("t", X, outputs, "accuracy", classes=classes)


def test_labels_follow_the_scores_they_belong_to() -> None:
    labels = np.array([5, 3, 9, 5])
    scores, derived = heads(task(LABEL, SCORES), {"label": labels, "scores": PROBABILITIES})
    assert [(s.spec.name, s.probabilities) for s in scores] == [("scores", True)]
    assert derived[0].scores == "scores"
    assert derived[0].labels.tolist() == [5, 3, 9]
    logits = scores[0].targets
    np.testing.assert_allclose(logits.sum(axis=1), 0, atol=1e-9)
    assert logits[0, 0] - logits[0, 1] == pytest.approx(np.log(0.7 / 0.2), rel=1e-5)


def test_a_column_that_never_won_is_named_by_what_the_others_tell() -> None:
    given = PROBABILITIES[:2]
    _, plain = heads(task(LABEL, SCORES), {"label": np.array([0, 1]), "scores": given})
    assert plain[0].labels.tolist() == [0, 1, 2]
    text = TensorSpec("label", "BYTES", (-1,))
    names = np.array([b"a", b"b"], object)
    _, named = heads(task(text, SCORES, classes=("a", "b", "c")), {"label": names, "scores": given})
    assert named[0].labels.tolist() == [b"a", b"b", b"c"]
    for spec, labels in ((LABEL, np.array([5, 3])), (text, names)):
        with pytest.raises(Unteachable, match="column 2 was never the largest"):
            heads(task(spec, SCORES), {"label": labels, "scores": given})


def test_a_column_that_never_won_is_named_by_the_graphs_own_list() -> None:
    def labels(*lists: list[int]) -> list[int]:
        answers = {"label": np.array([0, 1]), "scores": PROBABILITIES[:2]}
        _, derived = heads(task(LABEL, SCORES), answers, [np.array(each) for each in lists])
        return derived[0].labels.tolist()

    assert labels([0, 1, 5], [1, 2, 0], [0, 1]) == [0, 1, 5]
    assert labels([0, 1, 5], [0, 1, 5]) == [0, 1, 5]
    with pytest.raises(Unteachable, match="column 2 was never the largest"):
        labels([0, 1, 5], [0, 1, 2])


def test_labels_that_follow_no_score_have_a_head_of_their_own() -> None:
    labels = np.array([1, 1, 0, 0])
    scores, derived = heads(task(LABEL, SCORES), {"label": labels, "scores": PROBABILITIES})
    assert [s.spec.name for s in scores] == ["scores", "label"]
    assert derived[0].scores == "label"
    assert scores[1].targets.argmax(axis=1).tolist() == labels.tolist()


def test_scores_that_are_no_probabilities_are_matched_as_they_are() -> None:
    values = PROBABILITIES * 7
    scores, _ = heads(task(SCORES), {"scores": values})
    assert not scores[0].probabilities
    np.testing.assert_array_equal(scores[0].targets, values)


@pytest.mark.parametrize(
    ("spec", "answers", "why"),
    [
        (TensorSpec("boxes", "FP32", (-1, -1, 4)), np.zeros((2, 3, 4)), "no fixed shape"),
        (SCORES, np.full((2, 3), np.nan), "not finite"),
        (TensorSpec("counts", "INT64", (-1, 4)), np.zeros((2, 4), np.int64), "neither scores nor one label"),
        (LABEL, np.zeros(4, np.int64), "1 different labels"),
    ],
)
def test_outputs_that_no_student_can_give(spec: TensorSpec, answers: np.ndarray, why: str) -> None:
    with pytest.raises(Unteachable, match=why):
        heads(task(spec), {spec.name: answers})
