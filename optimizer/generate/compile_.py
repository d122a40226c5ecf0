"""Ahead-of-time compilation: ONNX Runtime's optimised graph, written down once; never changes what is computed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

import onnxruntime as ort

from optimizer.errors import GenerationFailed
from optimizer.fingerprint import HERE, fingerprint
from optimizer.generate.generated import Expectation, Generated, Generator, Parameters, Parent
from registry.errors import InvalidValue
from registry.isa import PORTABLE, level_of, runs_on
from registry.model import Recipe, TierKind

PARAMETERS: Mapping[str, str] = {"level": PORTABLE}
"""With their defaults. `level` is the CPU feature level that the graph is for (`registry.isa`)."""

LEVELS = ort.GraphOptimizationLevel

BLOCKS = "NchwcTransformer"
"""ONNX Runtime's only rewriting that depends on the CPU: convolutions in blocks of 8 or 16 channels."""


class Depth(Enum):
    """How much ONNX Runtime optimises, and so how widely the result can be used; with what it must not apply."""

    BASIC = (LEVELS.ORT_ENABLE_BASIC, ())
    """Standard operators only: any provider runs it, GPUs included, and it can be quantised or converted."""
    PORTABLE = (LEVELS.ORT_ENABLE_LAYOUT, (BLOCKS,))
    """Fused operators too, and quantised convolutions with their channels last: any CPU runs it."""
    NATIVE = (LEVELS.ORT_ENABLE_ALL, ())
    """All that is done at load, laid out for the vector units of this machine: CPUs of its level run it."""


def generate(parent: Parent, parameters: Parameters) -> Generated:
    """The parent as ONNX Runtime would optimise it at load; the same answers, and a shorter load.

    Parameters: `level`, which is `portable` or this machine's own. Raises GenerationFailed when it is another, or
    ONNX Runtime cannot load the model.
    """
    chosen = {**PARAMETERS, **parameters}
    if set(chosen) != set(PARAMETERS):
        raise GenerationFailed("compile", f"parameters {dict(parameters)} are not among {sorted(PARAMETERS)}")
    model = compiled("compile", parent.model, chosen["level"])
    recipe = Recipe("compile", parent.name, tuple(sorted(chosen.items())))
    return Generated(model, recipe, optimised=True, kinds=kinds_for(chosen["level"]))


def propose(parent: Parent) -> tuple[tuple[str, Parameters], ...]:
    """One for any CPU, and one for this machine's level where that gives another graph (convolutions, so far).

    Raises GenerationFailed when ONNX Runtime cannot load the model.
    """
    level = best_level("compile", parent.model)
    portable: tuple[str, Parameters] = ("compile", {})
    return (portable,) if level == PORTABLE else (portable, (f"compile-{level}", {"level": level}))


def expect(parent: Parent, parameters: Parameters) -> Expectation:
    """The same time and accuracy: its parent is optimised as well, whenever it loads; only loading is shorter."""
    return Expectation(latency=1.0)


compile_ = Generator(generate, propose, expect)


def runs_here(recipe: Recipe) -> bool:
    """Whether a variant of this recipe answers rightly on this machine's CPU."""
    return runs_on(recipe, fingerprint().isa)


def optimise(model: bytes, depth: Depth = Depth.PORTABLE) -> bytes:
    """The graph that ONNX Runtime makes of a model before it runs it; the same bytes each time.

    Raises InvalidValue with ONNX Runtime's reason when it cannot load the model.
    """
    with tempfile.TemporaryDirectory(prefix="modelless-") as folder:
        path = Path(folder, "optimised.onnx")
        options = ort.SessionOptions()
        options.graph_optimization_level, unwanted = depth.value
        options.optimized_model_filepath = str(path)
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            ort.InferenceSession(
                model, options, providers=["CPUExecutionProvider"], disabled_optimizers=unwanted, enable_fallback=0
            )
        except Exception as fault:  # noqa: BLE001 - onnxruntime's status classes have no common root
            raise InvalidValue("model", " ".join(str(fault).split())[:300], "export a model it can load") from None
        return path.read_bytes()


def compiled(generator: str, model: bytes, level: str) -> bytes:
    """A model optimised for a level; raises GenerationFailed in the name of `generator`.

    That is when the level is neither `portable` nor this machine's, or ONNX Runtime cannot load the model.
    """
    here = level_of(fingerprint().isa)
    if level not in (PORTABLE, here):
        raise GenerationFailed(generator, f"level {level!r} is neither {PORTABLE} nor this machine's, {here}")
    try:
        return optimise(model, Depth.PORTABLE if level == PORTABLE else Depth.NATIVE)
    except InvalidValue as fault:
        raise GenerationFailed(generator, fault.problem) from fault


def best_level(generator: str, model: bytes) -> str:
    """This machine's level where it gives another graph than the portable one, which it is otherwise."""
    here = level_of(fingerprint().isa)
    return PORTABLE if compiled(generator, model, here) == compiled(generator, model, PORTABLE) else here


def kinds_for(level: str) -> frozenset[TierKind] | None:
    """Kinds of tier that a graph compiled for a level may be placed on; None: all.

    One Lambda function meets several kinds of CPU. A container may run on another than this machine's, but serves only
    what is compiled for its own.
    """
    return None if level == PORTABLE else HERE
