"""`modelless register`: makes, measures and publishes a task's variants; all of it or nothing."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from cli.errors import BadInput, Failed, unknown
from cli.options import home_option, json_option
from cli.output import Step, progress, say, size, table

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.register import Registered

EXAMPLES = ("diabetes", "digits")


@click.command()
@click.argument("source")
@home_option
@click.option("--quick", is_flag=True, help="Measure for a shorter time: the same facts with wider uncertainty.")
@json_option
def register(source: str, home: Path, quick: bool, as_json: bool) -> None:
    """Make, measure and publish a task: SOURCE is a manifest (task.yaml), or the example digits or diabetes.

    Every variant is measured on every tier of the manifest, on this machine. Registering a task again replaces it in
    a new release; `modelless rollback` goes back. One that was interrupted goes on where it stopped.
    """
    done = registered(source, home, quick=quick)

    def render(console: Console) -> None:
        console.print(_drawn(done))
        for failure in done.failures:
            console.print(f"Left out {failure.variant}: {failure.reason}", style="yellow")
        console.print(
            f"Release {done.version}: {done.task.name}, {len(done.variants)} variants in {len(done.placements)}"
            f" placements, measured in {done.seconds:.0f} s."
        )
        console.print(f"modelless up --home {home}", style="dim")

    say(document(done), as_json=as_json, render=render)


def registered(source: str, home: Path, *, quick: bool) -> Registered:
    """Register a manifest or an example, with progress on stderr.

    Raises BadInput for a source that is neither, or that has faults; Failed when it cannot be made or measured.
    """
    with TemporaryDirectory(prefix="modelless-") as scratch:
        manifest = _manifest_of(source, Path(scratch))
        with progress(f"Measuring {source}") as step:
            return asyncio.run(_measured(manifest, home, quick, step))


def _manifest_of(source: str, scratch: Path) -> Path:
    if source in EXAMPLES:
        with progress(f"Training {source}") as step, abortable():
            return _builder(source)(scratch, step)
    path = Path(source)
    if path.is_dir():
        path /= "task.yaml"
    if path.is_file():
        return path
    if "/" not in source and "." not in source:
        raise unknown("example", source, EXAMPLES)
    raise BadInput(f"{source}: no such file; give a manifest (task.yaml), or the example {' or '.join(EXAMPLES)}")


@contextmanager
def abortable() -> Iterator[None]:
    """Have Ctrl-C abort the block.

    scikit-learn takes a KeyboardInterrupt for the wish to stop training early, and keeps what it has.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield  # Only the main thread is interrupted, and not where whoever started us said no.
        return

    def abort(*_: object) -> None:
        raise click.Abort

    before = signal.signal(signal.SIGINT, abort)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _builder(example: str) -> Callable[[Path, Step], Path]:
    from importlib import import_module

    build: Callable[[Path, Step], Path] = import_module(f"examples.{example}").build
    return build


async def _measured(path: Path, home: Path, quick: bool, step: Step) -> Registered:
    from gateway.errors import BackendError
    from gateway.local import Platform
    from optimizer.accuracy import METRICS
    from optimizer.errors import InvalidEvaluation, OptimizerError
    from optimizer.generate.table import GENERATORS
    from optimizer.journal import FILE, Journal
    from optimizer.manifests import registration_of
    from optimizer.plan import FULL, QUICK
    from optimizer.register import register
    from registry.manifest import load

    manifest = load(path, metrics=METRICS, generators=GENERATORS)
    async with Platform.open(home) as platform:
        platform.serve(*manifest.tiers)
        await platform.prepare()
        try:
            with Journal.open(home / FILE) as journal:
                return await register(
                    registration_of(manifest),
                    platform.store,
                    platform.blobs,
                    platform.backends,
                    progress=step,
                    plan=QUICK if quick else FULL,
                    clock=platform.clock,
                    journal=journal,
                )
        except InvalidEvaluation as error:
            raise BadInput(str(error)) from error
        except (OptimizerError, BackendError) as error:
            raise Failed(str(error)) from error


def document(done: Registered) -> dict[str, Any]:
    """What a registration did, as JSON."""
    return {
        "task": done.task.name,
        "catalogue_version": done.version,
        "variants": [{"id": v.id, "accuracy": v.accuracy.value, "size_bytes": v.size_bytes} for v in done.variants],
        "placements": [p.id for p in done.placements],
        "failures": [{"variant": f.variant, "reason": f.reason} for f in done.failures],
        "seconds": done.seconds,
    }


def _drawn(done: Registered) -> Any:
    columns = ("variant", "made by", "accuracy", "95 %", "size")
    drawn = table(f"Registered {done.task.name}", columns, numbers=("accuracy", "size"))
    for variant in sorted(done.variants, key=lambda v: -v.accuracy.value):
        accuracy = variant.accuracy
        interval = f"{accuracy.low:.3f}–{accuracy.high:.3f}"
        drawn.add_row(
            variant.name, variant.recipe.generator, f"{accuracy.value:.4f}", interval, size(variant.size_bytes)
        )
    return drawn
