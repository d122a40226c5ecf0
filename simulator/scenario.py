"""What a person writes to compare policies, as YAML and as values; it ignores nothing and simulates nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np

from registry.catalogue import Catalogue
from registry.errors import RegistryError
from registry.manifest import read_slo
from registry.model import SHARED, StartMode, Tier, TierKind, check_numbers
from registry.sections import Section, nearest
from registry.sources import Source
from scheduler.capacity import WORTH_USD
from simulator import hardware
from simulator.contenders import Contender, read_contenders
from simulator.described import Families, read_catalogue
from simulator.hardware import Hardware, Lifetime
from simulator.policies.capacity import Budget
from simulator.simulation import Stream
from simulator.workload import Traffic, read_arrivals

OpenHome = Callable[[Path], Catalogue]
"""The newest catalogue of a home's folder; raises RegistryError."""


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """A platform, what it is asked for, and the policies that are compared on it."""

    file: Path
    catalogue: Catalogue
    hardware: Hardware
    seconds: float
    seeds: tuple[int, ...]
    traffic: tuple[Traffic, ...]
    policies: tuple[Contender, ...]
    capacity: Budget | None
    """None: our own policy keeps nothing warm on purpose."""

    def streams(self, seed: int) -> tuple[Stream, ...]:
        """The requests of one seed, the same for every policy; raises what `traces` does for a file that changed."""
        seeds = np.random.SeedSequence(seed).generate_state(len(self.traffic)).tolist()
        drawn = (traffic.streams(self.seconds, each) for traffic, each in zip(self.traffic, seeds, strict=True))
        return tuple(stream for streams in drawn for stream in streams)


def load(file: Path, open_home: OpenHome) -> Scenario:
    """Read a scenario; its paths are relative to its own folder.

    Raises InvalidManifest with every fault at once, each with the file, the line and the field.
    """
    source = Source(file, "scenario")
    root, folder = Section(source, (), source.data), file.parent
    catalogue, families = _read_catalogue(root.section("catalogue", required=True), folder, open_home)
    seconds, seeds = _read_seconds(root), _read_seeds(root)
    platform = _read_hardware(root.section("hardware"), catalogue)
    traffic = _read_traffic(root, folder, catalogue, families)
    policies = read_contenders(root, catalogue)
    capacity = _read_capacity(root.section("capacity")) if "capacity" in root else root.take("capacity")
    root.close()
    source.raise_faults()
    assert platform is not None
    return Scenario(file, catalogue, platform, seconds, seeds, traffic, policies, capacity)


def _read_catalogue(section: Section, folder: Path, open_home: OpenHome) -> tuple[Catalogue, Families]:
    if "home" not in section:
        found = read_catalogue(section)
        section.take("home")
        section.close()
        return found
    catalogue = Catalogue.empty()
    home = section.text("home")
    if home:
        try:
            catalogue = open_home(folder / Path(home).expanduser())
        except RegistryError as error:
            section.fault("home", f"{error}; register something there first, or mend the path")
    section.close(dict.fromkeys(("tiers", "tasks"), "does not go with home; give one of both"))
    return catalogue, {task: (task,) for task in catalogue.tasks}


def _read_seconds(root: Section) -> float:
    seconds = root.number("seconds")
    if "seconds" in root and not 0.0 < seconds < math.inf:
        root.fault("seconds", f"{seconds:g} is impossible; give a positive number")
    return seconds


def _read_seeds(root: Section) -> tuple[int, ...]:
    """A list, or how many from 0 on."""
    if not isinstance(root.take("seeds"), list):
        return tuple(range(root.whole("seeds", 1, most=1000)))
    seeds: list[int] = []
    for where, seed in root.items("seeds"):
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            root.source.fault(where, f"{seed!r} is no seed; give a whole number from 0")
        elif seed in seeds:
            root.source.fault(where, f"{seed} is listed already; list it once")
        else:
            seeds.append(seed)
    if root.take("seeds") == []:
        root.fault("seeds", "is empty; list at least one, or give how many")
    return tuple(seeds)


def _read_capacity(section: Section) -> Budget | None:
    budget, worth = section.number("warm_budget_usd_per_h"), section.number("worth_usd", WORTH_USD)
    section.attempt(partial(check_numbers, "capacity", warm_budget_usd_per_h=budget, worth_usd=worth))
    section.close()
    return section.build(lambda: Budget(budget, worth))


# Hardware


@dataclass(frozen=True, slots=True)
class _Place:
    """What is said of one tier; None: nothing."""

    idle: Lifetime | None
    provisioned: int | None
    snapshots: tuple[str, ...] | None
    start_s: float | None
    scale_in_s: float | None


def _read_hardware(section: Section, catalogue: Catalogue) -> Hardware | None:
    overhead = section.number("overhead_ms", 0.0)
    section.attempt(partial(check_numbers, "hardware", overhead_ms=overhead))
    by_tier = section.section("tiers")
    for name in by_tier.names():
        if name not in catalogue.tiers:
            by_tier.fault(name, f"is no tier of the catalogue; {nearest(name, catalogue.tiers)}")
    known = [name for name in by_tier.names() if name in catalogue.tiers]
    places = {name: _read_place(by_tier.section(name), catalogue.tiers[name], catalogue) for name in known}
    section.close()
    return section.build(
        lambda: Hardware(
            overhead_ms=overhead,
            lifetimes={name: p.idle for name, p in places.items() if p.idle is not None},
            provisioned={name: p.provisioned for name, p in places.items() if p.provisioned is not None},
            snapshots={name: p.snapshots for name, p in places.items() if p.snapshots is not None},
            start_s={name: p.start_s for name, p in places.items() if p.start_s is not None},
            scale_in_s={name: p.scale_in_s for name, p in places.items() if p.scale_in_s is not None},
        )
    )


def _heeded(tier: Tier) -> tuple[str, ...]:
    """What there is to say of a tier of this kind."""
    if tier.kind is TierKind.INLINE:
        return ("provisioned",)
    if tier.kind in SHARED:
        return ("provisioned", "start_s", "scale_in_s")
    return ("idle", "provisioned", *(("snapshots",) if tier.start_mode is StartMode.SNAPSTART else ()))


def _read_place(section: Section, tier: Tier, catalogue: Catalogue) -> _Place:
    heeded = _heeded(tier)
    said = {key for key in heeded if key in section}
    for key in heeded:
        section.take(key)
    place = _Place(
        idle=_read_lifetime(section.section("idle")) if "idle" in said else None,
        provisioned=section.whole("provisioned", least=0) if "provisioned" in said else None,
        snapshots=_read_snapshots(section, catalogue) if "snapshots" in said else None,
        start_s=_read_from_zero(section, "start_s") if "start_s" in said else None,
        scale_in_s=_read_from_zero(section, "scale_in_s") if "scale_in_s" in said else None,
    )
    others = [field.name for field in fields(_Place) if field.name not in heeded]
    kind = f"{tier.kind}, {tier.start_mode}"
    section.close(dict.fromkeys(others, f"means nothing on {tier.name} ({kind}); remove it"))
    return place


def _read_from_zero(section: Section, key: str) -> float:
    value = section.number(key)
    section.attempt(partial(check_numbers, "tier", **{key: value}))
    return value


def _read_snapshots(section: Section, catalogue: Catalogue) -> tuple[str, ...]:
    ids = section.texts("snapshots")
    for i, variant in enumerate(ids):
        if variant not in catalogue.variants:
            where = (*section.at("snapshots"), i)
            section.source.fault(where, f"{variant!r} is no variant; {nearest(variant, catalogue.variants)}")
    return ids


LIFETIMES: Mapping[str, tuple[Callable[..., Lifetime], tuple[str, ...]]] = {
    "constant": (hardware.constant, ("seconds",)),
    "uniform": (hardware.uniform, ("low_s", "high_s")),
    "lognormal": (hardware.lognormal, ("median_s", "shape")),
}
"""For how long an idle environment lives: what makes the distribution, and the numbers that it takes."""


def _read_lifetime(section: Section) -> Lifetime | None:
    given = [name for name in section.names() if name in LIFETIMES]
    if len(given) == 1:
        make, keys = LIFETIMES[given[0]]
        below = section.section(given[0])
        numbers = {key: below.number(key) for key in keys}
        below.attempt(partial(check_numbers, given[0], **numbers))
        below.close()
        section.close()
        return below.build(lambda: make(*numbers.values()))
    section.source.fault(section.where, f"needs one distribution; give one of {', '.join(LIFETIMES)}")
    return None


# Traffic


def _read_traffic(root: Section, folder: Path, catalogue: Catalogue, families: Families) -> tuple[Traffic, ...]:
    found = []
    for where, data in root.items("traffic", required=True):
        section = Section(root.source, where, data)
        traffic = _read_stream(section, folder, catalogue, families)
        section.close()
        if traffic is not None:
            found.append(traffic)
    return tuple(found)


def _read_stream(section: Section, folder: Path, catalogue: Catalogue, families: Families) -> Traffic | None:
    name, rows = section.text("task"), section.whole("rows", 1)
    tasks = families.get(name, (name,) if name in catalogue.tasks else ())
    if name and not tasks and name not in families and catalogue.tasks:
        section.fault("task", f"{name!r} is no task; {nearest(name, families)}")
    most = max((p.max_batch for task in tasks[:1] for p in catalogue.placements_of(task)), default=rows)
    if rows > most:
        section.fault("rows", f"{rows} are more than any variant of {name} takes; give {most} or fewer")
    # Copies of a task have one default.
    slo = read_slo(section.section("slo"), catalogue.tasks[tasks[0]].default_slo if tasks else None)
    arrivals = read_arrivals(section.section("arrivals", required=True), folder, len(tasks))
    if arrivals is None or not tasks:
        return None
    return section.build(lambda: Traffic(tasks, slo, rows, arrivals))
