"""`modelless tasks` and `variants`: what a home's catalogue holds; reads, never writes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.attempts import attempts
from cli.errors import unknown
from cli.home import opened
from cli.options import json_option, store_options
from cli.output import STALE, ms, say, size
from cli.output import table as drawn_table
from registry.documents import to_document
from registry.model import LEVELS, Profile, Task, Variant

if TYPE_CHECKING:
    from rich.console import Console

    from registry.catalogue import Catalogue


@click.command()
@store_options
@json_option
def tasks(home: Path, stack: str | None, table: str | None, as_json: bool) -> None:
    """List the tasks that callers can name."""
    with opened(home, stack, table) as store:
        catalogue = store.load()
    rows = [_task_row(catalogue, task) for task in catalogue.tasks.values()]

    def render(console: Console) -> None:
        drawn = drawn_table(
            f"Tasks, catalogue version {catalogue.version}", _TASK_COLUMNS, numbers=("variants", "best")
        )
        for row in rows:
            drawn.add_row(
                row["name"],
                row["metric"],
                _signature(row["inputs"]),
                _signature(row["outputs"]),
                str(row["variants"]),
                "–" if row["best_accuracy"] is None else f"{row['best_accuracy']:.4f}",
                _bounds(row["default_slo"]),
                row["owner"],
            )
        console.print(drawn)

    say({"catalogue_version": catalogue.version, "tasks": rows}, as_json=as_json, render=render)


_TASK_COLUMNS = ("task", "metric", "inputs", "outputs", "variants", "best", "default SLO", "owner")


def _task_row(catalogue: Catalogue, task: Task) -> dict[str, Any]:
    variants = catalogue.variants_of(task.name)
    return {
        **to_document(task),
        "variants": len(variants),
        "best_accuracy": max((v.accuracy.value for v in variants), default=None),
    }


def _signature(specs: list[dict[str, Any]]) -> str:
    return " ".join(
        f"{s['name']}:{s['datatype']}[{','.join('n' if d == -1 else str(d) for d in s['shape'])}]" for s in specs
    )


def _bounds(slo: Mapping[str, Any]) -> str:
    shown = ("objective", "latency_ms", "percentile", "min_accuracy", "max_cost_usd")
    bounded = slo["latency_ms"] is not None
    return ", ".join(f"{n}={slo[n]}" for n in shown if slo[n] is not None and (bounded or n != "percentile"))


@click.command()
@click.argument("task")
@store_options
@json_option
def variants(task: str, home: Path, stack: str | None, table: str | None, as_json: bool) -> None:
    """List the variants of TASK: how good each is, how it was made, how fast it is where; and what else was tried."""
    from gateway.documents import tried_document

    with opened(home, stack, table) as store:
        catalogue = store.load()
    if task not in catalogue.tasks:
        raise unknown("task", task, catalogue.tasks)
    stale = stale_here(catalogue)
    rows = [_variant_row(catalogue, v, stale) for v in catalogue.variants_of(task)]
    rows.sort(key=lambda row: (-row["accuracy"]["value"], row["name"]))
    tried = [tried_document(attempt) for attempt in catalogue.tried_of(task)]

    def render(console: Console) -> None:
        console.print(_drawn(task, rows))
        if any(placement["stale"] for row in rows for placement in row["placements"]):
            console.print(f"{STALE} measured on other hardware; `modelless profile {task}` measures it again")
        if tried:
            console.print(attempts(tried))

    say(
        {"catalogue_version": catalogue.version, "task": task, "variants": rows, "tried": tried},
        as_json=as_json,
        render=render,
    )


def stale_here(catalogue: Catalogue) -> Collection[str]:
    """The placements on tiers of this machine whose profiles were taken on another; by id."""
    from optimizer.fingerprint import fingerprint, stale

    return stale(catalogue, fingerprint())


def _variant_row(catalogue: Catalogue, variant: Variant, stale: Collection[str]) -> dict[str, Any]:
    placements = [p for p in catalogue.placements_of(variant.task) if p.variant == variant.id]
    return {
        "id": variant.id,
        **to_document(variant),
        "placements": [
            {"id": p.id, **to_document(p), **measured(catalogue.profiles.get(p.id)), "stale": p.id in stale}
            for p in placements
        ],
    }


def measured(profile: Profile | None) -> dict[str, Any]:
    """Milliseconds of one warm row at the median and the 95th percentile, of a load and of a start; resident memory."""
    if profile is None:
        return {"p50_ms": None, "p95_ms": None, "load_p50_ms": None, "init_p50_ms": None, "memory_mb": None}
    median, p95 = LEVELS.index(0.50), LEVELS.index(0.95)
    service = profile.service[0].latency.ms
    return {
        "p50_ms": service[median],
        "p95_ms": service[p95],
        "load_p50_ms": profile.load.ms[median],
        "init_p50_ms": profile.init.ms[median],
        "memory_mb": profile.memory_mb,
    }


def _drawn(task: str, rows: list[dict[str, Any]]) -> Any:
    tiers = list(dict.fromkeys(p["tier"] for row in rows for p in row["placements"]))
    fixed = ("variant", "accuracy", "95 %", "size", "made by", "from")
    columns = [tier.replace("-snapstart", "\nsnapstart") + "\np50 ms" for tier in tiers]
    drawn = drawn_table(f"Variants of {task}", (*fixed, *columns), numbers=("accuracy", "size", *columns))
    for row in rows:
        accuracy = row["accuracy"]
        drawn.add_row(
            row["name"],
            f"{accuracy['value']:.4f}",
            f"{accuracy['low']:.3f}–{accuracy['high']:.3f}",
            size(row["size_bytes"]),
            row["recipe"]["generator"],
            row["recipe"]["parent"] or "",
            *(_shown(row["placements"], tier) for tier in tiers),
        )
    return drawn


def _shown(placements: list[Mapping[str, Any]], tier: str) -> str:
    """The fastest placement's median on a tier, marked when it is stale."""
    measured = [(p["p50_ms"], p["stale"]) for p in placements if p["tier"] == tier and p["p50_ms"] is not None]
    if not measured:
        return ms(None)
    fastest, stale = min(measured)
    return f"{ms(fastest)}{STALE}" if stale else ms(fastest)
