"""`modelless profile`: measures a task's published placements again on this machine; changes nothing but profiles."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.catalogue import measured
from cli.errors import told, unknown
from cli.home import opened
from cli.options import home_option, json_option
from cli.output import Step, ms, progress, say, table

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.remeasure import Remeasured
    from registry.model import Profile


@click.command()
@click.argument("task")
@home_option
@click.option("--tier", "tiers", multiple=True, help="Measure on this tier only; may be given again.")
@click.option("--quick", is_flag=True, help="Measure for a shorter time: the same facts with wider uncertainty.")
@click.option("--fresh", is_flag=True, help="Measure anew what was measured within a day, too.")
@json_option
def profile(task: str, home: Path, tiers: tuple[str, ...], *, quick: bool, fresh: bool, as_json: bool) -> None:
    """Measure the placements of TASK again, on this machine, and publish the new profiles in a new release.

    For when the hardware or a library has changed, or what else runs here. One that was interrupted goes on where it
    stopped.
    """
    _check(home, task, tiers)
    with progress(f"Measuring {task}") as step:
        done = asyncio.run(_measured(task, home, tiers, quick=quick, fresh=fresh, step=step))

    def render(console: Console) -> None:
        console.print(_drawn(done))
        console.print(f"Release {done.version}: {len(done.profiles)} profiles, measured in {done.seconds:.0f} s.")

    say(document(done), as_json=as_json, render=render)


def _check(home: Path, task: str, tiers: tuple[str, ...]) -> None:
    with opened(home) as store:
        catalogue = store.load()
    if task not in catalogue.tasks:
        raise unknown("task", task, catalogue.tasks)
    known = {placement.tier for placement in catalogue.placements_of(task)}
    for tier in tiers:
        if tier not in known:
            raise unknown(f"tier of {task}", tier, known)


async def _measured(
    task: str, home: Path, tiers: tuple[str, ...], *, quick: bool, fresh: bool, step: Step
) -> Remeasured:
    from gateway.local import Platform
    from gateway.settings import containers_of
    from optimizer.journal import FILE, Journal
    from optimizer.plan import FULL, QUICK
    from optimizer.remeasure import remeasure

    async with Platform.open(home, containers=containers_of(os.environ)) as platform:
        await platform.prepare()
        with told(), Journal.open(home / FILE, fresh=fresh) as journal:
            return await remeasure(
                task,
                platform.store,
                platform.blobs,
                platform.backends,
                tiers=tiers,
                progress=step,
                plan=QUICK if quick else FULL,
                clock=platform.clock,
                journal=journal,
            )


def document(done: Remeasured) -> dict[str, Any]:
    """What was measured again, as JSON."""
    return {
        "task": done.task,
        "catalogue_version": done.version,
        "placements": [
            {"id": now.placement, "before": None if before is None else _facts(before), "now": _facts(now)}
            for before, now in zip(done.before, done.profiles, strict=True)
        ],
        "seconds": done.seconds,
    }


def _facts(profile: Profile) -> dict[str, Any]:
    """Milliseconds of one warm row, of a load and of a start; memory, and how sizes between are foreseen."""
    return {
        **measured(profile),
        "peak_mb": profile.peak_mb,
        "batch_error": profile.batch_error,
        "samples": profile.samples,
        "fingerprint": profile.fingerprint,
        "measured_at": profile.measured_at,
    }


def _drawn(done: Remeasured) -> Any:
    numbers = ("before p50 ms", "p50 ms", "p95 ms", "load ms", "start ms", "between sizes")
    drawn = table(f"Measured {done.task}: one warm row", ("placement", *numbers), numbers=numbers)
    for before, now in zip(done.before, done.profiles, strict=True):
        facts = _facts(now)
        drawn.add_row(
            now.placement,
            ms(None if before is None else _facts(before)["p50_ms"]),
            ms(facts["p50_ms"]),
            ms(facts["p95_ms"]),
            ms(facts["load_p50_ms"]),
            ms(facts["init_p50_ms"]),
            "–" if now.batch_error is None else f"±{now.batch_error:.1%}",
        )
    return drawn
