"""What a station keeps of one task: how patient its callers are, what margin they need, what could run."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from scheduler.rules import rule_named
from scheduler.served import FADES, LATE, LOOK, MANY_THREADS_FROM_S, MOST, PAUSE, RETRAIN_S, STEP, Outlook, Served
from scheduler.work import Ladder, Measured, Run, Rung, Work

QUICK: Measured = ((1, 0.1e-3, 0.12e-3), (8, 0.4e-3, 0.5e-3))
SLOW: Measured = ((1, 10e-3, 12e-3), (8, 40e-3, 50e-3))


def served(*rungs: Rung, threads: tuple[int, ...] = (1, 2)) -> Served:
    ladder = Ladder("t", rungs or (Rung("slow", 0.9, service={1: SLOW}), Rung("quick", 0.8, service={1: QUICK})))
    task = Served(ladder, threads, lambda service: rule_named("modelless")(service, lambda: 0.0))
    task.offer(ladder)
    return task


def work(patience_s: float = 20e-3, arrived: float = 0.0, **facts: object) -> Work:
    return Work("t", 1, arrived, arrived + patience_s, **facts)  # type: ignore[arg-type]


def patience_of(task: Served, *patiences: float, times: int = 1) -> float:
    for _ in range(times):
        for each in patiences:
            task.note(work(each), 0.0)
    return task.patience_s


# Patience


def test_without_deadlines_patience_has_no_end() -> None:
    assert patience_of(served(), inf, inf) == inf


def test_the_usual_patience_is_that_of_all_where_all_have_one() -> None:
    assert patience_of(served(), 20e-3, inf, times=100) == pytest.approx(20e-3)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_runs_suit_the_strictest_of_the_usual_callers(share: float) -> None:
    random, task = Random(1), served()
    for _ in range(5000):
        task.note(work(20e-3 if random.random() < share else 1.0), 0.0)
    assert 15e-3 < task.patience_s < 50e-3


def test_one_caller_with_all_the_time_in_the_world_changes_little() -> None:
    task = served()
    patience_of(task, 20e-3, times=10)
    assert patience_of(task, 1e9) < 25e-3


@pytest.mark.parametrize("patience_s", [-1.0, 0.0, 1e-9, 1e-5, -inf])
def test_what_nobody_could_do_sets_no_pace(patience_s: float) -> None:
    assert patience_of(served(), patience_s) == inf
    task = served()
    patience_of(task, 20e-3)
    assert patience_of(task, patience_s, times=100) == pytest.approx(20e-3)


def test_patience_follows_callers_who_get_stricter_at_once_and_others_slowly() -> None:
    task = served()
    patience_of(task, 1.0, times=100)
    assert patience_of(task, 20e-3, times=50) < 30e-3
    assert patience_of(task, 1.0, times=100) < 50e-3
    assert patience_of(task, 1.0, times=10_000) == pytest.approx(1.0, rel=0.1)


# The margin


def judged(task: Served, late: int, in_time: int, now: float = 0.0) -> float:
    """The margin after so many runs whose works were late, and so many whose were not."""
    for i in range(late + in_time):
        patience_s = 20e-3
        task.judge([work(patience_s, now - (patience_s + 1e-3 if i < late else 0.0))], 1e-3, now)
    return task.margin(now)


def test_a_margin_grows_with_late_runs_and_shrinks_with_others() -> None:
    task = served()
    assert judged(task, 0, 100) == 0.0
    assert judged(task, 3, 0) == pytest.approx(3 * STEP * (1 - LATE))
    assert judged(task, 0, 100) == pytest.approx(3 * STEP * (1 - LATE) - 100 * STEP * LATE)
    assert judged(task, 1000, 0) == MOST


def test_a_run_is_judged_once_by_the_share_of_its_works_that_are_late() -> None:
    task = served()
    works = [work(arrived=0.0)] * 2 + [work(arrived=5e-3)] * 6
    task.judge(works, 1e-3, 21e-3)
    assert task.margin(21e-3) == pytest.approx(STEP * (2 / 8 - LATE))


def test_what_expired_since_the_last_run_counts_with_the_next() -> None:
    task = served()
    for _ in range(3):
        task.give_up(work())
    assert task.margin(0.0) == 0.0
    task.judge([work()], 1e-3, 2e-3)
    assert task.margin(2e-3) == pytest.approx(STEP * (3 / 4 - LATE))
    task.judge([work()], 1e-3, 2e-3)  # and only once
    assert task.margin(2e-3) == pytest.approx(STEP * (3 / 4 - 2 * LATE))


def test_in_the_long_run_as_few_are_late_as_said() -> None:
    # A work needs up to half of its time left over: whoever has less is late.
    random, task, late = Random(2), served(), 0
    for i in range(30_000):
        missed = task.margin(0.0) < random.expovariate(20.0)
        late += missed and i >= 10_000
        judged(task, int(missed), int(not missed))
    assert late / 20_000 == pytest.approx(LATE, abs=0.001)


def test_a_run_that_alone_takes_longer_than_a_work_has_says_nothing_of_the_queue() -> None:
    task = served()
    task.judge([work()], 25e-3, 25e-3)
    assert task.margin(25e-3) == 0.0


def test_works_of_several_priorities_are_all_looked_at() -> None:
    task = served()
    patient, strict = work(inf), work(20e-3, priority=1)
    task.judge([patient, strict], 1e-3, 25e-3)
    assert task.margin(25e-3) == pytest.approx(STEP * (1 - LATE))


def test_guesses_that_were_in_time_do_not_lower_the_margin() -> None:
    task = served()
    before = judged(task, 3, 0)
    task.unjudged_until = 1.0
    for _ in range(100):
        task.judge([work(arrived=0.5)], 1e-3, 0.501)
    assert task.margin(0.0) == before


def test_works_without_deadlines_and_guesses_teach_nothing() -> None:
    task = served()
    task.judge([work(inf)], 1e-3, 1.0)
    task.unjudged_until = 5.0
    task.judge([work(arrived=5.0)], 1e-3, 6.0)
    task.give_up(work(arrived=5.0))
    assert task.margin(6.0) == 0.0
    task.judge([work(arrived=5.1)], 1e-3, 6.0)
    assert task.margin(6.0) > 0.0


def test_what_was_accepted_before_a_pause_of_the_machine_ended_teaches_nothing() -> None:
    task = served()
    patience_of(task, 20e-3)
    task.paused(PAUSE * 20e-3 * 0.9, 1e-3, 1.0)  # too short for one
    task.paused(3e-3, 4e-3, 1.0)  # a slow run
    task.judge([work(arrived=0.9)], 1e-3, 1.0)
    before = task.margin(1.0)
    assert before > 0.0
    task.paused(30e-3, 4e-3, 1.0)
    for _ in range(9):
        task.judge([work(arrived=0.99)], 1e-3, 1.05)
    assert task.margin(1.05) == before
    task.judge([work(arrived=1.01)], 1e-3, 1.05)
    assert task.margin(1.05) > before


def test_a_margin_that_shuts_everyone_out_fades() -> None:
    task = served()
    patience_of(task, 20e-3)
    judged(task, 1000, 0, now=1.0)
    silent = FADES * 20e-3
    assert task.margin(1.0 + silent) == MOST
    assert task.margin(1.0 + 2 * silent) == pytest.approx(MOST / 2)
    assert task.margin(1e6) < 1e-6


# What could run


def test_the_front_is_what_can_share_a_run_with_the_first() -> None:
    task = served()
    works = [work(1.0, form="a"), work(2.0, form="b"), work(3.0, form="a"), work(4.0, form="a", variant="slow")]
    for each in works:
        task.queue.add(each)
    assert task.front() == [works[0], works[2]]
    task.queue.remove(works[0])
    assert task.front() == [works[1]]


def test_how_much_of_what_waits_can_share_a_run_is_remembered() -> None:
    task = served()
    task.queue.add(work(form=0))
    task.front()
    assert task.alike == 1.0  # one alone says nothing
    for i in range(1, 10):
        task.queue.add(work(form=i))
    for _ in range(100):
        task.front()
    assert task.alike == pytest.approx(0.1, abs=0.01)


def test_a_look_at_a_long_queue_is_bounded() -> None:
    task = served()
    for _ in range(4 * LOOK):
        task.queue.add(work())
    assert len(task.front()) == LOOK


def test_several_threads_are_an_option_where_they_were_measured_or_a_run_is_worth_waking_them() -> None:
    keys = [option.key for option in served().options(work())]
    assert QUICK[0][1] < MANY_THREADS_FROM_S < SLOW[0][1]
    assert keys == [("slow", 1), ("slow", 2), ("quick", 1)]
    assert [option.key for option in served().options(work(), trying=False)] == [("slow", 1), ("quick", 1)]
    assert [option.key for option in served(Rung("new", 0.9)).options(work())] == [("new", 1)]
    measured = served(Rung("quick", 0.8, service={1: QUICK, 2: QUICK}))
    assert [option.key for option in measured.options(work())] == [("quick", 1), ("quick", 2)]


def test_what_was_forgotten_is_offered_again_with_how_often_it_ran() -> None:
    task = served()
    tried = task.services["slow", 2]
    tried.observe(1, 5e-3, 1e-4)
    for _ in range(3):
        tried.fade(again=True)
    task.offer(task.ladder)
    assert not task.services["slow", 2].known
    assert (task.services["slow", 2].runs, task.services["slow", 2].overhead_s) == (1, tried.overhead_s)


def test_only_what_was_never_profiled_is_forgotten() -> None:
    task = served()
    for service in task.services.values():
        service.observe(1, 5e-3)
    for i in range(10):
        task.fade(i * 2 * RETRAIN_S)
    assert {key for key, service in task.services.items() if not service.known} == {("slow", 2), ("quick", 2)}


def test_options_hold_floors_and_pins_and_say_what_is_loaded() -> None:
    task = served()
    task.held.add(("slow", 2))
    assert [option.key for option in task.options(work(floor=0.85))] == [("slow", 1), ("slow", 2)]
    assert [option.resident for option in task.options(work(floor=0.85))] == [False, True]
    assert [option.key for option in task.options(work(variant="quick"))] == [("quick", 1)]
    assert task.options(work(floor=0.95)) == task.options(work(floor=0.85, variant="quick")) == []


def test_those_able_are_the_loaded_ones_of_which_something_is_known_the_cheapest_first() -> None:
    def names(task: Served, **facts: object) -> list[str]:
        return [rung.variant for rung, _ in task.able(work(**facts))]

    task = served()
    assert names(task) == ["quick", "slow"]
    assert names(task, floor=0.85) == ["slow"]
    assert names(task, floor=0.95) == []
    task.held.add(("slow", 2))
    assert names(task) == ["slow"]
    assert names(task, variant="quick") == ["quick"]
    task = served(Rung("new", 0.95), Rung("known", 0.9, service={1: SLOW}))
    assert names(task) == ["known"]
    assert names(served(Rung("new", 0.95), Rung("other", 0.9))) == ["other", "new"]


# What is learnt


def test_a_work_that_some_variant_could_do_alone_in_time_is_possible() -> None:
    task = served()
    assert task.possible(work(0.12e-3))
    assert not task.possible(work(0.05e-3))
    assert not task.possible(work(0.05e-3, variant="slow"))
    assert not task.possible(work(-1.0))
    many = Work("t", 8, 0.0, 0.12e-3)
    assert not task.possible(many)


def test_threads_that_were_never_tried_may_share_what_is_to_be_done() -> None:
    strict = work(7e-3, floor=0.9)
    assert served().possible(strict)
    assert not served(threads=(1,)).possible(strict)
    assert not served().possible(work(4e-3, floor=0.9))


def test_what_never_ran_may_be_possible() -> None:
    assert served(Rung("slow", 0.9, service={1: SLOW}), Rung("new", 0.8)).possible(work(1e-6))


def test_what_was_never_measured_on_the_threads_that_there_are_is_no_reason_to_doubt() -> None:
    many = Rung("m", 0.9, service={1: SLOW, 4: QUICK})
    task = served(many)
    assert not task.doubt(work(2e-3), 10.0)
    assert served(many, threads=(1, 4)).doubt(work(2e-3), 10.0)


def test_a_doubt_sets_no_other_pace() -> None:
    task = served()
    patience_of(task, 20e-3)
    task.learn(run("slow"), 1.0)
    assert task.doubt(work(12e-3), 10.0)
    assert task.least_s == 0.0
    assert patience_of(task, 1e-9) == 20e-3


def test_what_admission_goes_by_is_of_about_the_usual_patience() -> None:
    task = served()
    patience_of(task, 20e-3)
    kept = task.outlook = Outlook(0, 0.0, [], 0, 0.0, task.patience_s)
    patience_of(task, 19e-3)
    assert task.outlook is kept
    patience_of(task, 10e-3, times=3)
    assert task.outlook is None


def run(variant: str, threads: int = 1, rows: int = 1) -> Run:
    return Run(1, "t", variant, threads, (), rows, 0.0)


def test_nothing_ends_within_half_of_the_quickest_median() -> None:
    assert served().least_s == pytest.approx(0.05e-3)
    task = served(Rung("new", 0.9))
    assert task.least_s == 0.0
    assert task.learn(run("new"), 4e-3)
    assert task.least_s == pytest.approx(2e-3)
    assert not task.learn(run("gone"), 4e-3)


def test_what_was_learnt_of_variants_that_stay_is_kept() -> None:
    task = served(Rung("kept", 0.9), Rung("gone", 0.8))
    task.held |= {("kept", 1), ("gone", 1)}
    for _ in range(20):
        task.learn(run("kept"), 5e-3)
        task.learn(run("gone"), 1e-3)
    task.offer(Ladder("t", (Rung("kept", 0.9, service={1: SLOW}), Rung("added", 0.7, service={1: QUICK}))))
    assert task.services["kept", 1].median(1) == pytest.approx(5e-3)
    assert task.services["added", 1].median(1) == pytest.approx(0.1e-3)
    assert task.held == {("kept", 1)}
    assert "gone" not in {variant for variant, _ in task.services}


def test_what_a_rule_learnt_of_variants_that_stay_is_kept() -> None:
    ladder = Ladder("t", (Rung("kept", 0.9), Rung("gone", 0.8)))
    task = Served(ladder, (1,), lambda service: rule_named("aimd")(service, lambda: 0.0))
    task.offer(ladder)
    task.learn(run("kept"), 1e-3)
    rules = {variant: task.rule((variant, 1)) for variant in ("kept", "gone")}
    task.offer(Ladder("t", (Rung("kept", 0.9),)))
    task.offer(ladder)
    assert task.rule(("kept", 1)) is rules["kept"]
    assert task.rule(("gone", 1)) is not rules["gone"]


def test_a_profile_that_comes_later_is_taken_where_nothing_ran_yet() -> None:
    task = served(Rung("m", 0.9))
    task.offer(Ladder("t", (Rung("m", 0.9, service={1: SLOW}),)))
    assert task.services["m", 1].median(1) == pytest.approx(10e-3)


def test_a_table_stands_for_a_while_and_is_trained_again_by_itself() -> None:
    task = served()
    options = task.options(work())
    table = task.table(options, 1.0, 0.0)
    assert task.table(options, 1.0, RETRAIN_S / 2) is table
    assert task.table(options, 2.0, RETRAIN_S / 2) is not table  # for other cores
    for _ in range(20):
        task.learn(run("slow"), 20e-3)
    dearer = task.table(options, 2.0, 2 * RETRAIN_S)
    assert dearer.settings[-1].row_s > 1.5 * table.settings[-1].row_s


def test_a_table_is_trained_again_as_soon_as_larger_runs_are_known() -> None:
    task = served(Rung("new", 0.9))
    options = task.options(work())
    assert task.table(options, 1.0, 0.0).settings[0].row_s == 0.0
    task.learn(run("new"), 5e-3)
    assert task.table(options, 1.0, 0.0).settings[0].row_s > 0.0
    task.learn(run("new", rows=2), 5.5e-3)
    assert task.table(options, 1.0, 0.0).settings[0].batch == 4
