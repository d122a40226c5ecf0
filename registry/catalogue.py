"""What exists, as one immutable, indexed, versioned snapshot; knows nothing of what is running."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar, cast

from registry.documents import from_document, to_document
from registry.errors import InvalidValue, NotFound
from registry.lineage import Sources, Tried
from registry.model import Placement, Profile, Task, Tier, Variant

T = TypeVar("T")

FORMAT = 1
"""Of the document; a reader refuses one it does not know."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Catalogue:
    """A snapshot of all facts; every edit returns a new one and leaves this one as it is.

    Build one with `Catalogue.empty()` and the `with_` edits, which check that whatever is referred to exists. A
    placement without a profile is legal: it exists, and cannot be chosen until it is measured.
    """

    version: int
    tasks: Mapping[str, Task]
    variants: Mapping[str, Variant]
    """By id, `task/name`."""
    tiers: Mapping[str, Tier]
    placements: Mapping[str, Placement]
    """By id."""
    profiles: Mapping[str, Profile]
    """By the id of the placement that was measured."""
    sources: Mapping[str, Sources] = field(default_factory=lambda: MappingProxyType({}))
    """By task; a task whose sources were not kept has none."""
    tried: Mapping[str, Tried] = field(default_factory=lambda: MappingProxyType({}))
    """By id, `task/name`: what was tried and is no variant."""
    _memo: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False, compare=False)

    @classmethod
    def empty(cls) -> Catalogue:
        """The catalogue in which nothing exists, at version 0."""
        nothing: Mapping[str, Any] = MappingProxyType({})
        return cls(0, nothing, nothing, nothing, nothing, nothing)

    def at(self, version: int) -> Catalogue:
        """The same facts under another version; only stores number versions."""
        return replace(self, version=version)

    # Reading

    def task(self, name: str) -> Task:
        """The task of this name; raises NotFound."""
        try:
            return self.tasks[name]
        except KeyError:
            raise NotFound("task", name) from None

    def placements_of(self, task: str) -> tuple[Placement, ...]:
        """Every placement of a task, by id; empty when there is none."""
        return self.derived(_placements_by_task, _placements_by_task).get(task, ())

    def variants_of(self, task: str) -> tuple[Variant, ...]:
        """Every variant of a task, by id; empty when there is none."""
        return self.derived(_variants_by_task, _variants_by_task).get(task, ())

    def tried_of(self, task: str) -> tuple[Tried, ...]:
        """What was tried for a task and is no variant of it, by id."""
        return tuple(tried for _, tried in sorted(self.tried.items()) if tried.task == task)

    def derived(self, key: Hashable, build: Callable[[Catalogue], T]) -> T:
        """What `build` makes of this snapshot, made once and kept as long as the snapshot; safe from any thread.

        `build` is pure. A key belongs to one `build` only: take the function itself, or a tuple that starts with it.
        """
        try:
            return cast(T, self._memo[key])
        except KeyError:
            pass
        with self._lock:
            if key not in self._memo:
                self._memo[key] = build(self)
            return cast(T, self._memo[key])

    # Editing

    def with_tasks(self, *tasks: Task) -> Catalogue:
        """With these tasks added, or replaced; raises InvalidValue for a new meaning under variants of the old one."""
        for task in tasks:
            old = self.tasks.get(task.name)
            if old and self.variants_of(task.name) and _meaning(old) != _meaning(task):
                raise InvalidValue(
                    f"task {task.name}",
                    "has variants that were measured under another signature or metric",
                    "remove the task first, or register another",
                )
        return replace(self, tasks=_merged(self.tasks, ((t.name, t) for t in tasks)))

    def with_variants(self, *variants: Variant) -> Catalogue:
        """With these variants added, or replaced; what was measured on an artifact falls when another takes its id.

        Raises NotFound for a variant of an unknown task.
        """
        for variant in variants:
            self.task(variant.task)
        stale = {v.id for v in variants if v.id in self.variants and self.variants[v.id].artifact != v.artifact}
        return replace(
            self._without_profiles(lambda p: p.variant in stale),
            variants=_merged(self.variants, ((v.id, v) for v in variants)),
        )

    def with_tiers(self, *tiers: Tier) -> Catalogue:
        """With these tiers added, or replaced; what was measured on a tier falls when it becomes another machine."""
        stale = {t.name for t in tiers if t.name in self.tiers and _machine(self.tiers[t.name]) != _machine(t)}
        return replace(
            self._without_profiles(lambda p: p.tier in stale),
            tiers=_merged(self.tiers, ((t.name, t) for t in tiers)),
        )

    def with_placements(self, *placements: Placement) -> Catalogue:
        """With these placements added, or replaced; raises NotFound for an unknown variant or tier."""
        for placement in placements:
            _find("variant", self.variants, placement.variant)
            _find("tier", self.tiers, placement.tier)
        return replace(self, placements=_merged(self.placements, ((p.id, p) for p in placements)))

    def with_profiles(self, *profiles: Profile) -> Catalogue:
        """With these profiles added, or replaced; raises NotFound for a profile of an unknown placement."""
        for profile in profiles:
            _find("placement", self.placements, profile.placement)
        return replace(self, profiles=_merged(self.profiles, ((p.placement, p) for p in profiles)))

    def with_sources(self, *sources: Sources) -> Catalogue:
        """With these sources added, or replaced; raises NotFound for sources of an unknown task."""
        for source in sources:
            self.task(source.task)
        return replace(self, sources=_merged(self.sources, ((s.task, s) for s in sources)))

    def with_tried(self, *tried: Tried) -> Catalogue:
        """With these attempts added, or replaced; raises NotFound for one of an unknown task."""
        for attempt in tried:
            self.task(attempt.task)
        return replace(self, tried=_merged(self.tried, ((t.id, t) for t in tried)))

    def without_tried(self, *ids: str) -> Catalogue:
        """Without these attempts, whether they are there or not."""
        return replace(self, tried=MappingProxyType({id_: t for id_, t in self.tried.items() if id_ not in ids}))

    def without_task(self, name: str) -> Catalogue:
        """Without a task and everything made for it; raises NotFound."""
        self.task(name)
        placements = {id_: p for id_, p in self.placements.items() if p.task != name}
        return replace(
            self,
            tasks=MappingProxyType({n: t for n, t in self.tasks.items() if n != name}),
            variants=MappingProxyType({id_: v for id_, v in self.variants.items() if v.task != name}),
            placements=MappingProxyType(placements),
            profiles=MappingProxyType({id_: p for id_, p in self.profiles.items() if id_ in placements}),
            sources=MappingProxyType({n: s for n, s in self.sources.items() if n != name}),
            tried=MappingProxyType({id_: t for id_, t in self.tried.items() if t.task != name}),
        )

    def _without_profiles(self, stale: Callable[[Placement], bool]) -> Catalogue:
        kept = {id_: p for id_, p in self.profiles.items() if not stale(self.placements[id_])}
        return self if len(kept) == len(self.profiles) else replace(self, profiles=MappingProxyType(kept))

    # Documents

    def to_document(self) -> dict[str, Any]:
        """The snapshot as JSON-able data; `from_document` makes an equal one of it."""
        return {
            "format": FORMAT,
            "version": self.version,
            "tasks": [to_document(v) for v in self.tasks.values()],
            "variants": [to_document(v) for v in self.variants.values()],
            "tiers": [to_document(v) for v in self.tiers.values()],
            "placements": [to_document(v) for v in self.placements.values()],
            "profiles": [to_document(v) for v in self.profiles.values()],
            "sources": [to_document(v) for v in self.sources.values()],
            "tried": [to_document(v) for v in self.tried.values()],
        }

    @classmethod
    def from_document(cls, document: Any) -> Catalogue:
        """The snapshot of a document, checked as if edited together; raises InvalidValue or NotFound."""
        if not isinstance(document, Mapping):
            raise InvalidValue("catalogue", "is no object", "give what to_document made")
        if document.get("format") != FORMAT:
            raise InvalidValue("catalogue.format", f"{document.get('format')!r} is unknown", "upgrade modelless")
        catalogue = (
            cls.empty()
            .with_tasks(*_read(Task, document, "tasks"))
            .with_tiers(*_read(Tier, document, "tiers"))
            .with_variants(*_read(Variant, document, "variants"))
            .with_placements(*_read(Placement, document, "placements"))
            .with_profiles(*_read(Profile, document, "profiles"))
            .with_sources(*_read(Sources, {"sources": [], **document}, "sources"))
            .with_tried(*_read(Tried, {"tried": [], **document}, "tried"))
        )
        version = document.get("version")
        if not isinstance(version, int) or version < 0:
            raise InvalidValue("catalogue.version", f"{version!r} is no version", "give a whole number from 0")
        return catalogue.at(version)


def _read(kind: type[T], document: Mapping[str, Any], name: str) -> list[T]:
    items = document.get(name)
    if not isinstance(items, list):
        raise InvalidValue(f"catalogue.{name}", "is no array", "give an array, empty if there are none")
    return [from_document(kind, item, f"{name}[{i}]") for i, item in enumerate(items)]


def _merged(old: Mapping[str, T], new: Iterable[tuple[str, T]]) -> Mapping[str, T]:
    return MappingProxyType({**old, **dict(new)})


def _find(kind: str, known: Mapping[str, T], id_: str) -> T:
    try:
        return known[id_]
    except KeyError:
        raise NotFound(kind, id_) from None


def _meaning(task: Task) -> tuple[Any, ...]:
    return task.inputs, task.outputs, task.metric, task.classes


def _machine(tier: Tier) -> tuple[Any, ...]:
    return tier.kind, tier.vcpus, tier.memory_mb, tier.start_mode


def _placements_by_task(catalogue: Catalogue) -> dict[str, tuple[Placement, ...]]:
    return _by_task((id_, p, p.task) for id_, p in sorted(catalogue.placements.items()))


def _variants_by_task(catalogue: Catalogue) -> dict[str, tuple[Variant, ...]]:
    return _by_task((id_, v, v.task) for id_, v in sorted(catalogue.variants.items()))


def _by_task(items: Iterable[tuple[str, T, str]]) -> dict[str, tuple[T, ...]]:
    groups: dict[str, list[T]] = {}
    for _, item, task in items:
        groups.setdefault(task, []).append(item)
    return {task: tuple(group) for task, group in groups.items()}
