"""Right answers held against what was answered: accuracies follow, in decisions at once and in the catalogue in time.

It never waits for the catalogue's store while a caller waits, and never changes anything for a judgement that cannot
be. What it has said of a judgement is kept: a platform that starts again on the same log knows of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gateway.auth import Principal
from gateway.decisions import Record
from gateway.errors import AlreadyJudged, Unavailable, UnknownTask
from gateway.estimator import Estimate, Estimator
from gateway.expected import check_judge, observation, right_answers
from gateway.service import Service
from optimizer.accuracy import right_rows
from optimizer.evidence import SHARE
from registry.errors import RegistryError
from registry.judgements import JudgementLog, Observation
from registry.model import Accuracy, Task, Variant
from registry.store import Store
from registry.stores.judgements import MemoryJudgements
from scheduler.events import AccuracyJudged

log = logging.getLogger(__name__)

PUBLISH_S = 60.0
"""At most one release in this time, however much is judged: a release makes every gateway load the catalogue."""


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


class Judgements:
    """Judges the service's recent answers, and keeps what was judged in a log (in memory when none is given)."""

    def __init__(self, service: Service, kept: JudgementLog | None = None) -> None:
        self._service = service
        self._estimator = Estimator(kept or MemoryJudgements())
        self._estimating = asyncio.Lock()
        self._any_moved = asyncio.Event()

    async def judge(self, principal: Principal, name: str, decision_id: str, expected: Any) -> Judgement:
        """Hold the right answers of a decision's rows, nested lists as in JSON, against what was answered.

        Raises UnknownTask for a task or decision that is not known to the principal, whose answer is not kept, or
        whose variant is gone, AlreadyJudged, Forbidden to all but the task's owner, Unprocessable naming `expected`
        for answers that cannot be, and Unavailable, with nothing changed, when the log cannot be written.
        """
        task = self._service.task(principal, name)
        check_judge(principal, task)
        record, given = self._answered(principal, task, decision_id)
        # On a thread: a body full of lists takes a second. Meanwhile the variant may have been replaced.
        right = await asyncio.to_thread(right_answers, task, expected, given)
        variant = self._variant(record)
        await self._keep(observation(task, variant, given, right, decision_id=decision_id, at=record.at))
        found = await self._estimate(variant, task.metric)
        return Judgement(
            decision_id=decision_id,
            task=task.name,
            variant=variant.id,
            rows=len(right),
            right=int(right_rows(given, right).sum()) if task.metric == SHARE else None,
            accuracy=found.accuracy,
            drifted=found.drifted,
            judged_rows=found.judged_rows,
        )

    async def keep_published(
        self, store: Store, refresh: Callable[[], Awaitable[object]], every_s: float = PUBLISH_S
    ) -> None:
        """Publish what moves, off every caller's path, until cancelled; what has moved by then is published last.

        `refresh` is awaited after each release, so that decisions see it. What the last platform could not publish any
        more comes first.
        """
        try:
            with suppress(RegistryError):  # whoever judges next is told
                if await asyncio.to_thread(self._estimator.waiting):
                    self._any_moved.set()
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
        self._any_moved.clear()
        releasing = asyncio.ensure_future(asyncio.to_thread(self._estimator.publish, store))
        try:
            return await asyncio.shield(releasing)
        except asyncio.CancelledError:
            await asyncio.wait([releasing])  # a thread cannot be stopped, and its store is about to be closed
            raise
        except RegistryError as error:
            log.warning("judged accuracies cannot be published: %s", error)
            self._any_moved.set()
            return False

    def _answered(self, principal: Principal, task: Task, decision_id: str) -> tuple[Record, NDArray[Any]]:
        decisions = self._service.log
        record = decisions.get(decision_id)
        if record is None or record.tenant != principal.tenant or record.request.task != task.name:
            raise UnknownTask(
                f"no decision {decision_id[:80]!r} of task {task.name!r} is kept", decision_id=decision_id[:80]
            )
        if decisions.judged(decision_id):
            raise _already(decision_id)
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

    async def _keep(self, observed: Observation) -> None:
        """Keep what was observed; of two who judge one answer at once, the log tells the second."""
        catalogue, _ = self._service.snapshots.view()
        try:
            (first,) = await asyncio.to_thread(self._estimator.take, [observed], catalogue)
        except RegistryError as error:
            log.warning("a judgement cannot be kept: %s", error)
            raise Unavailable("judgements cannot be kept now; try again later") from None
        self._service.log.mark_judged(observed.decision_id)
        if not first:
            raise _already(observed.decision_id)

    async def _estimate(self, variant: Variant, metric: str) -> Estimate:
        """The accuracy now, told to the fleet; one at a time, so that an older one is never told after a newer."""
        async with self._estimating:
            try:
                found = await asyncio.to_thread(self._estimator.estimate, variant, metric)
            except RegistryError as error:
                log.warning("judgements cannot be weighed: %s", error)
                raise Unavailable("the judgement is kept, and cannot be weighed now") from None
            clock, snapshots = self._service.clock, self._service.snapshots
            snapshots.emit(AccuracyJudged(variant.id, found.accuracy.value, clock()))
            if found.has_left(snapshots.view()[0].variants.get(variant.id, variant).accuracy):
                self._any_moved.set()
            return found


def _already(decision_id: str) -> AlreadyJudged:
    return AlreadyJudged(
        f"decision {decision_id!r} has been judged; what was said first stands", decision_id=decision_id
    )
