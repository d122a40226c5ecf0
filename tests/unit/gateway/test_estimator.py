"""One estimate for one set of observations, whoever asks; releases count nothing twice and lose no move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.estimator import Estimator
from optimizer.accuracy import share
from optimizer.evidence import pack
from optimizer.judged import ENOUGH, WINDOW
from registry.catalogue import Catalogue
from registry.errors import Unavailable
from registry.judgements import Observation
from registry.model import Recipe, Task, TensorSpec, Variant
from registry.store import update
from registry.stores.judgements import MemoryJudgements
from registry.stores.memory import MemoryStore

TASK = Task("sum", (TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "INT64", (-1,)),), "accuracy", judged="y")
LARGE = Variant("sum", "large", "blake3:a", Recipe("test"), share(97, 100))


def observed(number: int, *hits: bool) -> Observation:
    right = np.array(hits or (True,))
    evidence = pack("accuracy", right, np.ones_like(right))
    return Observation(f"d{number}", LARGE.id, LARGE.artifact, number, len(right), evidence)


def wrong(first: int, count: int) -> list[Observation]:
    return [observed(n, False) for n in range(first, first + count)]


class Court:
    """A log, a catalogue's store, and as many estimators over them as are wanted."""

    def __init__(self) -> None:
        self.kept, self.store = MemoryJudgements(), MemoryStore()
        update(self.store, lambda base: base.with_tasks(TASK).with_variants(LARGE))

    @property
    def catalogue(self) -> Catalogue:
        return self.store.load()

    @property
    def variant(self) -> Variant:
        return self.catalogue.variants[LARGE.id]

    def take(self, observations: Sequence[Observation]) -> tuple[bool, ...]:
        return Estimator(self.kept).take(observations, self.catalogue)

    def estimate(self) -> tuple[float, bool, int]:
        found = Estimator(self.kept).estimate(self.variant, "accuracy")
        return found.accuracy.value, found.drifted, found.judged_rows

    def publish(self) -> bool:
        return Estimator(self.kept).publish(self.store)


@pytest.fixture
def court() -> Court:
    return Court()


def test_nothing_observed_is_the_evaluation(court: Court) -> None:
    assert court.estimate() == (0.97, False, 0)
    assert not court.publish()


def test_what_agrees_is_pooled_and_what_contradicts_counts_alone(court: Court) -> None:
    court.take([observed(n) for n in range(3)])
    assert court.estimate() == (share(100, 103).value, False, 3)
    court.take(wrong(10, ENOUGH))
    assert court.estimate()[1:] == (True, ENOUGH + 3)


@settings(max_examples=25)
@given(hits=st.lists(st.booleans(), min_size=1, max_size=60), randomness=st.randoms(use_true_random=False))
def test_repetitions_and_another_order_change_nothing(hits: list[bool], randomness: Callable[[], float]) -> None:
    observations = [observed(n, hit) for n, hit in enumerate(hits)]
    straight, shuffled = Court(), Court()
    straight.take(observations)
    again = observations * 2
    randomness.shuffle(again)  # type: ignore[attr-defined]
    for each in again:
        shuffled.take([each])
    assert straight.estimate() == shuffled.estimate()


def test_only_the_last_rows_count(court: Court) -> None:
    court.take([observed(n, *[True] * 100) for n in range(10)])
    assert court.estimate()[2] == WINDOW


def test_a_release_tells_who_moved_and_by_how_much(court: Court) -> None:
    court.take(wrong(0, 2 * ENOUGH))
    assert court.publish()
    assert court.variant.accuracy == share(0, 2 * ENOUGH)
    assert court.store.history()[-1].note == f"judged: sum/large 0.9700 to 0.0000 by {2 * ENOUGH} rows"
    assert court.kept.marks() == ()


def test_an_accuracy_within_its_interval_is_not_released(court: Court) -> None:
    court.take([observed(n) for n in range(5)])
    assert not court.publish()
    assert (court.store.head(), court.kept.marks()) == (1, ())


def test_after_releases_the_rows_are_counted_once_by_whoever_asks(court: Court) -> None:
    for round_ in range(4):
        court.take(wrong(round_ * ENOUGH, ENOUGH))
        court.publish()
        assert court.estimate() == (0.0, True, (round_ + 1) * ENOUGH)
    court.take([observed(1000 + n) for n in range(WINDOW)])
    court.publish()
    assert court.estimate()[:2] == (share(97 + WINDOW, 100 + WINDOW).value, False)


def test_what_others_say_of_the_variant_starts_anew(court: Court) -> None:
    court.take(wrong(0, 2 * ENOUGH))
    court.publish()
    update(court.store, lambda base: base.with_variants(replace(LARGE, accuracy=share(190, 200))))
    court.take([observed(100)])
    assert court.estimate() == (share(191, 201).value, False, 1)
    # One that was observed under the earlier evaluation, and is told late, belongs to it.
    court.take([observed(5, True), observed(101)])
    assert court.estimate() == (share(192, 202).value, False, 2)


def test_another_artifact_starts_anew_and_late_rows_of_the_old_one_move_nothing(court: Court) -> None:
    court.take(wrong(0, 2 * ENOUGH))
    update(court.store, lambda base: base.with_variants(replace(LARGE, artifact="blake3:b")))
    court.take(wrong(100, 1))
    assert court.estimate() == (0.97, False, 0)
    assert not court.publish()


def test_a_variant_that_is_gone_is_kept_of_and_moves_nothing(court: Court) -> None:
    court.take([replace(each, variant="sum/gone") for each in wrong(0, ENOUGH)])
    assert not court.publish()
    assert court.kept.marks() == ()
    assert len(court.kept.last("sum/gone", LARGE.artifact, 99)) == ENOUGH


def test_evidence_for_another_metric_is_passed_over(court: Court) -> None:
    court.take([replace(observed(1), evidence=b"p" + bytes(16)), observed(2)])
    assert court.estimate() == (share(98, 101).value, False, 1)


@pytest.mark.parametrize("when", ["load", "publish"])
def test_what_a_store_refuses_stays_to_be_released(court: Court, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise Unavailable("store", "out of reach")

    court.take(wrong(0, 2 * ENOUGH))
    with monkeypatch.context() as patched:
        patched.setattr(court.store, when, away)
        for _ in range(3):
            with pytest.raises(Unavailable):
                court.publish()
    assert Estimator(court.kept).waiting()
    assert court.publish()
    assert court.estimate() == (0.0, True, 2 * ENOUGH)


def test_what_is_observed_during_a_release_stays_to_be_looked_at(court: Court) -> None:
    class Busy(MemoryStore):
        """Another environment takes observations while this one publishes."""

        def publish(self, catalogue: Catalogue, *, note: str = "") -> Catalogue:
            court.take(wrong(500, 1))
            return super().publish(catalogue, note=note)

    court.take(wrong(0, 2 * ENOUGH))
    busy = Busy()
    MemoryStore.publish(busy, court.catalogue.at(0))
    court.store = busy
    assert court.publish()
    assert [mark.variant for mark in court.kept.marks()] == [LARGE.id]
