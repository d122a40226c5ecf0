"""Policies compared, as one document of medians over seeds, and drawn as tables and plots; it judges nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cli.output import ms, table
from cli.scatter import COLOURS, MARGIN, NUMBERS, WIDTH, Plot

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

Document = Mapping[str, Any]

COLUMNS: Mapping[str, str] = {
    "attainment": "attained",
    "effective_accuracy": "effective accuracy",
    "usd_per_1k": "$/1k",
    "cold_share": "cold",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "rejected_share": "rejected",
    "idle_hours": "idle h",
    "decision_us": "decision µs",
}
"""Figures of the table, and what people call them."""

SHARED = frozenset({"attainment", "cold_share", "rejected_share", "substituted", "loaded_share"})
"""Figures that are shares."""

BARS = " ▁▂▃▄▅▆▇█"

WIDE = 150
"""Columns from which a table has room for intervals; --json always has them."""

TITLE = {True: "Medians and their 95 % intervals", False: "Medians"}

LEAST_HEIGHT = 0.02
"""Accuracies closer than this are drawn as if so far apart."""


def comparison(head: Document, played: Sequence[Document]) -> Document:
    """`head`, and for each policy its figures (median, low, high over seeds), what was paid, and who answered."""
    labels = list(dict.fromkeys(each["policy"] for each in played))
    return {**head, "policies": [_summed([p for p in played if p["policy"] == label]) for label in labels]}


def _summed(of_seeds: Sequence[Document]) -> Document:
    from simulator.intervals import interval

    count = len(of_seeds)
    ends = ("median", "low", "high")
    figures = {
        name: dict(zip(ends, interval([each["figures"][name] for each in of_seeds]), strict=True))
        for name in of_seeds[0]["figures"]
    }
    return {
        "policy": of_seeds[0]["policy"],
        "figures": figures,
        "mean_usd": _mean([each["dollars"] for each in of_seeds], count),
        "mean_usd_by_tier": _mean([each["by_tier"] for each in of_seeds], count),
        "seeds": [{"seed": each["seed"], **each["figures"]} for each in of_seeds],
        "timeline": of_seeds[0]["timeline"],
    }


def _mean(each: Sequence[Mapping[str, float]], count: int) -> dict[str, float]:
    names = dict.fromkeys(name for one in each for name in one)
    return {name: sum(one.get(name, 0.0) for one in each) / count for name in names}


def numbered(policies: Sequence[Document]) -> dict[str, str]:
    """Each policy's character in the plot, in the table's order."""
    return {p["policy"]: NUMBERS[i] if i < len(NUMBERS) else "+" for i, p in enumerate(policies)}


def ahead(policies: Sequence[Document]) -> list[Document]:
    """Those that no other beats on dollars and effective accuracy, one of them at least being better."""
    at = [(_median(p, "usd_per_1k"), -_median(p, "effective_accuracy")) for p in policies]
    return [
        p
        for p, mine in zip(policies, at, strict=True)
        if not any(other != mine and other[0] <= mine[0] and other[1] <= mine[1] for other in at)
    ]


def render(console: Console, document: Document, *, explained: bool) -> None:
    """Draw everything for people; `explained`: with the workload, what was paid and what was broken."""
    policies = document["policies"]
    console.print(_title(document), style="bold")
    if explained:
        console.print(_workload(document))
    console.print(_figures(document, intervals=len(document["seeds"]) > 1 and console.width >= WIDE))
    for line in plot(policies, console.width):
        console.print(line)
    console.print()
    for line in strips(policies, console.width):
        console.print(line)
    if explained:
        for drawn in (_broken(policies), _paid(policies)):
            console.print(drawn)


def _title(document: Document) -> str:
    seeds = len(document["seeds"])
    requests = document["policies"][0]["figures"]["requests"]["median"]
    over = f"medians of {seeds} seeds" if seeds > 1 else f"seed {document['seeds'][0]}"
    return f"{document['scenario']}: {requests:,.0f} requests in {document['seconds']:,g} s; {over}"


def _figures(document: Document, *, intervals: bool) -> Table:
    policies = document["policies"]
    numbers = numbered(policies)
    drawn = table(TITLE[intervals], ("#", "policy", *COLUMNS.values()), numbers=tuple(COLUMNS.values()))
    best = ahead(policies)
    for p in policies:
        cells = (_cell(name, p["figures"][name], interval=intervals) for name in COLUMNS)
        drawn.add_row(numbers[p["policy"]], p["policy"], *cells, style=None if p in best else "dim")
    return drawn


def _cell(name: str, figure: Mapping[str, float], *, interval: bool) -> str:
    median = _written(name, figure["median"])
    if not interval or figure["low"] == figure["high"]:
        return median
    return f"{median}\n{_written(name, figure['low'])}–{_written(name, figure['high'])}"


def _written(name: str, value: float) -> str:
    if name in SHARED or name.startswith("broke_"):
        return f"{value:.2%}"
    if name.endswith("_ms"):
        return ms(value)
    if name == "effective_accuracy":
        return f"{value:.4f}"
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def plot(policies: Sequence[Document], width: int) -> list[Text]:
    """Effective accuracy over dollars per 1,000 requests, each policy by its number; the best have a dotted line."""
    accuracies = [_median(p, "effective_accuracy") for p in policies]
    usd = [_median(p, "usd_per_1k") for p in policies]
    low, high = min(accuracies), max(accuracies)
    pad = max(0.05 * (high - low), (LEAST_HEIGHT - (high - low)) / 2)
    drawn = Plot.over(usd, low - pad, high + pad, min(width, WIDTH) - MARGIN, "$ per 1,000 requests")
    best, numbers = ahead(policies), numbered(policies)
    drawn.stairs(drawn.at(_median(p, "usd_per_1k"), _median(p, "effective_accuracy")) for p in best)
    for i, (p, x, y) in enumerate(zip(policies, usd, accuracies, strict=True)):
        style = f"bold {COLOURS[i % len(COLOURS)]}" if p in best else COLOURS[i % len(COLOURS)]
        drawn.put(drawn.free(drawn.at(x, y)), numbers[p["policy"]], style, taken=True)
    return drawn.lines()


def strips(policies: Sequence[Document], width: int) -> list[Text]:
    """The first seed over time: what was asked, and for each policy the share of it that was answered as asked."""
    from rich.text import Text

    name = max(len("requests"), *(len(p["policy"]) for p in policies)) + 1
    timeline = policies[0]["timeline"]
    requests = timeline["requests"]
    busiest = f"at most {max(requests) / timeline['width_s']:.3g} a second in {timeline['width_s']:.3g} s"
    lines = [Text(f"{'requests':{name}}{_bars(requests, max(requests))}  {busiest}", no_wrap=True)]
    for p in policies:
        over = p["timeline"]
        shares = [kept / asked if asked else 0.0 for kept, asked in zip(over["kept"], requests, strict=True)]
        by = "  ".join(f"{who} {sum(n) / max(1, sum(requests)):.0%}" for who, n in over["answered_by"].items())
        lines.append(Text(f"{p['policy']:{name}}{_bars(shares, 1.0)}  {by}", style="dim", no_wrap=True))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return [*lines, Text(f"{'':{name}}requests over time, and the share of them answered as asked, by whom", "dim")]


def _bars(values: Sequence[float], most: float) -> str:
    steps = len(BARS) - 1
    return "".join(BARS[math.ceil(value / most * steps)] if most else BARS[0] for value in values)


def _workload(document: Document) -> Table:
    columns = ("task", "rows", "SLO", "requests", "a second", "busiest second")
    drawn = table("What is asked (first seed)", columns, numbers=("rows", *columns[3:]))
    for stream in document["workload"]:
        rate = stream["requests"] / document["seconds"]
        slo = ", ".join(f"{key}={value}" for key, value in stream["slo"].items()) or "no bound"
        tasks = stream["tasks"]
        task = tasks[0] if len(tasks) == 1 else f"{tasks[0]} … {tasks[-1]}"
        busiest = f"{stream['busiest_second']:,}"
        drawn.add_row(task, str(stream["rows"]), slo, f"{stream['requests']:,}", f"{rate:.3g}", busiest)
    return drawn


BROKEN: Mapping[str, str] = {
    "broke_unanswered": "unanswered",
    "broke_latency_ms": "late",
    "broke_min_accuracy": "too inaccurate",
    "broke_max_cost_usd": "too dear",
    "loaded_share": "after a load",
    "substituted": "by a substitute in time",
}


def _broken(policies: Sequence[Document]) -> Table:
    drawn = table("What became of requests", ("policy", *BROKEN.values()), numbers=tuple(BROKEN.values()))
    for p in policies:
        drawn.add_row(p["policy"], *(_written(name, _median(p, name)) for name in BROKEN))
    return drawn


def _paid(policies: Sequence[Document]) -> Table:
    kinds = tuple(policies[0]["mean_usd"])
    tiers = tuple(dict.fromkeys(tier for p in policies for tier in p["mean_usd_by_tier"]))
    drawn = table("What was paid (US dollars, mean over seeds)", ("policy", *kinds, *tiers), numbers=(*kinds, *tiers))
    for p in policies:
        paid = [p["mean_usd"][kind] for kind in kinds] + [p["mean_usd_by_tier"].get(tier, 0.0) for tier in tiers]
        drawn.add_row(p["policy"], *(f"{usd:.3g}" for usd in paid))
    return drawn


def _median(policy: Document, figure: str) -> float:
    value: float = policy["figures"][figure]["median"]
    return value
