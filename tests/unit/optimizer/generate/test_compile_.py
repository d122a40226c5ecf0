"""A compiled graph answers the same, records its level, and is proposed natively only where that differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

from optimizer.errors import GenerationFailed
from optimizer.fingerprint import fingerprint
from optimizer.generate import compile_ as module
from optimizer.generate.compile_ import Depth, compile_, optimise, runs_here
from optimizer.generate.generated import Parent
from optimizer.generate.table import GENERATORS
from registry.errors import InvalidValue
from registry.isa import LEVELS, PORTABLE, level_of
from registry.model import Recipe, Task, TierKind

HERE = level_of(fingerprint().isa)
ELSEWHERE = next(level for level, _ in LEVELS if level != HERE)

Answer = Callable[..., dict[str, Any]]


def domains(model: bytes) -> set[str]:
    return {node.domain for node in onnx.load_from_string(model).graph.node}


@pytest.mark.parametrize("level", sorted({PORTABLE, HERE}))
def test_the_same_answers_and_a_recipe(convnet: bytes, digit: Task, answer: Answer, level: str) -> None:
    made = compile_.generate(Parent("net", convnet, digit), {"level": level})

    image = np.random.default_rng(1).uniform(0, 16, (5, 64)).astype(np.float32)
    expected, got = answer(convnet, {"image": image}), answer(made.model, {"image": image}, final=True)
    np.testing.assert_allclose(got["probabilities"], expected["probabilities"], atol=1e-5)
    np.testing.assert_array_equal(got["label"], expected["label"])
    assert made.recipe == Recipe("compile", "net", (("level", level),))
    assert made.optimised
    assert made.model == compile_.generate(Parent("net", convnet, digit), {"level": level}).model


def test_only_the_portable_one_is_for_every_tier(convnet: bytes, digit: Task) -> None:
    parent = Parent("net", convnet, digit)

    assert compile_.generate(parent, {}).kinds is None
    if HERE != PORTABLE:
        assert compile_.generate(parent, {"level": HERE}).kinds == {
            TierKind.INLINE,
            TierKind.PROCESS,
            TierKind.CONTAINER,
        }


@pytest.mark.skipif(HERE == PORTABLE, reason="this CPU has no level of its own")
def test_native_is_proposed_where_the_layout_differs(convnet: bytes, model: bytes, digit: Task, task: Task) -> None:
    assert compile_.propose(Parent("net", convnet, digit)) == (
        ("compile", {}),
        (f"compile-{HERE}", {"level": HERE}),
    )
    assert compile_.propose(Parent("dense", model, task)) == (("compile", {}),)
    assert any("nchwc" in domain for domain in domains(optimise(convnet, Depth.NATIVE)))
    assert domains(optimise(convnet)) == {"", "com.microsoft"}
    assert domains(optimise(convnet, Depth.BASIC)) == {""}


def test_a_cpu_without_a_level_gets_the_portable_one(
    convnet: bytes, digit: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = replace(fingerprint(), isa=())
    monkeypatch.setattr(module, "fingerprint", lambda: plain)

    assert compile_.propose(Parent("net", convnet, digit)) == (("compile", {}),)
    assert not runs_here(Recipe("compile", "net", (("level", "avx2"),)))


@pytest.mark.parametrize("level", [ELSEWHERE, "fast"])
def test_other_levels_are_refused(convnet: bytes, digit: Task, level: str) -> None:
    with pytest.raises(GenerationFailed, match=f"level '{level}' is neither portable nor this machine's, {HERE}"):
        compile_.generate(Parent("net", convnet, digit), {"level": level})


def test_other_parameters_are_refused(convnet: bytes, digit: Task) -> None:
    with pytest.raises(GenerationFailed, match=r"are not among \['level'\]"):
        compile_.generate(Parent("net", convnet, digit), {"depth": "3"})


def test_what_cannot_be_loaded_is_refused(digit: Task) -> None:
    parent = Parent("net", b"nonsense", digit)
    for step in (lambda: compile_.generate(parent, {}), lambda: compile_.propose(parent)):
        with pytest.raises(GenerationFailed, match="compile: "):
            step()
    with pytest.raises(InvalidValue, match="export a model it can load"):
        optimise(b"nonsense")


def test_what_was_compiled_here_runs_here(convnet: bytes, digit: Task) -> None:
    assert all(
        runs_here(compile_.generate(Parent("net", convnet, digit), {"level": level}).recipe)
        for level in (PORTABLE, HERE)
    )
    assert not runs_here(Recipe("compile", "net", (("level", ELSEWHERE),)))


def test_it_promises_no_shorter_service(convnet: bytes, digit: Task) -> None:
    assert compile_.expect(Parent("net", convnet, digit), {}).latency == 1.0


def test_the_table_names_it() -> None:
    assert GENERATORS["compile"] is compile_
