from __future__ import annotations

import pytest

from registry.model import Slo
from scheduler.estimate import outlook
from scheduler.events import PlacementFailed
from scheduler.fleet import Fleet
from scheduler.ranking import Ranking
from scheduler.requests import Request
from scheduler.table import table_of


@pytest.fixture
def ranking(build, spec) -> Ranking:
    """Accuracies 0.9, 0.8 and 0.7; the middle one fails."""
    catalogue = build(spec("a", accuracy=0.7), spec("b", accuracy=0.8), spec("c", accuracy=0.9))
    fleet = Fleet.empty(catalogue).apply(PlacementFailed("t/b@cpu:1", "broke", 9.0, 0.0))
    return Ranking(outlook(Request("t", Slo(min_accuracy=0.75)), table_of(catalogue, "t"), fleet, 1.0))


def test_it_is_a_sequence_of_what_can_run(ranking) -> None:
    assert len(ranking) == 2
    assert [e.accuracy for e in ranking] == [0.9, 0.7]
    assert ranking[-1].accuracy == 0.7
    assert [e.accuracy for e in ranking[1:]] == [0.7]
    assert ranking[:5] == tuple(ranking)
    with pytest.raises(IndexError):
        ranking[2]


def test_estimates_are_made_once_and_say_what_they_break(ranking) -> None:
    assert ranking[1] is ranking[1]
    assert ranking[0] is next(iter(ranking))
    assert [e.broken for e in ranking] == [(), ("min_accuracy",)]
    assert ranking.held == 1


def test_the_first_needs_no_sort(ranking) -> None:
    assert ranking[0].accuracy == 0.9
    assert "_order" not in vars(ranking)
