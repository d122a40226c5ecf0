"""Judgements move accuracies, in decisions at once and in the catalogue in time; what cannot be judged moves none."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import gateway.errors
from gateway.auth import PUBLIC, Principal
from gateway.decisions import DecisionLog
from gateway.errors import AlreadyJudged, Forbidden, UnknownTask, Unprocessable
from gateway.following import refresh
from gateway.judgements import PUBLISH_S, Judgements
from gateway.virtual_time import run_virtually
from optimizer.accuracy import share
from optimizer.judged import ENOUGH
from registry.catalogue import Catalogue
from registry.errors import Unavailable
from registry.model import Accuracy
from registry.store import update
from registry.stores.judgements import MemoryJudgements
from registry.stores.memory import MemoryStore


def judged(catalogue: Catalogue, metric: str = "accuracy") -> Catalogue:
    """The task's output `y` judged by its owner, and its variants evaluated on 100 rows."""
    task = replace(catalogue.tasks["sum"], judged="y", owner="acme")
    variants = [replace(v, accuracy=share(round(v.accuracy.value * 100), 100)) for v in catalogue.variants_of("sum")]
    made = catalogue.with_tasks(task).with_variants(*variants)
    if metric != "accuracy":
        empty = replace(made, variants={}, placements={}, profiles={})
        made = empty.with_tasks(replace(task, metric=metric)).with_variants(*variants)
        made = made.with_placements(*catalogue.placements.values()).with_profiles(*catalogue.profiles.values())
    return made


class Court:
    """A world whose answers can be judged; rows of ones add up to 3."""

    def __init__(self, make_world: Any, alice: Principal, metric: str = "accuracy") -> None:
        self.world, self.alice = make_world(), alice
        self.store = MemoryStore()
        self.world.snapshots.replace(update(self.store, lambda base: judged(self.world.catalogue, metric).at(0)))
        self.kept = MemoryJudgements()
        self.judgements = Judgements(self.world.service, self.kept)

    async def answer(self, rows: int = 1, **hints: Any) -> str:
        answer = await self.world.predict(hints, inputs={"x": np.ones((rows, 3), np.float32)})
        return answer.decision.decision_id

    async def answers(self, count: int) -> list[str]:
        """Decisions of one row each that `large` answered, before anything moves."""
        return [await self.answer() for _ in range(count)]

    async def judge_all(self, decisions: list[str], right: float) -> Any:
        for decision_id in decisions:
            found = await self.judgements.judge(self.alice, "sum", decision_id, [right])
        return found

    async def judge(self, expected: Any, *, rows: int = 1, **hints: Any) -> Any:
        decision_id = await self.answer(rows, **hints)
        return await self.judgements.judge(self.alice, "sum", decision_id, expected)

    def accuracy(self, name: str = "large") -> Accuracy:
        return self.world.snapshots.view()[0].variants[f"sum/{name}"].accuracy

    async def refresh(self) -> None:
        await refresh(self.store, self.world.snapshots)


@pytest.fixture
def court(make_world: Any, alice: Principal) -> Any:
    return lambda metric="accuracy": Court(make_world, alice, metric)


def test_a_judgement_says_what_was_judged_and_what_follows(court):
    async def check():
        here = court()
        found = await here.judge([[3.0], [4.0]], rows=2)
        assert (found.task, found.variant, found.rows, found.right) == ("sum", "sum/large", 2, 1)
        assert (found.accuracy, found.drifted, found.judged_rows) == (share(100, 102), False, 2)
        decision = here.world.service.plan(here.alice, "sum")
        assert decision.ranked[0].accuracy == 100 / 102

    run_virtually(check())


def test_where_a_row_has_one_element_its_list_may_be_left_out(court):
    async def check():
        assert (await court().judge([3, 3, 3], rows=3)).right == 3

    run_virtually(check())


def test_bad_judgements_move_requests_away_and_good_ones_bring_them_back(court):
    async def check():
        here = court()
        floor = {"min_accuracy": 0.9, "objective": "cost"}
        answered, first = await here.answers(4 * ENOUGH), here.accuracy()

        def planned():
            decision = here.world.service.plan(here.alice, "sum", floor)
            return decision.ranked[0].placement.variant, decision.feasible

        # `large` alone holds the floor; `small` is cheaper, and more accurate than what `large` seems to have become.
        assert planned() == ("sum/large", True)
        found = await here.judge_all(answered[: 2 * ENOUGH], 4.0)
        assert (found.drifted, found.accuracy) == (True, share(0, 2 * ENOUGH))
        assert planned() == ("sum/small", False)
        assert here.accuracy() == first  # the catalogue is told in its own time
        found = await here.judge_all(answered[2 * ENOUGH :], 3.0)
        assert (found.drifted, found.accuracy.value > 0.98) == (False, True)
        assert planned() == ("sum/large", True)

    run_virtually(check())


def test_moved_accuracies_are_published_at_most_once_a_minute_and_when_it_ends(court):
    class Watched(MemoryStore):
        """Notes when it is published to, and tells."""

        def __init__(self) -> None:
            super().__init__()
            self.loop = asyncio.get_running_loop()
            self.at: list[float] = []
            self.published = asyncio.Event()

        def publish(self, catalogue: Catalogue, *, note: str = "") -> Catalogue:
            self.at.append(self.loop.time())
            self.loop.call_soon_threadsafe(self.published.set)
            return super().publish(catalogue, note=note)

    async def check():
        here = court()
        answered = await here.answers(4 * ENOUGH)
        watched = Watched()
        update(watched, lambda base: here.store.load().at(base.version))
        await watched.published.wait()
        here.store = watched
        publishing = asyncio.create_task(here.judgements.keep_published(watched, here.refresh))
        for half, right in ((answered[: 2 * ENOUGH], 4.0), (answered[2 * ENOUGH :], 3.0)):
            watched.published.clear()
            found = await here.judge_all(half, right)
            await watched.published.wait()
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        published = watched.load().variants["sum/large"].accuracy
        assert published.low <= found.accuracy.value <= published.high
        # The last of them may be the one that does not wait for its minute: the end's.
        between = np.diff(watched.at[1:-1])
        assert len(watched.at) >= 3
        assert all(between >= PUBLISH_S)
        assert watched.history()[1].note.startswith("judged: sum/large 0.9900 to ")

    run_virtually(check())


def test_an_accuracy_within_its_interval_is_not_published(court):
    async def check():
        here = court()
        for _ in range(5):
            await here.judge([[3.0]])
        assert not await here.judgements.publish(here.store)
        assert here.store.head() == 1

    run_virtually(check())


def test_what_has_moved_is_published_when_it_is_closed_and_survives(court):
    async def check():
        here = court()
        answered = await here.answers(2 * ENOUGH)
        publishing = asyncio.create_task(here.judgements.keep_published(here.store, here.refresh, every_s=1e6))
        found = await here.judge_all(answered, 4.0)
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        published = here.store.load().variants["sum/large"].accuracy
        assert published.low <= found.accuracy.value == 0.0 <= published.high < 0.99

    run_virtually(check())


def test_what_the_last_platform_left_is_published_first(court):
    async def check():
        here = court()
        await here.judge_all(await here.answers(2 * ENOUGH), 4.0)
        here.judgements, released = Judgements(here.world.service, here.kept), asyncio.Event()

        async def refresh() -> None:
            released.set()

        publishing = asyncio.create_task(here.judgements.keep_published(here.store, refresh))
        await released.wait()
        assert here.store.load().variants["sum/large"].accuracy.value == 0.0
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)

    run_virtually(check())


@pytest.mark.parametrize("method", ["add", "last"])
def test_a_log_that_is_out_of_reach_is_said_and_nothing_is_lost(court, method, monkeypatch, caplog):
    def away(*_: Any, **__: Any) -> None:
        raise Unavailable("log", "disk full")

    async def check():
        here = court()
        decision_id = await here.answer()
        with monkeypatch.context() as patched:
            patched.setattr(here.kept, method, away)
            with pytest.raises(gateway.errors.Unavailable) as refused:
                await here.judgements.judge(here.alice, "sum", decision_id, [[3.0]])
        assert ("is kept" in str(refused.value)) == (method == "last")
        if method == "add":
            assert (await here.judgements.judge(here.alice, "sum", decision_id, [[3.0]])).judged_rows == 1
        else:
            assert (await here.judge([[3.0]])).judged_rows == 2

    run_virtually(check())


def test_a_store_that_is_out_of_reach_is_tried_again(court, caplog):
    class Away(MemoryStore):
        def load(self, version=None):
            raise Unavailable("store", "out of reach")

    async def check():
        here = court()
        for _ in range(2 * ENOUGH):
            await here.judge([[4.0]])
        assert not await here.judgements.publish(Away())
        assert await here.judgements.publish(here.store)

    run_virtually(check())
    assert "cannot be published" in caplog.text


def test_after_its_own_release_the_rows_are_not_counted_twice(court):
    async def check():
        here = court()
        answered = await here.answers(2 * ENOUGH + 2)
        await here.judge_all(answered[:-2], 4.0)
        for rows, last in zip((2 * ENOUGH + 1, 2 * ENOUGH + 2), answered[-2:], strict=True):
            assert await here.judgements.publish(here.store) == (rows == 2 * ENOUGH + 1)
            await here.refresh()
            assert here.world.snapshots.view()[1].judged == ({} if rows == 2 * ENOUGH + 1 else {"sum/large": 0.0})
            assert here.accuracy() == share(0, 2 * ENOUGH)
            assert (await here.judge_all([last], 4.0)).accuracy == share(0, rows)

    run_virtually(check())


def test_a_variant_that_is_registered_anew_starts_anew(court):
    async def check():
        here = court()
        old = await here.answer()
        await here.judge([[4.0]])
        known = here.world.snapshots.view()[0].variants["sum/large"]
        update(here.store, lambda base: base.with_variants(replace(known, accuracy=share(95, 100))))
        await here.refresh()
        assert (await here.judge([[3.0]])).accuracy == share(96, 101)
        profiles = here.world.snapshots.view()[0].profiles.values()
        update(
            here.store,
            lambda base: base.with_variants(replace(known, artifact="blake3:other")).with_profiles(*profiles),
        )
        await here.refresh()
        with pytest.raises(UnknownTask, match="replaced since"):
            await here.judgements.judge(here.alice, "sum", old, [[3.0]])
        assert (await here.judge([[3.0]])).judged_rows == 1

    run_virtually(check())


def test_numbers_are_judged_together_once_there_are_enough(court):
    async def check():
        here = court("rmse_skill")
        evaluation = here.accuracy()
        generator = np.random.default_rng(0)
        for _ in range(5):
            rows = generator.normal(size=(4, 3)).astype(np.float32)
            answer = await here.world.predict({}, inputs={"x": rows})
            right = [float(v) for v in rows.sum(axis=1)]
            found = await here.judgements.judge(here.alice, "sum", answer.decision.decision_id, right)
            assert (found.accuracy, found.right) == (evaluation, None)
        for _ in range(5):
            rows = generator.normal(size=(4, 3)).astype(np.float32)
            answer = await here.world.predict({}, inputs={"x": rows})
            right = [float(v) for v in rows.sum(axis=1)]
            found = await here.judgements.judge(here.alice, "sum", answer.decision.decision_id, right)
        assert found.judged_rows == 40
        assert found.accuracy.value == pytest.approx((100 * evaluation.value + 40) / 140, abs=1e-4) or found.drifted

    run_virtually(check())


BAD = [
    ([[3.0]], "it has 1 rows"),
    ([[3.0], [3.0], [3.0]], "it has 3 rows"),
    ([], "it has 0 rows"),
    ("3", "a list of FP32"),
    (None, "a list of FP32"),
    ([["a"], ["b"]], "numbers for FP32"),
    ([[3.0], [None]], "numbers for FP32"),
    ([[3.0, 1.0], [3.0, 1.0]], "its shape is"),
    ([[[3.0]], [[3.0]]], "its rank is 3"),
    ([[3.0], [3.0, 4.0]], "ragged"),
    ([True, False], "numbers for FP32"),
    ([1e300, 1.0], "expected"),
]


@pytest.mark.parametrize(("expected", "problem"), BAD)
def test_answers_that_cannot_be_right_name_the_field_and_change_nothing(court, expected, problem):
    async def check():
        here = court()
        decision_id = await here.answer(2)
        with pytest.raises(Unprocessable) as refused:
            await here.judgements.judge(here.alice, "sum", decision_id, expected)
        assert str(refused.value).startswith("expected")
        assert problem in str(refused.value)
        assert refused.value.details["field"] == "expected"
        assert refused.value.details["problem"]
        assert refused.value.details["fix"]
        assert here.world.snapshots.view()[1].judged == {}
        assert (await here.judgements.judge(here.alice, "sum", decision_id, [3.0, 3.0])).judged_rows == 2

    run_virtually(check())


def test_a_public_task_is_judged_by_the_public_tenant_alone(court):
    async def check():
        here = court()
        catalogue = here.world.snapshots.view()[0]
        here.world.snapshots.replace(catalogue.with_tasks(replace(catalogue.tasks["sum"], owner=PUBLIC)))
        decision_id = await here.answer()
        with pytest.raises(Forbidden, match="judged by its owner, tenant 'public', alone"):
            await here.judgements.judge(here.alice, "sum", decision_id, [[3.0]])
        assert here.accuracy() == catalogue.variants["sum/large"].accuracy
        assert not here.world.service.log.judged(decision_id)

    run_virtually(check())


def test_who_may_judge_what(court):
    async def check():
        here = court()
        decision_id = await here.answer()
        judge = here.judgements.judge
        for principal, task, which in (
            (here.alice, "sum", "unknown"),
            (here.alice, "nothing", decision_id),
            (here.alice, "private", decision_id),
            (Principal("eve", "globex"), "sum", decision_id),
        ):
            with pytest.raises(UnknownTask):
                await judge(principal, task, which, [[3.0]])
        await judge(here.alice, "sum", decision_id, [[3.0]])
        with pytest.raises(AlreadyJudged):
            await judge(here.alice, "sum", decision_id, [[4.0]])
        assert (await here.judge([[3.0]])).judged_rows == 2

    run_virtually(check())


def test_two_judgements_at_once_are_one(court):
    async def check():
        here = court()
        decision_id = await here.answer()
        both = (here.judgements.judge(here.alice, "sum", decision_id, [[3.0]]) for _ in range(2))
        found = await asyncio.gather(*both, return_exceptions=True)
        assert sum(isinstance(f, AlreadyJudged) for f in found) == 1
        assert (await here.judge([[3.0]])).judged_rows == 2

    run_virtually(check())


def test_an_answer_that_is_not_kept_cannot_be_judged(court):
    async def check():
        here = court()
        here.world.service.log = DecisionLog(answers_bytes=0)
        decision_id = await here.answer()
        with pytest.raises(UnknownTask, match="no answer to decision"):
            await here.judgements.judge(here.alice, "sum", decision_id, [[3.0]])

    run_virtually(check())


def test_a_task_that_does_not_say_what_is_judged_is_named(court):
    async def check():
        here = court()
        catalogue = here.world.snapshots.view()[0]
        here.world.snapshots.replace(catalogue.with_tasks(replace(catalogue.tasks["sum"], judged="")))
        with pytest.raises(Unprocessable, match="register it again"):
            await here.judge([[3.0]])

    run_virtually(check())
