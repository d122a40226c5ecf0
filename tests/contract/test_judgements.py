"""What every log of judgements keeps to, whichever it is."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from registry.judgements import Case, JudgementLog, Observation
from registry.model import Accuracy
from registry.stores.dynamodb_judgements import DynamoJudgements
from registry.stores.judgements import MemoryJudgements, SqliteJudgements

NOW_MS = 1_790_000_000_000
CASE = Case("blake3:a", Accuracy(0.9, 0.85, 0.95, 100, "wilson"))


def observed(number: int, **changes: object) -> Observation:
    """The one of decision `number`, a second after the one before."""
    made = Observation(f"d{number}", "sum/large", "blake3:a", NOW_MS + 1000 * number, 1, b"h\x01")
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], JudgementLog]:
    """Opens the same log once more, as another environment would."""
    if request.param == "memory":
        log = MemoryJudgements()
        return lambda: log
    if request.param == "sqlite":
        return lambda: SqliteJudgements(tmp_path / "judgements.db")
    table = request.getfixturevalue("table")
    return lambda: DynamoJudgements(table)


def test_a_new_log_is_empty(log: JudgementLog) -> None:
    assert log.last("sum/large", "blake3:a", 10) == ()
    assert log.case("sum/large") is None
    assert log.marks() == ()


def test_what_is_added_is_there_for_everybody_oldest_first(log: JudgementLog, other: JudgementLog) -> None:
    assert log.add([observed(2), observed(1)]) == (True, True)
    assert other.add([observed(0)]) == (True,)
    assert log.last("sum/large", "blake3:a", 10) == tuple(observed(n) for n in range(3))


def test_what_was_said_first_stands(log: JudgementLog, other: JudgementLog) -> None:
    log.add([observed(1)])
    assert other.add([observed(1, evidence=b"h\x00"), observed(2)]) == (False, True)
    assert log.add([observed(2), observed(2)]) == (False, False)
    assert log.last("sum/large", "blake3:a", 10) == (observed(1), observed(2))


def test_every_order_and_every_repetition_comes_to_the_same(log: JudgementLog) -> None:
    wanted = tuple(observed(n) for n in range(4))
    for order in itertools.islice(itertools.permutations(wanted), 5):
        log.add(order)
    assert log.last("sum/large", "blake3:a", 10) == wanted


def test_the_last_are_those_that_hold_so_many_rows(log: JudgementLog) -> None:
    log.add([observed(n, rows=3, evidence=b"h\x01\x01\x00") for n in range(6)])
    newest = [o.decision_id for o in log.last("sum/large", "blake3:a", 7)]
    assert newest == ["d3", "d4", "d5"]
    assert [o.decision_id for o in log.last("sum/large", "blake3:a", 6)] == ["d4", "d5"]
    assert [o.decision_id for o in log.last("sum/large", "blake3:a", 1)] == ["d5"]


def test_only_what_comes_after_a_key_counts(log: JudgementLog) -> None:
    log.add([observed(n) for n in range(6)])
    found = log.last("sum/large", "blake3:a", 10, after=observed(3).key)
    assert [o.decision_id for o in found] == ["d4", "d5"]
    assert log.last("sum/large", "blake3:a", 10, after=observed(5).key) == ()


def test_another_variant_or_artifact_is_another_matter(log: JudgementLog) -> None:
    log.add([observed(1), observed(1, variant="sum/large-2"), observed(1, artifact="blake3:b")])
    assert log.last("sum/large", "blake3:a", 10) == (observed(1),)
    assert log.last("sum/large", "blake3:b", 10) == (observed(1, artifact="blake3:b"),)
    assert [mark.variant for mark in log.marks()] == ["sum/large", "sum/large-2"]


def test_bytes_come_back_as_they_were(log: JudgementLog) -> None:
    every = observed(1, evidence=bytes(range(256)) * 40, rows=10)
    log.add([every])
    assert log.last("sum/large", "blake3:a", 1) == (every,)


def test_many_large_observations_are_read_to_the_last(log: JudgementLog) -> None:
    large = [observed(n, evidence=bytes([n]) * 60_000) for n in range(40)]
    log.add(large)
    assert log.last("sum/large", "blake3:a", 40) == tuple(large)


def test_a_case_is_what_was_kept_last(log: JudgementLog, other: JudgementLog) -> None:
    log.keep("sum/large", CASE)
    later = replace(CASE, after=observed(3).key, published=(CASE.evaluation, Accuracy(0.5, 0.4, 0.6, 9, "wilson")))
    other.keep("sum/large", later)
    assert log.case("sum/large") == later
    assert log.case("sum/small") is None


def test_a_mark_goes_when_it_is_settled_but_not_when_more_has_come(log: JudgementLog, other: JudgementLog) -> None:
    log.add([observed(1)])
    (mark,) = log.marks()
    other.add([observed(2)])
    log.settle(mark)
    (again,) = other.marks()
    assert (again.variant, again != mark) == ("sum/large", True)
    log.settle(again)
    log.settle(again)
    assert log.marks() == ()


def test_what_is_added_again_is_marked_again(log: JudgementLog) -> None:
    """Whoever was cut off between keeping and marking tries both again."""
    log.add([observed(1)])
    log.settle(*log.marks())
    assert log.add([observed(1)]) == (False,)
    assert [mark.variant for mark in log.marks()] == ["sum/large"]


def test_racing_threads_lose_nothing(reopen: Callable[[], JudgementLog]) -> None:
    threads, each = 4, 5
    barrier = threading.Barrier(threads)
    firsts: list[bool] = []

    def work(first: int) -> None:
        log = reopen()
        barrier.wait(timeout=30)
        for number in range(each):
            firsts.extend(log.add([observed(first + number), observed(1000 + number)]))
        log.close()

    running = [threading.Thread(target=work, args=(each * n,)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=60)
    log = reopen()
    assert len(log.last("sum/large", "blake3:a", 1000)) == threads * each + each
    assert sum(firsts) == threads * each + each
    log.close()
