"""A registration's models and what the generators make of them; a generator that fails or crashes takes nothing down.

Models are checked and made first. Of each, every generator asked for proposes variants; those are made and judged, and
of each that comes to nothing there is a reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from optimizer.artifact import Optimise
from optimizer.errors import GenerationFailed, ModelRefused
from optimizer.generate.generated import Parent
from optimizer.generate.table import GENERATORS
from optimizer.make import Made, make
from optimizer.progress import Steps
from optimizer.proposals import Generators, attempt, failed, proposals, variant_name
from optimizer.registration import Model, Registration
from optimizer.vet import vet_all
from registry.blobs import Blobs
from registry.errors import InvalidValue
from registry.lineage import Tried
from registry.model import check_name
from registry.sections import nearest
from runtime.errors import RuntimeFault

COMPILE = "compile"
"""The generator that optimises ahead of time. Where it is asked for, a registered model is stored as it came and
optimised whenever it is loaded, so that what compiling gains is measured against what it was."""


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


async def make_family(
    registration: Registration, blobs: Blobs, steps: Steps, generators: Generators = GENERATORS
) -> Family:
    """Every model of a registration and everything its generators propose, made and judged, or the reason why not.

    Raises InvalidValue for a registration that contradicts itself, InvalidEvaluation, for that is no model's fault, and
    SandboxFailed.
    """
    check(registration, generators)
    family = Family()
    given = [model for model in registration.models if model.onnx is not None]
    wanted = [model for model in registration.models if model.onnx is None]
    steps.expect(1 + len(given))
    # Before any byte of them is stored or read by this process. On a thread, for backends keep environments alive on
    # this loop.
    extents = {name: array.shape[1:] for name, array in registration.evaluation.inputs.items()}
    verdicts = await asyncio.to_thread(vet_all, [model.onnx or b"" for model in given], extents=extents)
    steps.step(f"{len(given)} models vetted")
    for model, verdict in zip(given, verdicts, strict=True):
        if isinstance(verdict, ModelRefused):
            family.failures.append(Failure(model.name, str(verdict)))
        else:
            vetted = replace(model, onnx=verdict)
            await asyncio.to_thread(_register, family, registration, vetted, blobs)
        steps.step(f"{model.name}: made and judged")
    if family.registered:
        wanted += await asyncio.to_thread(_proposed, family, registration, generators)
    steps.expect(len(wanted))
    for model in wanted:
        await asyncio.to_thread(_generate, family, registration, model, blobs, generators)
        steps.step(f"{model.name}: made and judged")
    return family


def check(registration: Registration, generators: Generators = GENERATORS) -> None:
    """Raise InvalidValue for a bad or repeated name, or a generator that there is not."""
    taken: set[str] = set()
    for model in registration.models:
        check_name(model.name, "model.name")
        if model.name in taken:
            raise InvalidValue("model.name", f"{model.name!r} is taken already", "give each model its own name")
        taken.add(model.name)
    recipes = (model.recipe.generator for model in registration.models if model.onnx is None)
    for name in (*registration.generate, *recipes):
        if name not in generators:
            raise InvalidValue("generate", f"{name!r} is no generator", nearest(name, generators))


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


def _generate(family: Family, registration: Registration, model: Model, blobs: Blobs, generators: Generators) -> None:
    parent = family.parents.get(model.recipe.parent or "")
    if parent is None:
        found = any(made.name == model.recipe.parent for made in family.made)
        problem = "is for some kinds of tier only" if found else "was not made"
        reason = GenerationFailed(model.recipe.generator, f"its parent {model.recipe.parent!r} {problem}")
        family.tried.append(failed(registration.task.name, model.name, model.recipe, reason))
        return
    attempted = attempt(model, parent, registration, blobs, generators)
    if isinstance(attempted, Tried):
        family.tried.append(attempted)
        return
    whole, made = attempted
    family.generated.append(made)
    # What is laid out for one device stays so in whatever is made of it, and no recipe of that would say it.
    if made.kinds is None and any(model.name == other.recipe.parent for other in registration.models):
        family.parents[model.name] = _parent(registration, model.name, whole.onnx or b"")


def _proposed(family: Family, registration: Registration, generators: Generators) -> list[Model]:
    """What to make of the registered variants, with their settings."""
    wanted_of = {name: generators[name] for name in registration.generate}
    alone = len(family.registered) == 1
    taken = {model.name for model in registration.models}
    wanted = []
    settings = {model.name: model for model in registration.models}
    for made in family.registered:

        def name_of(suffix: str, parent: str = made.name) -> str:
            name = variant_name(parent, suffix, alone=alone, taken=taken)
            taken.add(name)
            return name

        for proposal in proposals(family.parents[made.name], wanted_of, name_of):
            if isinstance(proposal, Tried):
                family.tried.append(proposal)
            else:
                wanted.append(replace(settings[made.name], name=proposal.name, onnx=None, recipe=proposal.recipe))
    return wanted


def _parent(registration: Registration, name: str, model: bytes) -> Parent:
    rows: Mapping[str, NDArray[Any]] = registration.calibration
    return Parent(name, model, registration.task, rows)
