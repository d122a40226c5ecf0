"""`modelless up`: serves a home over HTTP until it is stopped; what it serves is the gateway's business."""

from __future__ import annotations

import json
import math
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from cli.options import home_option, json_option
from cli.output import screen


def _amount(context: click.Context, option: click.Parameter, given: float | None) -> float | None:
    if given is not None and math.isnan(given):  # which a range lets through
        raise click.BadParameter("nan is no amount; give 0 or more")
    return given


@click.command()
@home_option
@click.option("--host", envvar="MODELLESS_HOST", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    envvar="MODELLESS_PORT",
    default=8080,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--generate/--no-generate",
    default=True,
    show_default=True,
    help="Whether variants that callers ask for in vain are made in the background; those there are get loaded.",
)
@click.option(
    "--warm-budget",
    type=click.FloatRange(min=0),
    callback=_amount,
    envvar="MODELLESS_WARM_BUDGET",
    default=None,
    metavar="USD_PER_HOUR",
    help="Most dollars an hour, at the tiers' prices, for what is kept warm ahead of requests; 0 keeps nothing warm."
    " Planned every MODELLESS_WARM_PERIOD seconds (60).  [env: MODELLESS_WARM_BUDGET; default: what fits]",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    envvar="MODELLESS_LOG_FORMAT",
    default="text",
    show_default=True,
    help="json writes each log entry, and one for each request that was decided, as a line of JSON to stderr.",
)
@json_option
def up(
    home: Path, *, host: str, port: int, generate: bool, warm_budget: float | None, log_format: str, as_json: bool
) -> None:
    """Serve the tasks of a home over HTTP until Ctrl-C.

    Listens on this machine only, unless MODELLESS_API_KEYS_FILE names a file of API keys. Follows what is registered
    or rolled back meanwhile. With --json, one line with the URL is printed when requests are taken.
    """
    from gateway.log_format import log_to_stderr
    from gateway.server import run
    from gateway.settings import Settings

    lines = log_to_stderr(log_format)
    settings = replace(Settings.read(os.environ), home=home, host=host, port=port)
    if warm_budget is not None:
        settings = replace(settings, warm_budget=warm_budget)

    def ready(url: str) -> None:
        if as_json:
            click.echo(json.dumps({"url": url, "home": str(home), "pid": os.getpid()}))
        else:
            _greet(url, home)

    # A Ctrl-C before the server listens for signals ends it just the same.
    with suppress(KeyboardInterrupt):
        run(settings, ready=ready, generate=_generator(home) if generate else None, lines=lines)
    if not as_json and lines is None:
        screen(stderr=True).print("Stopped.")


def _generator(home: Path) -> list[str]:
    run = "from cli.main import main; main()"
    parent = ["--parent", str(os.getpid())]
    return [sys.executable, "-P", "-c", run, "generate", "--home", os.fspath(home.absolute()), *parent]


def _greet(url: str, home: Path) -> None:
    console = screen()
    console.print(f"Modelless serves {home}", style="bold")
    for what, where in (
        ("tasks", f"{url}/v1/tasks"),
        ("API docs", f"{url}/docs"),
        ("inference protocol", f"{url}/v2"),
        ("metrics", f"{url}/metrics"),
    ):
        console.print(f"  {what:<20}{where}")
    console.print("Ctrl-C stops it.", style="dim")
