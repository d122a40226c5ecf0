"""Right answers held against what was answered: accuracies follow, in decisions at once and in the catalogue in time.

It never waits for the store while a caller waits, and never changes anything for a judgement that cannot be.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.auth import Principal
from gateway.decisions import Record
from gateway.errors import AlreadyJudged, Forbidden, UnknownTask, Unprocessable
from gateway.service import Service
from optimizer.accuracy import right_rows
from optimizer.judged import KINDS, Judged, Reestimate
from registry.catalogue import Catalogue
from registry.errors import RegistryError
from registry.model import Accuracy, Task, TensorSpec, Variant
from registry.store import Store, update
from runtime.codecs.nested import from_nested
from runtime.codecs.tensors import check_inputs
from runtime.errors import InvalidTensor
from scheduler.events import AccuracyJudged

log = logging.getLogger(__name__)

PUBLISH_S = 60.0
"""At most one release in this time, however much is judged: a release makes every gateway load the catalogue."""

FIELD = "expected"

SHARE = "accuracy"
"""The metric that says of each row by itself whether it is right."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one judgement came to."""

    decision_id: str
    task: str
    variant: str
    rows: int
    right: int | None
    """How many of the rows were right; None where the metric does not say of one row."""
    accuracy: Accuracy
    """Of the variant, as decisions take it from now on."""
    drifted: bool
    """Whether its judged rows contradict the evaluation it was registered with, and count alone."""
    judged_rows: int
    """How many judged rows of it count now."""


@dataclass(slots=True)
class _Case:
    """What is known of one variant's accuracy."""

    artifact: str
    evaluation: Accuracy
    """What the catalogue said before any of the judged rows."""
    judged: Judged
    published: tuple[Accuracy, ...] = ()
    """The last two that were published from here; until the catalogue is seen anew it still says the first."""

    def concerns(self, variant: Variant) -> bool:
        """Whether the variant is what was judged, and nobody else has said how accurate it is."""
        return self.artifact == variant.artifact and variant.accuracy in (self.evaluation, *self.published)


class Judgements:
    """Judges the service's recent answers, and keeps the last judged rows of each variant."""

    def __init__(self, service: Service, *, generator: np.random.Generator | None = None) -> None:
        self._service = service
        self._generator = generator or np.random.default_rng(0)  # for bootstraps only: any will do
        self._cases: dict[str, _Case] = {}
        self._estimating = asyncio.Lock()
        self._moved: dict[str, tuple[str, Accuracy]] = {}
        """Variant to its artifact and an accuracy outside the interval that the catalogue has."""
        self._any_moved = asyncio.Event()

    async def judge(self, principal: Principal, name: str, decision_id: str, expected: Any) -> Judgement:
        """Hold the right answers of a decision's rows, nested lists as in JSON, against what was answered.

        Only the tenant that owns a task judges it, a public one the public tenant: what one says moves the choices of
        all. Raises UnknownTask for a task or decision that is not known to the principal, whose answer is not kept, or
        whose variant is gone, AlreadyJudged, Forbidden, and Unprocessable naming `expected` for answers that cannot be.
        """
        task = self._service.task(principal, name)
        if principal.tenant != task.owner:
            raise Forbidden(f"task {name!r} is judged by its owner, tenant {task.owner!r}, alone", task=name)
        _, given = self._answered(principal, task, decision_id)
        # On a thread: a body full of lists takes a second. Meanwhile somebody else may have judged the same.
        right = await asyncio.to_thread(_right, task, expected, given)
        record, given = self._answered(principal, task, decision_id)
        variant = self._variant(record)
        case = self._case(variant, task)
        case.judged = case.judged.after(given, right)
        self._service.log.mark_judged(decision_id)
        found, rows = await self._estimate(variant, case)
        return Judgement(
            decision_id=decision_id,
            task=task.name,
            variant=variant.id,
            rows=len(right),
            right=int(right_rows(given, right).sum()) if task.metric == SHARE else None,
            accuracy=found.accuracy,
            drifted=found.drifted,
            judged_rows=rows,
        )

    async def keep_published(
        self, store: Store, refresh: Callable[[], Awaitable[object]], every_s: float = PUBLISH_S
    ) -> None:
        """Publish what moves, off every caller's path, until cancelled; what has moved by then is published last.

        `refresh` is awaited after each release, so that decisions see it.
        """
        try:
            while True:
                await self._any_moved.wait()
                await self.publish(store)
                with suppress(RegistryError):  # whoever follows the store says so
                    await refresh()
                await asyncio.sleep(every_s)
        finally:
            await self.publish(store)

    async def publish(self, store: Store) -> bool:
        """Release the accuracies that have left their published intervals; False when there are none to release.

        A store that does not take them is tried again the next time.
        """
        moved, self._moved = self._moved, {}
        self._any_moved.clear()
        current = {v.id: v for v in _with(self._service.snapshots.view()[0], moved)}
        if not current:
            return False
        for variant in current.values():
            case = self._cases[variant.id]
            case.published = (*case.published[-1:], variant.accuracy)
        note = self._note(current)
        releasing = asyncio.ensure_future(
            asyncio.to_thread(update, store, lambda base: base.with_variants(*_with(base, moved)), note)
        )
        try:
            await asyncio.shield(releasing)
        except asyncio.CancelledError:
            await asyncio.wait([releasing])  # a thread cannot be stopped, and its store is about to be closed
            raise
        except RegistryError as error:
            log.warning("judged accuracies cannot be published: %s", error)
            self._moved = {**moved, **self._moved}
            self._any_moved.set()
            return False
        return True

    def _answered(self, principal: Principal, task: Task, decision_id: str) -> tuple[Record, NDArray[Any]]:
        decisions = self._service.log
        record = decisions.get(decision_id)
        if record is None or record.tenant != principal.tenant or record.request.task != task.name:
            raise UnknownTask(
                f"no decision {decision_id[:80]!r} of task {task.name!r} is kept", decision_id=decision_id[:80]
            )
        if decisions.judged(decision_id):
            raise AlreadyJudged(
                f"decision {decision_id!r} has been judged; what was said first stands", decision_id=decision_id
            )
        if not task.judged:
            raise Unprocessable(
                f"task {task.name!r} does not say which output is judged; register it again", task=task.name
            )
        answer = decisions.answer(decision_id)
        if answer is None:
            raise UnknownTask(
                f"no answer to decision {decision_id!r} is kept; judge recent answers", decision_id=decision_id
            )
        return record, answer

    def _variant(self, record: Record) -> Variant:
        """The variant that answered, as the catalogue has it now; raises UnknownTask when that is another by now."""
        assert record.served is not None  # it has an answer
        id_ = record.served.variant
        variant = self._service.snapshots.view()[0].variants.get(id_)
        if variant is None or variant.artifact != record.catalogue.variants[id_].artifact:
            raise UnknownTask(f"{id_} has been replaced since it answered {record.id!r}", decision_id=record.id)
        return variant

    def _case(self, variant: Variant, task: Task) -> _Case:
        case = self._cases.get(variant.id)
        if case is None or not case.concerns(variant):
            case = self._cases[variant.id] = _Case(variant.artifact, variant.accuracy, KINDS[task.metric]())
        return case

    async def _estimate(self, variant: Variant, case: _Case) -> tuple[Reestimate, int]:
        """The accuracy now, told to the fleet; one at a time, so that an older one is never told after a newer."""
        async with self._estimating:
            judged = case.judged
            found = await asyncio.to_thread(judged.reestimate, case.evaluation, self._generator)
            clock, snapshots = self._service.clock, self._service.snapshots
            snapshots.emit(AccuracyJudged(variant.id, found.accuracy.value, clock()))
            known = snapshots.view()[0].variants.get(variant.id, variant).accuracy
            if _within(found.accuracy, known):
                self._moved.pop(variant.id, None)
            else:
                self._moved[variant.id] = (case.artifact, found.accuracy)
                self._any_moved.set()
            return found, judged.rows

    def _note(self, moved: dict[str, Variant]) -> str:
        before = self._service.snapshots.view()[0].variants
        said = [
            f"{id_} {before[id_].accuracy.value:.4f} to {v.accuracy.value:.4f} by {self._cases[id_].judged.rows} rows"
            for id_, v in moved.items()
        ]
        return f"judged: {', '.join(said)}"


def _with(catalogue: Catalogue, moved: dict[str, tuple[str, Accuracy]]) -> list[Variant]:
    """The variants that moved, as they shall be.

    Left out are those that have become something else meanwhile, or whose interval holds the accuracy by now.
    """
    current = ((catalogue.variants.get(id_), artifact, accuracy) for id_, (artifact, accuracy) in moved.items())
    return [
        replace(v, accuracy=accuracy)
        for v, artifact, accuracy in current
        if v and v.artifact == artifact and not _within(accuracy, v.accuracy)
    ]


def _within(accuracy: Accuracy, known: Accuracy) -> bool:
    return known.low <= accuracy.value <= known.high


def _right(task: Task, expected: Any, given: NDArray[Any]) -> NDArray[Any]:
    """The right answers as an array like the given ones; raises Unprocessable naming `expected`.

    Where a row has one element, it may be given without its list.
    """
    output = next(output for output in task.outputs if output.name == task.judged)
    spec = TensorSpec(FIELD, output.datatype, (-1, *given.shape[1:]))
    try:
        right = from_nested(FIELD, spec.datatype, expected)
        if right.ndim == 1 and given.size == len(given):
            right = right.reshape(-1, *given.shape[1:])
        if len(right) != len(given):
            raise InvalidTensor(FIELD, f"it has {len(right)} rows", f"{len(given)}, one for each row that was answered")
        check_inputs([spec], {FIELD: right})
    except InvalidTensor as error:
        raise Unprocessable(str(error), field=FIELD, problem=error.problem, fix=f"give {error.expected}") from None
    return right
