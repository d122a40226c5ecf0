"""What may follow on what, and which questions are the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.documents import from_document, to_document
from registry.errors import InvalidValue
from registry.generations import ACTIVE, TRANSITIONS, Asked, Generation, GenerationState
from registry.model import Recipe, Slo

GENERATION = Generation(
    "1", "t", "trees-5", Recipe("trees", "f", (("percent", "5"),)), "trees-5", "b", GenerationState.QUEUED, "now"
)


def test_the_table_knows_every_state() -> None:
    assert set(TRANSITIONS) == set(GenerationState)
    assert {GenerationState.QUEUED, GenerationState.RUNNING} == ACTIVE


@pytest.mark.parametrize("state", GenerationState)
@pytest.mark.parametrize("following", GenerationState)
def test_only_what_the_table_says_may_follow(state: GenerationState, following: GenerationState) -> None:
    generation = replace(GENERATION, state=state)
    if following in TRANSITIONS[state]:
        generation.check(following)
    else:
        with pytest.raises(InvalidValue, match=f"generation 1: is {state} and cannot become {following}"):
            generation.check(following)


def test_equal_questions_have_equal_keys() -> None:
    asked = Asked("t", Slo(latency_ms=5.0), 2)
    assert asked.key == Asked("t", Slo(latency_ms=5.0), 2).key
    assert len({asked.key, replace(asked, rows=3).key, replace(asked, task="u").key, Asked("t", Slo(), 2).key}) == 4


def test_generations_and_questions_are_documents() -> None:
    for value in (GENERATION, Asked("t", Slo(latency_ms=5.0), 2)):
        assert from_document(type(value), to_document(value)) == value
