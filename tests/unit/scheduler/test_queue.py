"""Works wait by priority, then by deadline, then in the order in which they came."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from scheduler.queue import Queue
from scheduler.work import Work


def work(deadline: float = inf, priority: int = 0, rows: int = 1) -> Work:
    return Work("t", rows, 0.0, deadline, priority=priority)


def filled(*works: Work) -> Queue:
    queue = Queue()
    for each in works:
        queue.add(each)
    return queue


def by_rule(works: list[Work]) -> list[Work]:
    """The order in plain Python; the sort is stable."""
    return sorted(works, key=lambda each: (each.priority, each.deadline))


def test_the_earliest_deadline_is_first_and_whoever_came_first_among_equals() -> None:
    a, b, c, d = work(2.0), work(1.0), work(2.0), work()
    assert list(filled(a, b, c, d)) == [b, a, c, d]


def test_a_lower_priority_number_goes_before_any_deadline() -> None:
    late_but_first, early = work(9.0, priority=-1), work(1.0)
    assert list(filled(early, late_but_first)) == [late_but_first, early]


def test_a_work_leaves_once() -> None:
    a, b = work(1.0, rows=3), work(1.0, rows=4)
    queue = filled(a, b)
    assert (len(queue), queue.rows, a in queue) == (2, 7, True)
    assert queue.remove(a)
    assert not queue.remove(a)
    assert (list(queue), queue.rows, a in queue) == ([b], 4, False)
    assert queue.remove(b)
    assert (len(queue), queue.rows, queue.earliest) == (0, 0, inf)


@pytest.mark.parametrize("taken", [(0, 1), (1,), (0, 2), (2, 1)])
def test_works_are_taken_from_the_front_or_from_anywhere(taken: tuple[int, ...]) -> None:
    works = [work(1.0), work(2.0, rows=2), work(1.5, priority=1)]
    queue = filled(*works)
    queue.take(tuple(works[i] for i in taken))
    assert list(queue) == [each for i, each in enumerate(works) if i not in taken]
    assert queue.rows == sum(each.rows for each in queue)


def test_what_is_due_is_found_in_every_class() -> None:
    works = [work(1.0), work(2.0), work(1.0, priority=3), work(5.0, priority=3), work()]
    queue = filled(*works)
    assert queue.earliest == 1.0
    assert queue.before(0.999) == []
    assert set(queue.before(1.0)) == {works[0], works[2]}
    assert set(queue.before(5.0)) == set(works[:4])


def test_rows_ahead_are_those_that_would_run_before() -> None:
    queue = filled(work(1.0, rows=2), work(3.0, rows=4), work(rows=8), work(9.0, priority=1, rows=16))
    assert queue.ahead_of(1.0, 0) == 2  # a newcomer runs after its equals
    assert queue.ahead_of(0.5, 0) == 0
    assert queue.ahead_of(3.0, 0) == 6
    assert queue.ahead_of(inf, 0) == 14
    assert queue.ahead_of(0.0, 1) == 14
    assert queue.ahead_of(9.0, 2) == 30
    assert queue.ahead_of(9.0, -1) == 0


def test_those_behind_have_deadlines_and_are_some_of_many() -> None:
    queue = filled(*(work(float(i)) for i in range(100)), work())
    assert [(before, each.deadline) for before, each in queue.behind(97.0, 0, 64)] == [(98.0, 98.0), (99.0, 99.0)]
    assert list(queue.behind(inf, 0, 64)) == []
    some = list(queue.behind(-1.0, 0, 10))
    assert [each.deadline for _, each in some] == [float(i) for i in range(0, 100, 10)]
    assert [before for before, _ in some] == [float(i) for i in range(0, 100, 10)]


def test_those_behind_are_of_less_urgent_classes_too() -> None:
    queue = filled(work(1.0), work(2.0, priority=1, rows=3), work(3.0, priority=1, rows=2))
    # Six rows in three works: two each.
    assert [(before, each.deadline) for before, each in queue.behind(1.0, 0, 64)] == [(2.0, 2.0), (4.0, 3.0)]
    assert [each.deadline for _, each in queue.behind(2.0, 1, 64)] == [3.0]


def test_an_empty_queue_has_nothing() -> None:
    queue = Queue()
    assert (len(queue), list(queue), queue.rows, queue.earliest) == (0, [], 0, inf)
    assert (queue.ahead_of(1.0, 0), list(queue.behind(1.0, 0, 64)), queue.before(inf)) == (0, [], [])


def test_whatever_comes_and_goes_the_order_holds() -> None:
    random = Random(1)
    queue, model = Queue(), []
    for _ in range(2000):
        match random.randrange(5):
            case 0 | 1 | 2:
                model.append(work(random.choice((1.0, 2.0, 3.0, inf)), random.randrange(3), random.randrange(1, 5)))
                queue.add(model[-1])
            case 3 if model:
                assert queue.remove(model.pop(random.randrange(len(model))))
            case 4 if model:
                front = tuple(by_rule(model)[: random.randrange(1, 4)])
                queue.take(front)
                model = [each for each in model if each not in front]
        assert list(queue) == by_rule(model)
        assert queue.rows == sum(each.rows for each in model)
        deadline, priority = random.choice((1.5, 2.0, inf)), random.randrange(3)
        before = [each for each in model if (each.priority, each.deadline) <= (priority, deadline)]
        assert queue.ahead_of(deadline, priority) == sum(each.rows for each in before)


def test_a_look_at_the_front_is_the_same_as_the_beginning_of_all() -> None:
    random = Random(3)
    queue = filled(*(work(random.random(), random.randrange(3)) for _ in range(40)))
    for most in (1, 7, 39, 40, 100):
        assert queue.first(most) == list(queue)[:most]
