"""`modelless container`: serves models as a container does, and looks after one that runs; what it does is its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.client import Server, connect
from cli.errors import BadInput, Failed, unknown
from cli.home import opened
from cli.options import json_option
from cli.output import ms, say, screen, table

if TYPE_CHECKING:
    from rich.console import Console

    from runtime.container.settings import Settings
    from runtime.server import Address

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

url_argument = click.argument("url")

version_option = click.option("--version", help="The version; all of them (to load: the default one) otherwise.")


class InOrder(click.Group):
    """A group that lists its commands as they are written."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in order."""
        return list(self.commands)


@click.group(cls=InOrder)
def container() -> None:
    """Serve models as a container does, over the Open Inference Protocol, and look after one that runs.

    Every command takes --json.
    """


@container.command()
@click.option("--models", type=FOLDER, help="Serve the ONNX models in this folder: NAME/[VERSION/]model.onnx.")
@click.option("--home", type=FOLDER, help="Serve the tasks of this home, as measured.  [default: MODELLESS_HOME]")
@click.option("--tier", help="The home's tier that this is.  [default: container-cpu]")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", help="Port to listen on; 0 takes a free one.  [default: 8080]")
@click.option("--grpc-port", help="Speak gRPC too, on this port; 0 takes a free one.")
@click.option("--cores", help="Cores that runs may use.  [default: this process's]")
@click.option("--memory-mb", help="Memory that loaded models may occupy.  [default: three quarters of it]")
@click.option("--providers", help="Execution providers, the preferred first, as CUDA,CPU.  [default: CPU]")
@click.option("--load", multiple=True, help="Load this model first, or all, or none; may be repeated.  [default: all]")
@json_option
def up(*, load: Sequence[str], as_json: bool, **given: Any) -> None:
    """Serve models until Ctrl-C, which ends what is under way first.

    Each option can be set as MODELLESS_CONTAINER_NAME too. With --json, one line with the URL is printed when requests
    are taken.
    """
    import logging

    from runtime.errors import RuntimeFault
    from runtime.server import run

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = _settings({**given, "load": ",".join(load)})

    def ready(address: Address) -> None:
        if as_json:
            click.echo(json.dumps({"url": address.url, "grpc": address.grpc, "pid": os.getpid()}))
        else:
            _greet(address, settings)

    # A Ctrl-C before the server listens for signals ends it just the same.
    with suppress(KeyboardInterrupt):
        try:
            run(settings, ready=ready)
        except RuntimeFault as fault:
            raise Failed(str(fault)) from fault
    if not as_json:
        screen(stderr=True).print("Stopped.")


def _settings(given: Mapping[str, Any]) -> Settings:
    """What the variables and then the options say; raises BadInput or InvalidValue for what cannot be served."""
    from runtime.container.settings import Settings

    if given["models"] and given["home"]:
        raise BadInput("--models and --home: serve one or the other")
    texts = {name: str(value) for name, value in given.items() if value}
    settings = Settings.read(os.environ).given(texts, lambda name: "--" + name.replace("_", "-"))
    if given["models"] or (settings.models is not None and not given["home"]):
        return replace(settings, home=None)
    home = settings.home or Path(os.environ.get("MODELLESS_HOME") or Path.home() / ".modelless")
    _check_home(home, settings.tier)
    return replace(settings, models=None, home=home)


def _check_home(home: Path, tier: str) -> None:
    """A container of a tier that nothing was measured on would serve nothing."""
    try:
        with opened(home) as store:
            catalogue = store.load()
    except BadInput as error:
        raise BadInput(f"{error.message}, or give --models DIR") from error
    used = {placement.tier for placement in catalogue.placements.values()}
    if tier not in used:
        raise unknown("tier with placements", tier, used)


def _greet(address: Address, settings: Settings) -> None:
    console = screen()
    console.print(f"A container serves {settings.models or settings.home}", style="bold")
    rows = [("inference protocol", f"{address.url}/v2"), ("metrics", f"{address.url}/metrics")]
    if address.grpc is not None:
        rows.insert(1, ("gRPC", address.grpc))
    for what, where in rows:
        console.print(f"  {what:<20}{where}")
    console.print("Ctrl-C stops it, once it has answered what is under way.", style="dim")


@container.command()
@url_argument
@json_option
def models(url: str, as_json: bool) -> None:
    """List the models of the container at URL, and which are loaded."""
    with _connected(url) as server:
        listed = server.post("/v2/repository/index", {})

    def render(console: Console) -> None:
        columns = ("name", "version", "state", "reason")
        drawn = table(f"Models at {server.url}", ("model", *columns[1:]))
        for entry in listed:
            drawn.add_row(*(entry.get(column, "") for column in columns))
        console.print(drawn)

    say({"url": server.url, "models": listed}, as_json=as_json, render=render)


@container.command()
@url_argument
@click.argument("model")
@version_option
@click.option("--pin", is_flag=True, help="Keep it until it is unloaded, whatever else needs the memory.")
@json_option
def load(url: str, model: str, version: str | None, pin: bool, as_json: bool) -> None:
    """Have the container at URL load MODEL, and look for newer bytes of it first."""
    _control(url, model, version, "load", pin=pin)
    done = {"url": url, "model": model, "version": version, "pinned": pin}
    kept = ", and is kept until it is unloaded" if pin else ""
    say(done, as_json=as_json, render=lambda console: console.print(f"{_named(model, version)} is loaded{kept}."))


@container.command()
@url_argument
@click.argument("model")
@version_option
@json_option
def unload(url: str, model: str, version: str | None, as_json: bool) -> None:
    """Have the container at URL unload MODEL, pinned or not; requests that came before are answered first."""
    _control(url, model, version, "unload")
    done = {"url": url, "model": model, "version": version}
    say(done, as_json=as_json, render=lambda console: console.print(f"{_named(model, version)} is unloaded."))


@container.command()
@url_argument
@click.argument("model", required=False)
@click.option("--version", help="This version only (with MODEL).")
@json_option
def stats(url: str, model: str | None, version: str | None, as_json: bool) -> None:
    """Show what the container at URL has answered so far, for every model or for MODEL."""
    if version is not None and model is None:
        raise BadInput("--version: name its model before it")
    path = "/v2/models/stats" if model is None else f"/v2/models/{_path(model, version)}/stats"
    with _connected(url) as server:
        document = server.get(path)

    def render(console: Console) -> None:
        numbers = ("answered", "failed", "rows", "runs", "rows a run", "queue ms", "run ms", "total ms")
        drawn = table(f"Answered by {server.url}", ("model", "version", *numbers), numbers=numbers)
        for entry in document["model_stats"]:
            drawn.add_row(entry["name"], entry["version"], *_figures(entry))
        console.print(drawn)

    say(document, as_json=as_json, render=render)


def _figures(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """One version's counters, and the means of what its answers took."""
    of, rows, runs = entry["inference_stats"], entry["inference_count"], entry["execution_count"]
    counts = (of["success"]["count"], of["fail"]["count"], rows, runs)
    times = (_mean_ms(of[part]) for part in ("queue", "compute_infer", "success"))
    return (*map(str, counts), f"{rows / runs:.1f}" if runs else "–", *map(ms, times))


def _mean_ms(duration: Mapping[str, int]) -> float | None:
    return duration["ns"] / duration["count"] / 1e6 if duration["count"] else None


def _control(url: str, model: str, version: str | None, action: str, **parameters: Any) -> None:
    with _connected(url) as server:
        server.tell(f"/v2/repository/models/{_path(model, version)}/{action}", {"parameters": parameters})


def _connected(url: str) -> Server:
    return connect(url, start="modelless container up", named="URL")


def _path(model: str, version: str | None) -> str:
    """The part of a path that names them."""
    from urllib.parse import quote

    return quote(model, safe="") + ("" if version is None else f"/versions/{quote(version, safe='')}")


def _named(model: str, version: str | None) -> str:
    return model if version is None else f"{model} version {version}"
