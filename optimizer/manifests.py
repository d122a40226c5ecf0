"""A manifest's files read into memory; decides nothing and measures nothing."""

from __future__ import annotations

from optimizer.errors import NotConvertible
from optimizer.evaluation import load_calibration, load_evaluation
from optimizer.generate.table import GENERATORS
from optimizer.registration import Model, Registration
from optimizer.sources.graphs import read
from registry.errors import InvalidManifest
from registry.manifest import TaskManifest, VariantManifest


def registration_of(manifest: TaskManifest) -> Registration:
    """What a manifest and the files that it names say, ready to register.

    Raises InvalidEvaluation for rows that do not fit the task, and InvalidManifest for a model that cannot be read.
    """
    generate = manifest.generate
    path = manifest.calibration
    return Registration(
        task=manifest.task,
        evaluation=load_evaluation(manifest.evaluation, manifest.task),
        calibration=load_calibration(path, manifest.task) if path else {},
        models=tuple(_model(entry) for entry in manifest.variants),
        tiers=manifest.tiers,
        generate=generate if isinstance(generate, tuple) else tuple(GENERATORS) if generate else (),
    )


def _model(entry: VariantManifest) -> Model:
    try:
        onnx = read(entry.model) if entry.model else None
    except NotConvertible as fault:
        raise InvalidManifest([str(fault)]) from fault
    return Model(entry.name, onnx, entry.recipe, entry.max_batch, entry.threads, entry.prepack)
