"""What a person writes to register a task, as YAML and as values; takes no measured figure from anyone's pen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from registry import prices
from registry.documents import to_document
from registry.errors import InvalidValue
from registry.model import (
    DATATYPES,
    MAX_BATCH,
    MAX_THREADS,
    Price,
    Recipe,
    Slo,
    StartMode,
    Task,
    TensorSpec,
    Tier,
    TierKind,
    check_name,
)
from registry.sections import Section, nearest
from registry.sources import Source, Where, to_yaml

MEASURED = dict.fromkeys(
    ("accuracy", "quality", "latency", "latency_ms", "profile", "size_bytes", "load_ms"),
    "is measured when the variant is registered, never typed in; remove it",
)


@dataclass(frozen=True, slots=True)
class VariantManifest:
    """One model to register, and the settings of its placements."""

    name: str
    model: Path | None
    """An ONNX file; None: to be made by the recipe, of its parent."""
    recipe: Recipe
    max_batch: int = 64
    threads: int | None = None
    """None: as many as the tier has whole vCPUs."""
    prepack: bool | None = None
    """None: whichever is measured to be better."""


@dataclass(frozen=True, slots=True)
class TaskManifest:
    """One task to register, with its models, its held-out rows and the tiers to place them on."""

    folder: Path
    """Every path lies in it."""
    task: Task
    evaluation: Path
    """An .npz file with held-out inputs and the right answers."""
    variants: tuple[VariantManifest, ...]
    tiers: tuple[Tier, ...]
    calibration: Path | None = None
    """An .npz file with inputs on which nothing is judged; None: they are set aside from the evaluation if needed."""
    generate: bool | tuple[str, ...] = False
    """Whether variants are made of those listed by every generator, or by these; False: the list is complete."""


def load(
    file: Path, *, tiers: Iterable[Tier] = (), metrics: Collection[str] = (), generators: Collection[str] = ()
) -> TaskManifest:
    """Read a manifest; it may name the tiers of any machine, the GPU's, Lambda's and `tiers`.

    Its metric and its generators are checked against `metrics` and `generators` where those are given. Without a list
    of tiers it takes those of any machine. Raises InvalidManifest with every fault at once, each with the file, the
    line and the field.
    """
    source = Source(file)
    folder = file.parent.resolve()
    root = Section(source, (), source.data)
    known = {t.name: t for t in (*usual_tiers(), *tiers)}
    task = _read_task(root.section("task", required=True), metrics)
    evaluation = _read_path(root, "evaluation", folder, ".npz")
    calibration = _read_calibration(root, folder, evaluation)
    variants = _read_variants(root, folder, generators)
    generate = _read_generate(root, generators)
    chosen = read_tiers(root, known)
    root.close(MEASURED)
    source.raise_faults()
    assert task is not None
    return TaskManifest(folder, task, evaluation, variants, chosen, calibration, generate)


def dump(manifest: TaskManifest) -> str:
    """The manifest as YAML, from which `load` reads an equal one if it is saved in the manifest's folder."""
    task = manifest.task
    known = {t.name: t for t in usual_tiers()}
    document = {
        "task": {
            "name": task.name,
            **({"description": task.description} if task.description else {}),
            "metric": task.metric,
            "owner": task.owner,
            "inputs": [_tensor_document(t) for t in task.inputs],
            "outputs": [_tensor_document(t) for t in task.outputs],
            **({"classes": list(task.classes)} if task.classes else {}),
            "slo": _slo_document(task.default_slo),
        },
        "evaluation": _relative(manifest, manifest.evaluation),
        **({"calibration": _relative(manifest, manifest.calibration)} if manifest.calibration else {}),
        **({"generate": _listed(manifest.generate)} if manifest.generate else {}),
        "tiers": [t.name if known.get(t.name) == t else to_document(t) for t in manifest.tiers],
        "variants": [_variant_document(manifest, v) for v in manifest.variants],
    }
    return to_yaml(document)


def _read_task(section: Section, metrics: Collection[str]) -> Task | None:
    name, metric = read_name(section), section.text("metric")
    if metrics and metric and metric not in metrics:
        section.fault("metric", f"{metric!r} is unknown; use one of {', '.join(sorted(metrics))}")
    description, owner = section.text("description", ""), section.text("owner", "public")
    inputs, outputs = _read_tensors(section, "inputs"), _read_tensors(section, "outputs")
    classes = section.texts("classes")
    slo = read_slo(section.section("slo"))
    section.close(MEASURED)
    return section.build(lambda: Task(name, inputs, outputs, metric, slo, owner, classes, description))


def read_name(section: Section) -> str:
    """The name of a task, variant or tier, checked."""
    name = section.text("name")
    if name:
        section.attempt(lambda: check_name(name, "name"))
    return name


def _read_tensors(section: Section, key: str) -> tuple[TensorSpec, ...]:
    tensors: dict[str, TensorSpec] = {}
    for where, data in section.items(key, required=True):
        tensor = _read_tensor(Section(section.source, where, data))
        if tensor and tensor.name in tensors:
            section.source.fault((*where, "name"), f"{tensor.name!r} is taken already; give each tensor its own name")
        elif tensor:
            tensors[tensor.name] = tensor
    return tuple(tensors.values())


def _read_tensor(section: Section) -> TensorSpec | None:
    name, datatype = section.text("name"), section.text("datatype")
    if datatype and datatype not in DATATYPES:
        section.fault("datatype", f"{datatype!r} is unknown; use one of {', '.join(sorted(DATATYPES))}")
    shape = tuple(_read_extent(section, where, extent) for where, extent in section.items("shape", required=True))
    finite = section.flag("finite") is not False
    section.close()
    return section.build(lambda: TensorSpec(name, datatype, shape, finite))


def _read_extent(section: Section, where: Where, extent: Any) -> int:
    if isinstance(extent, int) and not isinstance(extent, bool) and (extent >= 1 or extent == -1):
        return extent
    section.source.fault(where, f"{extent!r} is wrong; give a whole number from 1, or -1 for any")
    return -1


def read_slo(section: Section, base: Slo | None = None) -> Slo:
    """`base`, or the SLO of no bounds, with the section's hints laid over it, each checked."""
    slo = base or Slo()
    for hint in (f.name for f in fields(Slo)):
        value = section.take(hint)
        if hint in section:
            slo = section.attempt(partial(slo.with_hints, {hint: value})) or slo
    section.close()
    return slo


def _read_calibration(root: Section, folder: Path, evaluation: Path) -> Path | None:
    path = _read_path(root, "calibration", folder, ".npz") if "calibration" in root else root.take("calibration")
    if path is not None and path == evaluation:
        root.fault("calibration", "is the evaluation; what a variant was made with cannot judge it, give other rows")
    return path


def _read_generate(root: Section, generators: Collection[str]) -> bool | tuple[str, ...]:
    if not isinstance(root.take("generate"), list):
        return root.flag("generate") or False
    names: list[str] = []
    for where, name in root.items("generate"):
        if not isinstance(name, str):
            root.source.fault(where, f"{name!r} is wrong; give the name of a generator")
        elif name in names:
            root.source.fault(where, f"{name!r} is listed already; list it once")
        elif generators and name not in generators:
            root.source.fault(where, f"{name!r} is no generator; {nearest(name, generators)}")
        else:
            names.append(name)
    return tuple(names)


def _read_variants(root: Section, folder: Path, generators: Collection[str]) -> tuple[VariantManifest, ...]:
    variants: dict[str, VariantManifest] = {}
    for where, data in root.items("variants", required=True):
        section = Section(root.source, where, data)
        variant = _read_variant(section, folder, generators)
        if variant.name and variant.name in variants:
            section.fault("name", f"{variant.name!r} is taken already; give each variant its own name")
        if variant.recipe.parent not in (None, *variants):
            section.fault("recipe", f"parent {variant.recipe.parent!r} is no variant above this one; list it first")
        variants[variant.name] = variant
    return tuple(variants.values())


def _read_variant(section: Section, folder: Path, generators: Collection[str]) -> VariantManifest:
    name = read_name(section)
    recipe = _read_recipe(section.section("recipe", required=True))
    model = _read_model(section, folder, recipe, generators)
    max_batch, threads = (
        section.whole("max_batch", 64, most=MAX_BATCH),
        section.whole("threads", 0, most=MAX_THREADS) or None,
    )
    prepack = section.flag("prepack")
    section.close(MEASURED)
    return VariantManifest(name, model, recipe, max_batch, threads, prepack)


def _read_model(section: Section, folder: Path, recipe: Recipe, generators: Collection[str]) -> Path | None:
    if "model" in section:
        return _read_path(section, "model", folder, ".onnx")
    section.take("model")
    if recipe.parent is None:
        section.fault("model", "is missing; give an .onnx file, or a recipe with a generator and a parent above")
    elif generators and recipe.generator and recipe.generator not in generators:
        section.fault("recipe", f"{recipe.generator!r} is no generator; {nearest(recipe.generator, generators)}")
    return None


def _read_recipe(section: Section) -> Recipe:
    generator, parent = section.text("generator"), section.text("parent", "") or None
    parameters = section.section("parameters").pairs()
    section.close(MEASURED)
    return Recipe(generator, parent, parameters)


def _read_path(section: Section, key: str, folder: Path, suffix: str) -> Path:
    """The file that a key names; whatever it is, it lies in the manifest's folder, links followed."""
    text = section.text(key)
    if not text:
        return folder
    try:
        path = (folder / text).resolve()
        inside, there = path.is_relative_to(folder), path.is_file()
    except (OSError, ValueError):  # too long a name, or a NUL in it
        path, inside, there = folder, True, False
    if not inside:
        section.fault(key, f"{text!r} leads out of the manifest's folder; copy the file into it")
    elif path.suffix != suffix:
        section.fault(key, f"{text!r} is no {suffix} file; give one")
    elif not there:
        section.fault(key, f"{text!r} is no file in {folder}; make it first, or mend the path")
    return path


def read_tiers(root: Section, known: Mapping[str, Tier]) -> tuple[Tier, ...]:
    """The list `tiers`: names of known ones and descriptions of others; without a list, those of any machine."""
    tiers: dict[str, Tier] = {}
    for where, data in root.items("tiers"):
        tier = _named_tier(root, where, data, known) if isinstance(data, str) else _read_tier(root, where, data)
        if tier and tier.name in tiers:
            root.source.fault(where, f"{tier.name!r} is listed already; list it once")
        elif tier:
            tiers[tier.name] = tier
    return tuple(tiers.values()) or prices.local_tiers()


def _named_tier(root: Section, where: Where, name: str, known: Mapping[str, Tier]) -> Tier | None:
    if name not in known:
        root.source.fault(where, f"{name!r} is no tier; {nearest(name, known)}")
    return known.get(name)


def _read_tier(root: Section, where: Where, data: Any) -> Tier | None:
    section = Section(root.source, where, data)
    name, kind = read_name(section), section.choice("kind", TierKind)
    memory_mb, concurrency = section.whole("memory_mb"), section.whole("concurrency")
    mode = section.choice("start_mode", StartMode, StartMode.ONDEMAND)
    vcpus = section.number("vcpus", 0.0) or prices.vcpus_of(memory_mb)
    idle, timeout = section.number("idle_timeout_s", 600.0), section.number("timeout_s", 30.0)
    price = section.section("price")
    given = (
        _read_price(price) if "price" in section else section.build(lambda: _usual_price(kind, vcpus, memory_mb, mode))
    )
    section.close(MEASURED)
    if given is None:
        return None
    return section.build(lambda: Tier(name, kind, vcpus, memory_mb, concurrency, mode, given, idle, timeout))


def usual_tiers() -> tuple[Tier, ...]:
    """What can be named without being described."""
    return (*prices.local_tiers(), prices.gpu_tier(), *prices.lambda_tiers(), *prices.sagemaker_tiers())


def _usual_price(kind: TierKind, vcpus: float, memory_mb: int, mode: StartMode) -> Price:
    if kind in (TierKind.LAMBDA, TierKind.PROCESS):
        return prices.lambda_price(memory_mb, start_mode=mode)
    if kind is TierKind.GPU:
        raise InvalidValue("kind", "a gpu tier has no usual price", "give price: {usd_per_busy_s: ...}")
    return (prices.container_price if kind is TierKind.CONTAINER else prices.inline_price)(vcpus, memory_mb)


def _read_price(section: Section) -> Price | None:
    usual = Price(0.0)
    price = partial(
        Price,
        usd_per_busy_s=section.number("usd_per_busy_s"),
        usd_per_request=section.number("usd_per_request", usual.usd_per_request),
        usd_per_start=section.number("usd_per_start", usual.usd_per_start),
        bills_init=section.flag("bills_init") is not False,
        usd_per_idle_s=section.number("usd_per_idle_s", usual.usd_per_idle_s),
        step_ms=section.number("step_ms", usual.step_ms),
    )
    section.close()
    return section.build(price)


def _tensor_document(tensor: TensorSpec) -> dict[str, Any]:
    document = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    return document if tensor.finite else {**document, "finite": False}


def _variant_document(manifest: TaskManifest, variant: VariantManifest) -> dict[str, Any]:
    recipe = {
        "generator": variant.recipe.generator,
        **({"parent": variant.recipe.parent} if variant.recipe.parent else {}),
        **({"parameters": dict(variant.recipe.parameters)} if variant.recipe.parameters else {}),
    }
    settings = {
        "max_batch": None if variant.max_batch == 64 else variant.max_batch,
        "threads": variant.threads,
        "prepack": variant.prepack,
    }
    return {
        "name": variant.name,
        **({"model": _relative(manifest, variant.model)} if variant.model else {}),
        "recipe": recipe,
        **{name: value for name, value in settings.items() if value is not None},
    }


def _listed(generate: bool | tuple[str, ...]) -> bool | list[str]:
    return list(generate) if isinstance(generate, tuple) else generate


def _slo_document(slo: Slo) -> dict[str, Any]:
    return {name: value for name, value in to_document(slo).items() if value != getattr(Slo(), name)}


def _relative(manifest: TaskManifest, path: Path) -> str:
    return path.relative_to(manifest.folder).as_posix()
