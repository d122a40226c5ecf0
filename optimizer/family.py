"""A registration's models and what the generators make of them; a generator that fails or crashes takes nothing down.

Models are checked and made first. Of each, every generator asked for proposes variants; those are made and judged, and
of each that comes to nothing there is a reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from optimizer.artifact import Optimise
from optimizer.errors import GenerationFailed, ModelRefused
from optimizer.generate.generated import Generated, Parent
from optimizer.generate.table import GENERATORS
from optimizer.make import Made, make
from optimizer.progress import Steps
from optimizer.registration import Model, Registration
from optimizer.vet import vet_all
from registry.blobs import Blobs
from registry.errors import InvalidValue
from registry.lineage import Outcome, Tried
from registry.model import Recipe, TierKind, check_name
from registry.sections import nearest
from runtime.errors import RuntimeFault

COMPILE = "compile"
"""The generator that optimises ahead of time. Where it is asked for, a registered model is stored as it came and
optimised whenever it is loaded, so that what compiling gains is measured against what it was."""

LONGEST_NAME = 64
"""Characters of a variant's name (registry.model.NAME)."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A model that could not be made a variant, and why."""

    variant: str
    reason: str


@dataclass(slots=True)
class Family:
    """What came of a registration's models."""

    registered: list[Made] = field(default_factory=list)
    generated: list[Made] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)
    parents: dict[str, Parent] = field(default_factory=dict)
    """By name: those that were registered, and those that a manifest has made to be parents."""

    @property
    def made(self) -> list[Made]:
        """Every variant, the registered ones first."""
        return [*self.registered, *self.generated]

    def models(self) -> dict[str, bytes]:
        """The ONNX bytes of the registered variants."""
        return {made.name: self.parents[made.name].model for made in self.registered}


async def make_family(registration: Registration, blobs: Blobs, steps: Steps) -> Family:
    """Every model of a registration and everything its generators propose, made and judged, or the reason why not.

    Raises InvalidValue for a registration that contradicts itself, InvalidEvaluation, for that is no model's fault, and
    SandboxFailed.
    """
    check(registration)
    family = Family()
    given = [model for model in registration.models if model.onnx is not None]
    wanted = [model for model in registration.models if model.onnx is None]
    steps.expect(1 + len(given))
    # Before any byte of them is stored or read by this process. On a thread, for backends keep environments alive on
    # this loop.
    verdicts = await asyncio.to_thread(vet_all, [model.onnx or b"" for model in given])
    steps.step(f"{len(given)} models vetted")
    for model, verdict in zip(given, verdicts, strict=True):
        if isinstance(verdict, ModelRefused):
            family.failures.append(Failure(model.name, str(verdict)))
        else:
            vetted = replace(model, onnx=verdict)
            await asyncio.to_thread(_register, family, registration, vetted, blobs)
        steps.step(f"{model.name}: made and judged")
    if family.registered:
        wanted += await asyncio.to_thread(_proposed, family, registration)
    steps.expect(len(wanted))
    for model in wanted:
        await asyncio.to_thread(_generate, family, registration, model, blobs)
        steps.step(f"{model.name}: made and judged")
    return family


def check(registration: Registration) -> None:
    """Raise InvalidValue for a bad or repeated name, or a generator that there is not."""
    taken: set[str] = set()
    for model in registration.models:
        check_name(model.name, "model.name")
        if model.name in taken:
            raise InvalidValue("model.name", f"{model.name!r} is taken already", "give each model its own name")
        taken.add(model.name)
    recipes = (model.recipe.generator for model in registration.models if model.onnx is None)
    for name in (*registration.generate, *recipes):
        if name not in GENERATORS:
            raise InvalidValue("generate", f"{name!r} is no generator", nearest(name, GENERATORS))


def proposals(parent: Parent, generators: Iterable[str], name_of: Callable[[str], str]) -> Iterator[Model | Tried]:
    """What generators propose to make of a variant, as models without bytes; of each that proposes nothing, why.

    `name_of` makes a variant's name of a suffix.
    """
    for generator in generators:
        try:
            proposed = GENERATORS[generator].propose(parent)
        except Exception as fault:  # noqa: BLE001 - generators are many, and one that crashes must not stop the rest
            yield failed(parent.task.name, name_of(generator), Recipe(generator, parent.name), fault)
            continue
        for suffix, parameters in proposed:
            yield Model(name_of(suffix), None, Recipe(generator, parent.name, tuple(sorted(parameters.items()))))


def generate(parent: Parent, recipe: Recipe) -> Generated:
    """What a recipe's generator makes of its parent; raises GenerationFailed, or whatever a broken generator raises."""
    return GENERATORS[recipe.generator].generate(parent, dict(recipe.parameters))


def make_generated(model: Model, generated: Generated, registration: Registration, blobs: Blobs) -> Made:
    """What a generator made, as a variant with the settings of `model`; raises as `make` does, or GenerationFailed."""
    kinds = generated.kinds
    if kinds is not None and not any(tier.kind in kinds for tier in registration.tiers):
        raise GenerationFailed(generated.recipe.generator, f"is for {_listed(kinds)} tiers, and the task has none")
    most = min(model.max_batch, generated.max_batch or model.max_batch)
    whole = replace(model, onnx=generated.model, recipe=generated.recipe, max_batch=most)
    optimise = _when(generated)
    return make(registration.task, whole, blobs, registration.evaluation, optimise=optimise, kinds=kinds)


def failed(task: str, name: str, recipe: Recipe, fault: Exception) -> Tried:
    """A variant that could not be made, with the reason in a sentence."""
    known = isinstance(fault, GenerationFailed | InvalidValue | RuntimeFault)
    told = fault.reason if isinstance(fault, GenerationFailed) else str(fault)
    reason = " ".join(told.split())[:500] or "no reason was given"
    return Tried(task, name, recipe, Outcome.FAILED, reason if known else f"{type(fault).__name__}: {reason}")


def named(parent: str, suffix: str, *, alone: bool, taken: Collection[str] = ()) -> str:
    """A generated variant's name: `int8` of the only model, else `<model>-int8`; counted on when that is taken."""
    name = suffix if alone and suffix not in taken else _joined(parent, suffix)
    serial = 2
    while name in taken:
        name = _joined(parent, f"{suffix}-{serial}")
        serial += 1
    return name


def _joined(parent: str, suffix: str) -> str:
    suffix = suffix[: LONGEST_NAME - 2]
    return f"{parent[: LONGEST_NAME - 1 - len(suffix)]}-{suffix}"


def _register(family: Family, registration: Registration, model: Model, blobs: Blobs) -> None:
    assert model.onnx is not None
    optimise = Optimise.AT_LOAD if COMPILE in registration.generate else Optimise.NOW
    try:
        made = make(registration.task, model, blobs, registration.evaluation, optimise=optimise)
    except (InvalidValue, RuntimeFault) as fault:
        family.failures.append(Failure(model.name, str(fault)))
        return
    family.registered.append(made)
    family.parents[model.name] = _parent(registration, model.name, model.onnx)


def _generate(family: Family, registration: Registration, model: Model, blobs: Blobs) -> None:
    recipe, task = model.recipe, registration.task.name
    parent = family.parents.get(recipe.parent or "")
    if parent is None:
        reason = GenerationFailed(recipe.generator, f"its parent {recipe.parent!r} was not made")
        family.tried.append(failed(task, model.name, recipe, reason))
        return
    try:
        generated = generate(parent, recipe)
        recipe = generated.recipe
        family.generated.append(make_generated(model, generated, registration, blobs))
    except Exception as fault:  # noqa: BLE001 - generators are many, and one that crashes must not stop the rest
        family.tried.append(failed(task, model.name, recipe, fault))
        return
    if any(model.name == other.recipe.parent for other in registration.models):
        family.parents[model.name] = _parent(registration, model.name, generated.model)


def _proposed(family: Family, registration: Registration) -> list[Model]:
    """What to make of the registered variants, with their settings."""
    alone = len(registration.models) == 1
    taken = {model.name for model in registration.models}
    wanted = []
    settings = {model.name: model for model in registration.models}
    for made in family.registered:

        def name_of(suffix: str, parent: str = made.name) -> str:
            name = named(parent, suffix, alone=alone, taken=taken)
            taken.add(name)
            return name

        for proposal in proposals(family.parents[made.name], registration.generate, name_of):
            if isinstance(proposal, Tried):
                family.tried.append(proposal)
            else:
                wanted.append(replace(settings[made.name], name=proposal.name, onnx=None, recipe=proposal.recipe))
    return wanted


def _parent(registration: Registration, name: str, model: bytes) -> Parent:
    rows: Mapping[str, NDArray[Any]] = registration.calibration
    return Parent(name, model, registration.task, rows)


def _when(generated: Generated) -> Optimise:
    if generated.optimised:
        return Optimise.NEVER
    # A graph that is optimised here is one for this CPU's kernels; another device optimises it for itself.
    elsewhere = generated.kinds is not None and generated.kinds <= {TierKind.GPU}
    return Optimise.AT_LOAD if elsewhere else Optimise.NOW


def _listed(kinds: Iterable[TierKind]) -> str:
    return " or ".join(sorted(kind.value for kind in kinds))
