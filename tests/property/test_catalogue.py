"""Whatever is edited, a catalogue stays whole, and its document makes an equal one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from registry import prices
from registry.catalogue import Catalogue
from registry.errors import RegistryError
from registry.model import (
    LEVELS,
    Accuracy,
    Objective,
    OnInfeasible,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Slo,
    Task,
    TensorSpec,
    Variant,
)
from registry.stores.memory import MemoryStore
from registry.stores.snapshots import pack, unpack

NAMES = st.sampled_from(["a", "b", "c"])
TIERS = [t.name for t in prices.local_tiers()][:2]

slos = st.builds(
    Slo,
    latency_ms=st.none() | st.floats(0.001, 900_000.0),
    percentile=st.floats(1.0, 99.9),
    min_accuracy=st.none() | st.floats(0.0, 1.0),
    max_cost_usd=st.none() | st.floats(0.0, 1e6),
    objective=st.sampled_from(Objective),
    on_infeasible=st.sampled_from(OnInfeasible),
)
tensors = st.builds(
    TensorSpec,
    name=st.text(min_size=1),
    datatype=st.sampled_from(["FP32", "INT64", "BYTES"]),
    shape=st.lists(st.just(-1) | st.integers(1, 2**40), min_size=1, max_size=4).map(tuple),
    finite=st.booleans(),
)
tasks = st.builds(
    Task,
    name=NAMES,
    inputs=st.tuples(tensors),
    outputs=st.tuples(tensors),
    metric=st.sampled_from(["accuracy", "f1"]),
    default_slo=slos,
    classes=st.lists(st.text()).map(tuple),
    description=st.text(),
)
accuracies = st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).map(
    lambda v: Accuracy(sorted(v)[1], min(v), max(v), rows=100, method="wilson")
)
variants = st.builds(
    Variant,
    task=NAMES,
    name=NAMES,
    artifact=st.sampled_from("xyz"),
    recipe=st.builds(Recipe, st.text(), st.none() | NAMES, st.lists(st.tuples(st.text(), st.text())).map(tuple)),
    accuracy=accuracies,
)
variant_ids = st.tuples(NAMES, NAMES).map("/".join)
placements = st.builds(Placement, variant_ids, st.sampled_from(TIERS), threads=st.integers(1, 2), prepack=st.booleans())
quantiles = st.lists(st.floats(0.0, 1e6), min_size=len(LEVELS), max_size=len(LEVELS)).map(
    lambda ms: Quantiles(tuple(sorted(ms)), sum(ms) / len(ms))
)
profiles = st.builds(
    Profile,
    placement=placements.map(lambda p: p.id),
    service=quantiles.map(lambda q: (ServiceTime(1, q, q.mean), ServiceTime(8, q, q.mean))),
    load=quantiles,
    init=quantiles,
    memory_mb=st.floats(0.0, 1e5),
    fingerprint=st.text(),
    cpu_share=st.just("none"),
    samples=st.integers(1),
    measured_at=st.just("2026-11-23T12:00:00+00:00"),
)
Edit = Callable[[Catalogue], Catalogue]


def _edit(name: str, *values: Any) -> Edit:
    return lambda catalogue: getattr(catalogue, name)(*values)


edits = st.lists(
    st.one_of(
        tasks.map(lambda v: _edit("with_tasks", v)),
        variants.map(lambda v: _edit("with_variants", v)),
        st.lists(placements, max_size=4).map(lambda v: _edit("with_placements", *v)),
        profiles.map(lambda v: _edit("with_profiles", v)),
        NAMES.map(lambda v: _edit("without_task", v)),
    ),
    max_size=25,
)


def _start() -> Catalogue:
    tensor = (TensorSpec("x", "FP32", (-1,)),)
    accuracy = Accuracy(0.5, 0.4, 0.6, 10, "wilson")
    names = ("a", "b")
    return (
        Catalogue.empty()
        .with_tiers(*prices.local_tiers())
        .with_tasks(*(Task(name, tensor, tensor, "accuracy") for name in names))
        .with_variants(*(Variant(task, name, "x", Recipe("g"), accuracy) for task in names for name in names))
        .with_placements(*(Placement(f"{t}/{v}", tier) for t in names for v in names for tier in TIERS))
    )


def _check_whole(catalogue: Catalogue) -> None:
    assert {v.task for v in catalogue.variants.values()} <= set(catalogue.tasks)
    assert {p.variant for p in catalogue.placements.values()} <= set(catalogue.variants)
    assert {p.tier for p in catalogue.placements.values()} <= set(catalogue.tiers)
    assert set(catalogue.profiles) <= set(catalogue.placements)
    indexed = [p for task in catalogue.tasks for p in catalogue.placements_of(task)]
    assert {p.id: p for p in indexed} == dict(catalogue.placements)
    assert len(indexed) == len(catalogue.placements)
    for task in catalogue.tasks:
        ids = [p.id for p in catalogue.placements_of(task)]
        assert ids == sorted(ids)
        assert {v.id for v in catalogue.variants_of(task)} == {
            id_ for id_, v in catalogue.variants.items() if v.task == task
        }


@settings(max_examples=60)
@given(edits)
def test_a_catalogue_stays_whole_whatever_is_edited(edits: list[Edit]) -> None:
    catalogue = _start()
    for edit in edits:
        before = catalogue.to_document()
        old = catalogue
        try:
            catalogue = edit(catalogue)
        except RegistryError:
            assert catalogue is old
        assert old.to_document() == before
        _check_whole(catalogue)
    again = Catalogue.from_document(json.loads(json.dumps(catalogue.to_document(), allow_nan=False)))
    assert again == catalogue
    assert unpack(pack(catalogue)) == catalogue


@settings(max_examples=40)
@given(st.lists(st.one_of(edits, st.integers(-1, 6)), max_size=8))
def test_a_store_holds_exactly_what_was_published(steps: list[list[Edit] | int]) -> None:
    """A list of edits is published as one release; a number rolls back to that version."""
    store, log = MemoryStore(), [Catalogue.empty()]
    for step in steps:
        base = store.load()
        try:
            if isinstance(step, int):
                released = store.rollback(step)
                expected = log[step]
            else:
                expected = base
                for edit in step:
                    expected = edit(expected)
                released = store.publish(expected)
        except RegistryError:
            assert store.head() == len(log) - 1
        else:
            log.append(expected.at(len(log)))
            assert released == log[-1]
        assert [store.load(v) for v in range(1, len(log))] == log[1:]
        assert [r.version for r in store.history()] == list(range(1, len(log)))
