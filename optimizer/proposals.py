"""One generated variant: proposed, named, made and judged, or the reason why not; its generator may fail or crash."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from optimizer.artifact import Optimise
from optimizer.errors import GenerationFailed
from optimizer.generate.generated import Generated, Generator, Parent
from optimizer.make import Made, make
from optimizer.registration import Model, Registration
from registry.blobs import Blobs
from registry.errors import InvalidValue
from registry.lineage import Outcome, Tried
from registry.model import Recipe, TierKind
from runtime.errors import RuntimeFault

LONGEST_NAME = 64
"""Characters of a variant's name (registry.model.NAME)."""

Generators = Mapping[str, Generator]
"""By the name that a recipe gives."""


def proposals(parent: Parent, generators: Generators, name_of: Callable[[str], str]) -> Iterator[Model | Tried]:
    """What generators propose to make of a variant, as models without bytes; of each that proposes nothing, why.

    `name_of` makes a variant's name of a suffix.
    """
    for name, generator in generators.items():
        try:
            proposed = generator.propose(parent)
        except GenerationFailed as fault:
            yield Tried(parent.task.name, name_of(name), Recipe(name, parent.name), Outcome.INAPPLICABLE, told(fault))
            continue
        except Exception as fault:  # noqa: BLE001 - generators are many, and one that crashes must not stop the rest
            yield failed(parent.task.name, name_of(name), Recipe(name, parent.name), fault)
            continue
        for suffix, parameters in proposed:
            yield Model(name_of(suffix), None, Recipe(name, parent.name, tuple(sorted(parameters.items()))))


def attempt(
    model: Model, parent: Parent, registration: Registration, blobs: Blobs, generators: Generators
) -> tuple[Model, Made] | Tried:
    """What the recipe of a model without bytes makes of its parent: the whole model and the variant, or why not.

    Any failure is the generator's or its product's, and so a reason.
    """
    recipe = model.recipe
    try:
        generated = generators[recipe.generator].generate(parent, dict(recipe.parameters))
        recipe = generated.recipe
        if elsewhere := _elsewhere(generated, registration):
            return Tried(registration.task.name, model.name, recipe, Outcome.INAPPLICABLE, elsewhere)
        most = min(model.max_batch, generated.max_batch or model.max_batch)
        whole = replace(model, onnx=generated.model, recipe=recipe, max_batch=most)
        task, evaluation = registration.task, registration.evaluation
        optimise = Optimise.NEVER if generated.optimised else Optimise.NOW
        return whole, make(task, whole, blobs, evaluation, optimise=optimise, kinds=generated.kinds)
    except Exception as fault:  # noqa: BLE001 - generators are many, and one that crashes must not stop the rest
        return failed(registration.task.name, model.name, recipe, fault)


def failed(task: str, name: str, recipe: Recipe, fault: Exception) -> Tried:
    """A variant that could not be made, with the reason in a sentence."""
    return Tried(task, name, recipe, Outcome.FAILED, told(fault))


def told(fault: Exception) -> str:
    """Why something failed, in a line of bearable length."""
    known = isinstance(fault, GenerationFailed | InvalidValue | RuntimeFault)
    said = fault.reason if isinstance(fault, GenerationFailed) else str(fault)
    reason = " ".join(said.split())[:500] or "no reason was given"
    return reason if known else f"{type(fault).__name__}: {reason}"


def variant_name(parent: str, suffix: str, *, alone: bool, taken: Collection[str] = ()) -> str:
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


def _elsewhere(generated: Generated, registration: Registration) -> str:
    """Why none of the task's tiers can have it; empty where one can."""
    kinds = generated.kinds
    if kinds is None or any(tier.kind in kinds for tier in registration.tiers):
        return ""
    return f"is for {_listed(kinds)} tiers, and the task has none"


def _listed(kinds: Iterable[TierKind]) -> str:
    return " or ".join(sorted(kind.value for kind in kinds))
