"""Shorter tree ensembles: the first part of a forest, or of a boosted model's rounds; never grows a tree."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.artifact import check
from optimizer.errors import GenerationFailed
from optimizer.generate.ensembles import Ensemble, Unshortenable, ensembles
from optimizer.generate.generated import Expectation, Generated, Generator, Parameters, Parent
from optimizer.generate.running import answers, probe
from registry.errors import InvalidValue
from registry.model import Recipe

PERCENTS = (50, 25, 10)
"""Each about half of the time of the one before; what lies between is made when somebody asks for it."""

DEFAULT = "50"

ROWS = 16
"""Rows on which a rewritten model must answer as its parent does."""

FLOOR = 0.05
"""Whatever the trees take, a run has its overhead."""


def generate(parent: Parent, parameters: Parameters) -> Generated:
    """The parent with the first `percent` of the rounds of each of its tree ensembles, at least one.

    Parameter: `percent`, 1 to 99; the recipe also counts the `trees` that are kept. Raises GenerationFailed when it is
    unknown, leaves no round or all of them, there is no ensemble, or a prefix of one means nothing.
    """
    percent = _percent(parameters)
    whole, _ = _shortened(parent, 100)
    inputs = probe(parent, ROWS)
    expected = answers("trees", parent.model, inputs)
    if not _same(answers("trees", whole, inputs), expected):
        raise GenerationFailed("trees", "the rewritten ensemble does not answer as its parent does")
    model, trees = _shortened(parent, percent)
    return Generated(model, Recipe("trees", parent.name, (("percent", str(percent)), ("trees", str(trees)))))


def propose(parent: Parent) -> tuple[tuple[str, Parameters], ...]:
    """A half, a quarter and a tenth of the rounds, where that is a round at least, and each another number of them."""
    return _worth(parent, PERCENTS)


def refine(parent: Parent) -> tuple[tuple[str, Parameters], ...]:
    """Every whole per cent that keeps another number of rounds."""
    return _worth(parent, tuple(range(99, 0, -1)))


def expect(parent: Parent, parameters: Parameters) -> Expectation:
    """As much less time as there are fewer trees, at the same accuracy."""
    sizes, percent = _sizes(parent.model), _percent(parameters)
    kept = sum(_kept(rounds, percent) * trees for rounds, trees in sizes)
    return Expectation(latency=max(FLOOR, kept / sum(rounds * trees for rounds, trees in sizes)))


trees = Generator(generate, propose, expect, refine)


def _worth(parent: Parent, percents: tuple[int, ...]) -> tuple[tuple[str, Parameters], ...]:
    most = max(rounds for rounds, _ in _sizes(parent.model))
    if most == 1:
        raise GenerationFailed("trees", "no ensemble of this model has more than one round")
    by_rounds = {most * percent // 100: percent for percent in percents}
    worth = (percent for rounds, percent in by_rounds.items() if 0 < rounds < most)
    return tuple((f"trees-{percent}", {"percent": str(percent)}) for percent in sorted(worth, reverse=True))


def _shortened(parent: Parent, percent: int) -> tuple[bytes, int]:
    """The model with its ensembles cut, and how many trees are left."""
    model, found = _read(parent.model)
    if all(len(ensemble.rounds) * percent // 100 < 1 for ensemble in found):
        raise GenerationFailed("trees", f"{percent} % of the rounds are less than one")
    left = 0
    for ensemble in found:
        rounds = _kept(len(ensemble.rounds), percent)
        left += rounds * ensemble.rounds.shape[1]
        ensemble.cut(rounds)
    return bytes(model.SerializeToString(deterministic=True)), left


@lru_cache(maxsize=4)
def _sizes(model: bytes) -> tuple[tuple[int, int], ...]:
    """Of each ensemble, how many rounds, and trees in each; kept, as a grid of parameters asks again and again."""
    return tuple(ensemble.rounds.shape for ensemble in _read(model)[1])


def _read(onnx: bytes) -> tuple[Any, list[Ensemble]]:
    """The parsed model, and the ensembles in it."""
    try:
        model = check(onnx)
        found = ensembles(model)
    except (InvalidValue, Unshortenable) as fault:
        raise GenerationFailed("trees", str(fault)) from fault
    if not found:
        raise GenerationFailed("trees", "there is no tree ensemble in this model")
    return model, found


def _kept(rounds: int, percent: int) -> int:
    return max(1, rounds * percent // 100)


def _percent(parameters: Parameters) -> int:
    text = {"percent": DEFAULT, **parameters}["percent"]
    if set(parameters) - {"percent", "trees"} or not re.fullmatch("[1-9][0-9]?", text):
        raise GenerationFailed("trees", f"parameters {dict(parameters)} are no `percent` from 1 to 99")
    return int(text)


def _same(given: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]) -> bool:
    return all(
        np.array_equal(given[name], array)
        if array.dtype.kind not in "f"
        else np.allclose(given[name], array, rtol=1e-5, atol=1e-6, equal_nan=True)
        for name, array in expected.items()
    )
