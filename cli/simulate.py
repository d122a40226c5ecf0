"""`modelless simulate`: policies compared over a scenario, in a table and a plot; decides nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.errors import unknown
from cli.options import json_option
from cli.output import progress, say
from cli.players import cores, play_all, read

if TYPE_CHECKING:
    from simulator.contenders import Contender
    from simulator.scenario import Scenario


@click.command()
@click.argument("file", metavar="SCENARIO.yaml", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--policy", "names", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--seeds", type=click.IntRange(1, 1000), help="So many seeds, from 0 on.  [default: the scenario's]")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="So long.  [default: the scenario's]")
@click.option("--jobs", type=click.IntRange(1), help="Processes at once.  [default: one for each core]")
@click.option("--explain", is_flag=True, help="Also show what is asked, what was broken and what was paid for.")
@click.option(
    "--png", type=click.Path(dir_okay=False, path_type=Path), help="Draw it into this file too (needs matplotlib)."
)
@json_option
def simulate(
    file: Path,
    *,
    names: tuple[str, ...],
    seeds: int | None,
    seconds: float | None,
    jobs: int | None,
    explain: bool,
    png: Path | None,
    as_json: bool,
) -> None:
    """Compare policies over the scenario of a file, on a virtual clock.

    Every policy meets the same requests on the same platform: how many of them it answers as asked, how accurately,
    for how many dollars. Same scenario, same figures, but for how long decisions take.
    """
    from cli.comparison import comparison, render

    scenario = read(file, seconds)
    if names:
        scenario = replace(scenario, policies=_chosen(scenario, names))
    if seeds is not None:
        scenario = replace(scenario, seeds=tuple(range(seeds)))
    pairs = [(contender, seed) for seed in scenario.seeds for contender in scenario.policies]
    with progress(f"Simulating {file.stem}") as step:
        played = play_all(scenario, pairs, jobs or cores(), step)
    document = comparison(_head(scenario), played)
    if png is not None:
        from cli.comparison_figure import save_comparison

        save_comparison(png, file.stem, document["policies"])
        click.echo(f"drawn into {png}", err=True)
    say(document, as_json=as_json, render=lambda console: render(console, document, explained=explain))


def _chosen(scenario: Scenario, names: tuple[str, ...]) -> tuple[Contender, ...]:
    """The scenario's contenders of these names, with their settings, and others as they are by default."""
    from cli.errors import BadInput
    from simulator.contenders import Contender, why_not
    from simulator.policies import POLICIES

    found: dict[Contender, None] = {}
    for name in names:
        if name not in POLICIES:
            raise unknown("policy", name, POLICIES)
        own = [each for each in scenario.policies if each.name == name]
        if not own and (problem := why_not(Contender(name), scenario.catalogue)):
            raise BadInput(f"--policy {name}: it cannot play here: {problem}")
        found |= dict.fromkeys(own or [Contender(name)])
    return tuple(found)


def _head(scenario: Scenario) -> Mapping[str, Any]:
    """What was simulated."""
    return {
        "scenario": scenario.file.stem,
        "seconds": scenario.seconds,
        "seeds": list(scenario.seeds),
        "workload": _workload(scenario),
    }


def _workload(scenario: Scenario) -> list[Mapping[str, Any]]:
    """Each part of the traffic, as the first seed has it."""
    import numpy as np

    from registry.documents import to_document
    from registry.model import Slo

    streams = list(scenario.streams(scenario.seeds[0]))
    found: list[Mapping[str, Any]] = []
    for traffic in scenario.traffic:
        own, streams = streams[: len(traffic.tasks)], streams[len(traffic.tasks) :]
        times = np.concatenate([stream.times for stream in own])
        slo = to_document(traffic.slo)
        found.append(
            {
                "tasks": list(traffic.tasks),
                "rows": traffic.rows,
                "slo": {name: value for name, value in slo.items() if value != getattr(Slo(), name)},
                "requests": len(times),
                "busiest_second": int(np.bincount(times.astype(np.int64)).max(initial=0)),
            }
        )
    return found
