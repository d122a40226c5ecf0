"""Names of generated variants, and attempts that come to nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from optimizer.errors import GenerationFailed
from optimizer.evaluation import Evaluation
from optimizer.generate.generated import Expectation, Generated, Generator, Parameters, Parent
from optimizer.make import Made
from optimizer.proposals import attempt, failed, proposals, variant_name
from optimizer.registration import Model, Registration
from registry.artifacts import read_manifest
from registry.blobs.files import Files
from registry.lineage import Outcome, Tried
from registry.model import Recipe, Task, TierKind
from registry.prices import local_tiers

RECIPE = Recipe("copy", "original")


@pytest.fixture
def registration(task: Task) -> Registration:
    generator = np.random.default_rng(0)
    inputs = {"x": generator.normal(size=(40, 8)).astype(np.float32)}
    evaluation = Evaluation(inputs, "y", generator.normal(size=(40, 1)).astype(np.float32))
    return Registration(task, evaluation, {}, (), local_tiers()[:2])


def generator(**fields: object) -> Generator:
    """One that copies its parent, and says this of the copy."""

    def generate(parent: Parent, parameters: Parameters) -> Generated:
        recipe = Recipe("copy", parent.name, tuple(sorted(parameters.items())))
        return Generated(parent.model, recipe, **fields)  # type: ignore[arg-type]

    return Generator(generate, lambda parent: [("copy", {})], lambda parent, parameters: Expectation(1.0))


def tried(registration: Registration, model: bytes, made_by: Generator, blobs: Files) -> Made | Tried:
    wanted = Model("copy", None, RECIPE, max_batch=16)
    attempted = attempt(wanted, Parent("original", model, registration.task), registration, blobs, {"copy": made_by})
    return attempted if isinstance(attempted, Tried) else attempted[1]


@pytest.mark.parametrize(
    ("parent", "suffix", "alone", "taken", "name"),
    [
        ("original", "int8", True, {"original"}, "int8"),
        ("mlp", "int8", False, {"mlp", "forest"}, "mlp-int8"),
        ("int8", "int8", True, {"int8"}, "int8-int8"),
        ("mlp", "int8", False, {"mlp", "mlp-int8"}, "mlp-int8-2"),
        ("mlp", "int8", False, {"mlp", "mlp-int8", "mlp-int8-2"}, "mlp-int8-3"),
        ("m" * 64, "trees-50", False, {"m" * 64}, "m" * 55 + "-trees-50"),
        ("m" * 64, "s" * 80, False, set(), "m-" + "s" * 62),
    ],
)
def test_names_say_the_parent_where_there_are_several(
    parent: str, suffix: str, alone: bool, taken: set[str], name: str
) -> None:
    assert variant_name(parent, suffix, alone=alone, taken=taken) == name
    assert len(name) <= 64


def test_a_generator_that_crashes_while_proposing_leaves_the_others(task: Task, model: bytes) -> None:
    def crash(parent: Parent) -> NoReturn:
        raise ZeroDivisionError("by zero")

    def refuse(parent: Parent) -> NoReturn:
        raise GenerationFailed("picky", "there is nothing to do")

    copy = generator()
    table = {
        "crash": Generator(copy.generate, crash, copy.expect),
        "picky": Generator(copy.generate, refuse, copy.expect),
        "copy": copy,
    }
    found = list(proposals(Parent("original", model, task), table, lambda suffix: f"o-{suffix}"))
    assert found == [
        Tried("sum", "o-crash", Recipe("crash", "original"), Outcome.FAILED, "ZeroDivisionError: by zero"),
        Tried("sum", "o-picky", Recipe("picky", "original"), Outcome.INAPPLICABLE, "there is nothing to do"),
        Model("o-copy", None, RECIPE),
    ]


def test_a_variant_keeps_to_what_its_generator_says(registration: Registration, model: bytes, tmp_path: Path) -> None:
    kinds = frozenset({TierKind.PROCESS})
    made = tried(registration, model, generator(max_batch=8, kinds=kinds, optimised=True), Files(tmp_path))
    assert isinstance(made, Made)
    assert (made.name, made.candidate.max_batch, made.kinds) == ("copy", 8, kinds)
    assert read_manifest(Files(tmp_path), made.candidate.variant.artifact).optimised
    larger = tried(registration, model, generator(max_batch=64), Files(tmp_path))
    assert isinstance(larger, Made)
    assert larger.candidate.max_batch == 16


def crash(parent: Parent, parameters: Parameters) -> NoReturn:
    raise KeyError(parent.name)


@pytest.mark.parametrize(
    ("made_by", "reason"),
    [
        (replace(generator(), generate=lambda parent, _: Generated(b"nonsense", RECIPE)), "model: these bytes are not"),
        (replace(generator(), generate=crash), "KeyError: 'original'"),
    ],
)
def test_what_cannot_be_made_has_a_reason(
    registration: Registration, model: bytes, made_by: Generator, reason: str, tmp_path: Path
) -> None:
    attempted = tried(registration, model, made_by, Files(tmp_path))
    assert isinstance(attempted, Tried)
    assert (attempted.name, attempted.recipe, attempted.outcome) == ("copy", RECIPE, Outcome.FAILED)
    assert attempted.reason.startswith(reason)


def test_what_is_for_other_tiers_does_not_apply(registration: Registration, model: bytes, tmp_path: Path) -> None:
    attempted = tried(registration, model, generator(kinds=frozenset({TierKind.GPU})), Files(tmp_path))
    assert isinstance(attempted, Tried)
    assert attempted.outcome is Outcome.INAPPLICABLE
    assert attempted.reason == "is for gpu tiers, and the task has none"


def test_a_reason_is_one_line_of_bearable_length() -> None:
    attempted = failed("t", "n", RECIPE, RuntimeError("a\n  b" + "c" * 1000))
    assert attempted.reason.startswith("RuntimeError: a bccc")
    assert len(attempted.reason) <= 520
    assert failed("t", "n", RECIPE, ValueError()).reason == "ValueError: no reason was given"
