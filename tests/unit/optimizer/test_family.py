"""One registration gives its models and what is made of them; nothing that goes wrong with one stops the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from optimizer.evaluation import Evaluation
from optimizer.family import Family, check, make_family
from optimizer.generate.generated import Expectation, Generated, Generator, Parameters, Parent
from optimizer.progress import Steps
from optimizer.registration import Model, Registration
from registry.artifacts import read_manifest
from registry.blobs.files import Files
from registry.errors import InvalidValue
from registry.model import Recipe, Task, TierKind
from registry.prices import local_tiers

RNG = np.random.default_rng(0)
ROWS = {"x": RNG.normal(size=(40, 8)).astype(np.float32)}
EVALUATION = Evaluation(ROWS, "y", RNG.normal(size=(40, 1)).astype(np.float32))


def _generate(parent: Parent, parameters: Parameters) -> Generated:
    assert set(parent.rows) == {"x"}
    chosen = {"deep": "no", **parameters}
    return Generated(parent.model, Recipe("copy", parent.name, tuple(sorted(chosen.items()))))


def _propose(parent: Parent) -> list[tuple[str, Parameters]]:
    return [("copy", {}), ("copy-deep", {"deep": "yes"})]


COPY = Generator(_generate, _propose, lambda parent, parameters: Expectation(1.0))
TABLE = {"copy": COPY, "compile": replace(COPY, propose=lambda parent: [])}


@pytest.fixture
def original(model: bytes) -> Model:
    return Model("original", model, Recipe("train"), max_batch=8, threads=1, prepack=True)


@pytest.fixture
def registration(task: Task, original: Model) -> Registration:
    return Registration(task, EVALUATION, ROWS, (original,), local_tiers()[:1], ("copy",))


async def made(registration: Registration, folder: Path, steps: Steps | None = None) -> Family:
    return await make_family(registration, Files(folder), steps or Steps(), TABLE)


def names(family: Family) -> list[str]:
    return [made.name for made in family.made]


async def test_the_only_model_keeps_its_name_and_so_do_suffixes(registration: Registration, tmp_path: Path) -> None:
    steps = Steps()
    family = await made(registration, tmp_path, steps)
    assert names(family) == ["original", "copy", "copy-deep"]
    assert (family.failures, family.tried) == ([], [])
    deep = family.generated[1].candidate
    assert deep.variant.recipe == Recipe("copy", "original", (("deep", "yes"),))
    assert (deep.max_batch, deep.threads, deep.prepack) == (8, 1, True)
    assert family.models() == {"original": registration.models[0].onnx}
    assert (steps.done, steps.total) == (4, 4)


async def test_of_several_models_each_has_its_family(registration: Registration, tmp_path: Path) -> None:
    first = registration.models[0]
    broken = Model("broken", b"nonsense", Recipe("train"))
    several = replace(registration, models=(first, broken, replace(first, name="other")))
    family = await made(several, tmp_path)
    assert names(family)[:2] == ["original", "other"]
    assert names(family)[2:] == ["original-copy", "original-copy-deep", "other-copy", "other-copy-deep"]
    assert [failure.variant for failure in family.failures] == ["broken"]
    assert set(family.models()) == {"original", "other"}


async def test_a_listed_variant_is_made_of_one_above(registration: Registration, tmp_path: Path) -> None:
    wanted = Model("mine", None, Recipe("copy", "original", (("deep", "maybe"),)), max_batch=4)
    further = Model("further", None, Recipe("copy", "mine"))
    orphan = Model("orphan", None, Recipe("copy", "nobody"))
    models = (*registration.models, wanted, further, orphan)
    family = await made(replace(registration, models=models, generate=()), tmp_path)
    assert names(family) == ["original", "mine", "further"]
    assert family.generated[0].candidate.max_batch == 4
    assert [made.candidate.variant.recipe for made in family.generated] == [
        Recipe("copy", "original", (("deep", "maybe"),)),
        Recipe("copy", "mine", (("deep", "no"),)),
    ]
    assert [(tried.name, tried.reason) for tried in family.tried] == [("orphan", "its parent 'nobody' was not made")]
    assert set(family.models()) == {"original"}


async def test_nothing_is_made_of_what_is_for_some_tiers_only(registration: Registration, tmp_path: Path) -> None:
    def here(parent: Parent, parameters: Parameters) -> Generated:
        return replace(_generate(parent, parameters), kinds=frozenset({TierKind.INLINE}))

    listed = (
        registration.models[0],
        Model("native", None, Recipe("here", "original")),
        Model("copied", None, Recipe("copy", "native")),
    )
    table = {**TABLE, "here": replace(COPY, generate=here)}
    given = replace(registration, models=listed, generate=())
    family = await make_family(given, Files(tmp_path), Steps(), table)
    assert names(family) == ["original", "native"]
    reason = "its parent 'native' is for some kinds of tier only"
    assert [(tried.name, tried.reason) for tried in family.tried] == [("copied", reason)]


async def test_a_model_left_alone_by_a_refusal_names_its_family_as_the_only_one(
    registration: Registration, tmp_path: Path
) -> None:
    """As `optimizer.more` will name what is made of it later."""
    broken = Model("broken", b"nonsense", Recipe("train"))
    family = await made(replace(registration, models=(broken, *registration.models)), tmp_path)
    assert names(family) == ["original", "copy", "copy-deep"]


@pytest.mark.parametrize(("generate", "optimised"), [((), True), (("copy",), True), (("compile",), False)])
async def test_where_compiling_is_asked_for_the_model_is_stored_as_it_came(
    registration: Registration, tmp_path: Path, generate: tuple[str, ...], optimised: bool
) -> None:
    family = await made(replace(registration, generate=generate), tmp_path)
    assert read_manifest(Files(tmp_path), family.registered[0].candidate.variant.artifact).optimised is optimised


async def test_a_refused_model_leaves_nothing_behind(registration: Registration, tmp_path: Path) -> None:
    refused = replace(registration, models=(Model("broken", b"nonsense", Recipe("train")),))
    family = await made(refused, tmp_path)
    assert (names(family), family.tried) == ([], [])
    assert "not ONNX" in family.failures[0].reason
    assert list(Files(tmp_path).digests()) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"generate": ("copi",)}, "generate: 'copi' is no generator; did you mean copy?"),
        ({"models": (Model("m", None, Recipe("copi", "m")),)}, "generate: 'copi' is no generator"),
        ({"models": (Model("Bad Name", b"", Recipe("train")),)}, "model.name: 'Bad Name' is not a name"),
        ({"models": (Model("m", b"", Recipe("train")),) * 2}, "model.name: 'm' is taken already"),
    ],
)
def test_a_registration_that_contradicts_itself(
    registration: Registration, fields: dict[str, tuple[object, ...]], message: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        check(replace(registration, **fields), TABLE)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)
