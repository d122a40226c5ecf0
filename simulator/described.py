"""A catalogue as a scenario describes it, for what-ifs: its figures are typed in, so nothing ever serves from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

from registry.catalogue import Catalogue
from registry.manifest import read_name, read_slo, read_tiers, usual_tiers
from registry.model import (
    LEVELS,
    MAX_BATCH,
    ZERO,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    StartMode,
    Task,
    Tier,
    Variant,
)
from registry.sections import Section, nearest

MOST_COPIES = 10_000
"""Tasks of one description: as many as any benchmark asks for."""

FINGERPRINT = "scenario"

Families = Mapping[str, tuple[str, ...]]
"""What a scenario calls a task, and the tasks that are meant: one, or all its copies."""


@dataclass(frozen=True, slots=True)
class _Described:
    """One variant's figures, on one vCPU."""

    name: str
    accuracy: float
    service_ms: tuple[tuple[int, float], ...]
    """Median of a run by rows, ascending."""
    spread: float
    """Standard deviation of the logarithm of all its times."""
    parallel: float
    """Share of a run that threads divide among themselves (Amdahl, AFIPS 1967)."""
    load_ms: float
    init_ms: float
    restore_ms: float
    memory_mb: float
    tiers: tuple[str, ...]
    """Empty: all."""


def read_catalogue(section: Section) -> tuple[Catalogue, Families]:
    """The catalogue of `tiers` and `tasks`; whatever has a fault, which is taken down, is left out."""
    if "tiers" not in section:
        section.fault("tiers", "is missing; give a list of tiers")
    tiers = read_tiers(section, {tier.name: tier for tier in usual_tiers()})
    catalogue, families = Catalogue.empty().with_tiers(*tiers), dict[str, tuple[str, ...]]()
    for where, data in section.items("tasks", required=True):
        item = Section(section.source, where, data)
        name, tasks, variants = _read_tasks(item, tiers)
        names = tuple(task.name for task in tasks)
        if name in families or set(names) & set(catalogue.tasks):
            item.fault("name", f"{name!r} is taken already; give each task its own name")
            continue
        families[name] = names
        catalogue = _placed(catalogue.with_tasks(*tasks), names, variants)
    return catalogue, families


def _read_tasks(item: Section, tiers: tuple[Tier, ...]) -> tuple[str, tuple[Task, ...], tuple[_Described, ...]]:
    """What the tasks are called together, the tasks, and their variants; none where there is a fault."""
    name, copies = read_name(item), item.whole("copies", 1, most=MOST_COPIES)
    slo = read_slo(item.section("slo"))
    variants = _read_variants(item, tiers)
    item.close()
    names = [name] if copies == 1 else [f"{name}-{i}" for i in range(1, copies + 1)]
    tasks = item.build(lambda: tuple(Task(each, (), (), "accuracy", slo) for each in names))
    return name, tasks or (), variants


def _read_variants(item: Section, tiers: tuple[Tier, ...]) -> tuple[_Described, ...]:
    found: dict[str, _Described] = {}
    for where, data in item.items("variants", required=True):
        section = Section(item.source, where, data)
        variant = _read_variant(section, tiers)
        if variant.name in found:
            section.fault("name", f"{variant.name!r} is taken already; give each variant its own name")
        found[variant.name] = variant
    return tuple(found.values())


def _read_variant(section: Section, tiers: tuple[Tier, ...]) -> _Described:
    names = tuple(tier.name for tier in tiers)
    restored = any(tier.start_mode is StartMode.SNAPSTART for tier in tiers)
    variant = _Described(
        name=read_name(section),
        accuracy=_within(section, "accuracy", 1.0),
        service_ms=_read_service(section),
        spread=_within(section, "spread", math.inf, 0.0),
        parallel=_within(section, "parallel", 1.0, 0.0),
        load_ms=_within(section, "load_ms", math.inf),
        init_ms=_within(section, "init_ms", math.inf),
        restore_ms=_within(section, "restore_ms", math.inf) if restored else 0.0,
        memory_mb=_within(section, "memory_mb", math.inf),
        tiers=section.texts("tiers"),
    )
    for i, name in enumerate(variant.tiers):
        if name not in names:
            section.source.fault((*section.at("tiers"), i), f"{name!r} is no tier here; {nearest(name, names)}")
    section.close()
    return variant


def _read_service(section: Section) -> tuple[tuple[int, float], ...]:
    """A mapping of rows to milliseconds, or the milliseconds of one row; no larger batch than is given ever runs."""
    if not isinstance(section.take("service_ms"), dict):
        return ((1, _within(section, "service_ms", math.inf)),)
    by_rows = section.section("service_ms")
    found = {}
    for key in by_rows.names():
        rows = int(key) if key.isdecimal() and len(key) <= 7 else 0
        if not 1 <= rows <= MAX_BATCH:
            by_rows.fault(key, f"is no number of rows; give one from 1 to {MAX_BATCH}")
        found[rows] = _within(by_rows, key, math.inf)
    if not found:
        section.fault("service_ms", "is empty; give milliseconds by rows, such as {1: 8, 16: 40}")
    return tuple(sorted(found.items())) or ((1, 0.0),)


def _within(section: Section, key: str, most: float, default: float | None = None) -> float:
    value = section.number(key, default)
    if not (0.0 <= value <= most and value < math.inf):
        section.fault(key, f"{value:g} is out of range; give 0 {'or more' if most == math.inf else f'to {most:g}'}")
        return 0.0
    return value


def _placed(catalogue: Catalogue, tasks: tuple[str, ...], variants: tuple[_Described, ...]) -> Catalogue:
    """Every variant of every task on its tiers, with a profile each."""
    made: list[Variant] = []
    placements: list[Placement] = []
    profiles: list[Profile] = []
    for task in tasks:
        for described in variants:
            accuracy = Accuracy(described.accuracy, described.accuracy, described.accuracy, 0, "given")
            variant = Variant(task, described.name, f"blake3:{0:064x}", Recipe("scenario"), accuracy)
            made.append(variant)
            for tier in catalogue.tiers.values():
                if not described.tiers or tier.name in described.tiers:
                    placement = Placement(variant.id, tier.name, tier.threads, described.service_ms[-1][0])
                    placements.append(placement)
                    profiles.append(_profile(placement, tier, described))
    return catalogue.with_variants(*made).with_placements(*placements).with_profiles(*profiles)


def _profile(placement: Placement, tier: Tier, described: _Described) -> Profile:
    spread = described.spread
    slower = described.parallel / placement.threads + 1.0 - described.parallel
    # A function below one vCPU has its share of the time.
    slower /= min(1.0, tier.vcpus)
    service = []
    for rows, ms in described.service_ms:
        latency = lognormal(ms * slower, spread)
        service.append(ServiceTime(rows, latency, latency.mean + tier.price.step_ms / 2))
    starts: Mapping[StartMode, Callable[[], Quantiles]] = {
        StartMode.ALWAYS: lambda: ZERO,
        StartMode.SNAPSTART: lambda: lognormal(described.restore_ms, spread),
    }
    init = starts.get(tier.start_mode, lambda: lognormal(described.init_ms, spread))()
    return Profile(
        placement=placement.id,
        service=tuple(service),
        load=lognormal(described.load_ms, spread),
        init=init,
        memory_mb=described.memory_mb,
        fingerprint=FINGERPRINT,
        cpu_share="none",
        samples=0,
        measured_at="",
    )


def lognormal(median_ms: float, spread: float) -> Quantiles:
    """At every level; its mean is exp(spread² / 2) times the median (Johnson et al. 1994, section 14.3)."""
    at = NormalDist().inv_cdf
    quantiles = tuple(median_ms * math.exp(spread * at(level)) for level in LEVELS)
    return Quantiles(quantiles, median_ms * math.exp(spread**2 / 2))
