"""`modelless capacity`: what a running platform keeps warm ahead of requests, and why; changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from cli.client import connect
from cli.options import json_option, server_options
from cli.output import say, table

if TYPE_CHECKING:
    from rich.console import Console

OFF = "Nothing is kept warm: the budget is 0."
NOT_YET = "There is no plan yet: the first is made within a minute."


@click.command()
@server_options
@json_option
def capacity(url: str, api_key: str | None, as_json: bool) -> None:
    """Show the last plan of what is kept warm: what is expected, what was done for it, and why."""
    with connect(url, api_key) as server:
        report = server.get("/v1/capacity")
    say(report, as_json=as_json, render=lambda console: _render(console, report))


def _render(console: Console, report: Mapping[str, Any]) -> None:
    if report["at"] is None:
        console.print(OFF if report["budget_usd_per_h"] == 0 else NOT_YET)
        return
    budget = "without bound" if report["budget_usd_per_h"] is None else f"${report['budget_usd_per_h']:.4g}"
    at = datetime.fromtimestamp(report["at"], UTC).isoformat(timespec="seconds")
    console.print(f"Planned at {at}: ${report['usd_per_h']:.4g} an hour, budget {budget}")
    console.print(_expected(report) if report["demands"] else "Nothing has been asked for yet.")
    console.print(_done(report) if report["actions"] else "Everything is as it should be.")


def _expected(report: Mapping[str, Any]) -> Any:
    drawn = table("Expected", ("task", "within a minute", "requests/s", "rows"), numbers=("requests/s", "rows"))
    for demand in sorted(report["demands"], key=lambda d: -d["probability"]):
        drawn.add_row(
            demand["task"], f"{demand['probability']:.1%}", f"{demand['rate_per_s']:.3g}", str(demand["rows"])
        )
    return drawn


def _done(report: Mapping[str, Any]) -> Any:
    drawn = table("Actions", ("action", "of", "copies", "result", "reason"), numbers=("copies",))
    for action in report["actions"]:
        copies = "" if action["copies"] is None else str(action["copies"])
        result = f"{action['result']}: {action['why']}" if action["why"] else action["result"]
        drawn.add_row(action["action"], action["placement"] or action["tier"], copies, result, action["reason"])
    return drawn
