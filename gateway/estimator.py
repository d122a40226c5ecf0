"""Accuracies that follow from a log of judgements, and their release; the one place that weighs what was observed.

What it says of a variant is a function of the log and the catalogue alone: whoever asks, in whatever order
observations came and however often, comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from optimizer.accuracy import Answers
from optimizer.evidence import unpack
from optimizer.judged import WINDOW, judged
from registry.catalogue import Catalogue
from registry.judgements import Case, JudgementLog, Observation
from registry.model import Accuracy, Variant
from registry.store import Store, update

SEED = 0
"""Of bootstraps: equal observations are to say the same."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a variant's judgements come to."""

    accuracy: Accuracy
    drifted: bool
    """Whether the judged rows contradict the evaluation, and count alone."""
    judged_rows: int
    """How many of them count now."""

    def has_left(self, known: Accuracy) -> bool:
        """Whether it lies outside a known accuracy's interval, and is worth telling."""
        return not known.low <= self.accuracy.value <= known.high


class Estimator:
    """Keeps observations in a log and weighs them; several may share one. Raises what the log raises."""

    def __init__(self, kept: JudgementLog) -> None:
        self._kept = kept

    def take(self, observations: Sequence[Observation], catalogue: Catalogue) -> tuple[bool, ...]:
        """Keep observations, and say of each whether it is its decision's first; cases are opened before."""
        for id_ in {observation.variant for observation in observations}:
            if (variant := catalogue.variants.get(id_)) is not None:
                self._case(variant)
        return self._kept.add(observations)

    def waiting(self) -> bool:
        """Whether something was observed that nobody has looked at to publish it."""
        return bool(self._kept.marks())

    def estimate(self, variant: Variant, metric: str) -> Estimate:
        """The accuracy of a variant of the catalogue, given what was observed of it since it was evaluated."""
        return self._estimate(variant, metric, self._case(variant))

    def publish(self, catalogues: Store) -> bool:
        """Release the accuracies that have left their published intervals; False when there are none to release.

        A mark stays until what it asks for is done. Raises Unavailable, and Conflict after many lost races.
        """
        marks = self._kept.marks()
        if not marks:
            return False
        moved = self._moved(catalogues.load(), [mark.variant for mark in marks])
        if moved:
            released = {id_: (artifact, estimate.accuracy) for id_, (artifact, _, estimate) in moved.items()}
            update(catalogues, lambda base: base.with_variants(*_with(base, released)), _note(moved))
        for mark in marks:
            self._kept.settle(mark)
        return bool(moved)

    def _moved(self, catalogue: Catalogue, ids: Sequence[str]) -> dict[str, tuple[str, Accuracy, Estimate]]:
        """Of these variants those that have left what is known of them, with their artifact and that."""
        moved = {}
        for variant in (catalogue.variants[id_] for id_ in ids if id_ in catalogue.variants):
            case, known = self._case(variant), variant.accuracy
            found = self._estimate(variant, catalogue.tasks[variant.task].metric, case)
            if found.has_left(known):
                # Before it is published: whoever sees it published must know whose word it is.
                self._kept.keep(variant.id, replace(case, published=(known, found.accuracy)))
                moved[variant.id] = variant.artifact, known, found
        return moved

    def _case(self, variant: Variant) -> Case:
        """The variant's case; a new one when somebody else has said how accurate it is."""
        case = self._kept.case(variant.id)
        if case is None or not case.concerns(variant):
            last = self._kept.last(variant.id, variant.artifact, 1) if case is not None else ()
            case = Case(variant.artifact, variant.accuracy, last[-1].key if last else "")
            self._kept.keep(variant.id, case)
        return case

    def _estimate(self, variant: Variant, metric: str, case: Case) -> Estimate:
        observations = self._kept.last(variant.id, variant.artifact, WINDOW, after=case.after)
        rows = judged(metric, _answers(metric, observations))
        found = rows.reestimate(case.evaluation, np.random.default_rng(SEED))
        return Estimate(found.accuracy, found.drifted, rows.rows)


def _answers(metric: str, observations: Sequence[Observation]) -> Iterator[tuple[Answers, Answers]]:
    for each in observations:
        # A task that was registered again may be judged by another metric, and what is late is by the former.
        with suppress(ValueError):
            yield unpack(metric, each.evidence, each.rows)


def _with(catalogue: Catalogue, moved: Mapping[str, tuple[str, Accuracy]]) -> list[Variant]:
    """The variants that moved, as they shall be.

    Left out are those that have become something else meanwhile, or whose interval holds the accuracy by now.
    """
    current = ((catalogue.variants.get(id_), artifact, accuracy) for id_, (artifact, accuracy) in moved.items())
    return [
        replace(v, accuracy=accuracy)
        for v, artifact, accuracy in current
        if v and v.artifact == artifact and not v.accuracy.low <= accuracy.value <= v.accuracy.high
    ]


def _note(moved: Mapping[str, tuple[str, Accuracy, Estimate]]) -> str:
    said = [
        f"{id_} {known.value:.4f} to {found.accuracy.value:.4f} by {found.judged_rows} rows"
        for id_, (_, known, found) in moved.items()
    ]
    return f"judged: {', '.join(said)}"
