"""`modelless register`: makes, measures and publishes a task's variants; all of it or nothing."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from cli.errors import BadInput, told, unknown
from cli.family import document, render
from cli.options import given, home_option, json_option, slo_options
from cli.output import Step, progress, say

if TYPE_CHECKING:
    from optimizer.register import Registered
    from optimizer.registration import Registration

EXAMPLES = ("diabetes", "digits")

USAGE = "modelless register TASK model.onnx --eval data.npz"

NPZ = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class Choices:
    """What an operator said of a registration beside its source; None and empty: nothing."""

    tiers: tuple[str, ...] = ()
    generate: bool | None = None
    generators: tuple[str, ...] = ()
    fresh: bool = False

    @property
    def generated(self) -> bool | tuple[str, ...] | None:
        """Whether variants are to be made, or by which generators; None where nothing was said."""
        return self.generators or self.generate


@click.command(short_help="Make, measure and publish a task from a model or manifest.")
@click.argument("source", metavar="TASK|SOURCE")
@click.argument("model", required=False, metavar="[MODEL]")
@click.option("--eval", "evaluation", type=NPZ, help="Held-out rows with the right answers, .npz (with MODEL).")
@click.option("--calibration", type=NPZ, help="Rows on which nothing is judged, .npz (with MODEL).")
@click.option("--output", help="The output that the answers are for, where that is not plain (with MODEL).")
@click.option("--metric", help="accuracy or rmse_skill, where that is not plain (with MODEL).")
@click.option("--name", help="What the model's variant is called; its file's name otherwise (with MODEL).")
@click.option("--description", help="What the task asks, in a sentence (with MODEL).")
@slo_options
@click.option("--tier", "tiers", multiple=True, help="Place on this local tier only; may be given again.")
@click.option(
    "--generate/--no-generate", default=None, help="Whether variants are made of the model [with MODEL: yes]."
)
@click.option(
    "--generator", "generators", multiple=True, help="Make them with this generator only; may be given again."
)
@home_option
@click.option("--quick", is_flag=True, help="Measure for a shorter time: the same facts with wider uncertainty.")
@click.option("--fresh", is_flag=True, help="Measure anew what was measured within a day, too.")
@json_option
def register(
    source: str,
    model: str | None,
    *,
    evaluation: Path | None,
    calibration: Path | None,
    tiers: tuple[str, ...],
    generators: tuple[str, ...],
    generate: bool | None,
    home: Path,
    quick: bool,
    fresh: bool,
    as_json: bool,
    **said: Any,
) -> None:
    """Make, measure and publish a task, on this machine.

    \b
    modelless register TASK MODEL --eval FILE   a model in an .onnx file: what it takes and gives is
                                                inferred, and variants of it are made and measured
    modelless register SOURCE                   a manifest (task.yaml), or the example digits or diabetes

    FILE is an .npz file: one array per input of the model, under its name, and one with the right answers, of rows
    that the model was not trained on. The options marked (with MODEL) and the SLO are the task's; a manifest says them
    itself. Registering a task again replaces it in a new release; `modelless rollback` goes back.
    """
    choices = Choices(tiers, generate, generators, fresh)
    said = given(**said)
    _check_home(home)
    if model is None:
        _refuse_of_manifest(source, {"eval": evaluation, "calibration": calibration, **said})
        done = registered(source, home, quick=quick, choices=choices)
    else:
        if evaluation is None:
            raise BadInput(f"--eval is missing: nothing is registered unmeasured; {USAGE}")
        done = _registered_model(source, model, home, evaluation, calibration, said=said, choices=choices, quick=quick)
    say(document(done), as_json=as_json, render=lambda console: render(console, done, home))


def registered(source: str, home: Path, *, quick: bool, choices: Choices | None = None) -> Registered:
    """Register a manifest or an example, with progress on stderr.

    Raises BadInput for a source that is neither, or that has faults; Failed when it cannot be made or measured.
    """
    with TemporaryDirectory(prefix="modelless-") as scratch:
        manifest = _manifest_of(source, Path(scratch))
        choices = choices or Choices()
        with told():
            registration = _chosen(_read(manifest), choices)
        return _measured(registration, home, quick=quick, fresh=choices.fresh, title=f"Measuring {source}")


def _registered_model(
    task: str,
    model: str,
    home: Path,
    evaluation: Path,
    calibration: Path | None,
    *,
    said: dict[str, Any],
    choices: Choices,
    quick: bool,
) -> Registered:
    from modelless import describe
    from optimizer.evaluation import load_arrays

    own = {name: said.pop(name) for name in ("output", "metric", "name", "description") if name in said}
    with told(), progress(f"Looking at {model}"):
        registration = describe(
            task,
            Path(model),
            load_arrays(evaluation),
            None,
            calibration=load_arrays(calibration) if calibration else None,
            tiers=choices.tiers or None,
            slo=said,
            generate=True if choices.generated is None else choices.generated,
            where=(str(evaluation), str(evaluation), str(calibration)),
            **own,
        )
    return _measured(registration, home, quick=quick, fresh=choices.fresh, title=f"Registering {task}")


def _measured(registration: Registration, home: Path, *, quick: bool, fresh: bool, title: str) -> Registered:
    from modelless import registered as make

    with told(), _resumable(), progress(title) as step:
        return asyncio.run(make(registration, home, quick=quick, fresh=fresh, progress=step))


@contextmanager
def _resumable() -> Iterator[None]:
    """Have Ctrl-C abort the block, and say what becomes of its work."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("Interrupted: nothing is published. The next run goes on where this one stopped.", err=True)
        raise click.Abort from None


def _check_home(home: Path) -> None:
    """Before anything is trained or converted for it."""
    from modelless.homes import check_home

    check_home(home)


def _refuse_of_manifest(source: str, said: Mapping[str, Any]) -> None:
    """What only a model's registration takes is not ignored."""
    if Path(source).suffix in (".onnx", ".pkl", ".joblib", ".pt", ".pth", ".h5", ".keras"):
        raise BadInput(f"{source} is a model; name the task first: {USAGE}")
    options = [f"--{name.replace('_', '-')}" for name, value in said.items() if value is not None]
    if options:
        raise BadInput(f"{', '.join(options)}: a manifest or an example says that itself; with a model: {USAGE}")


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
    examples = " or ".join(EXAMPLES)
    raise BadInput(
        f"{source}: no such file; give a manifest (task.yaml), the example {examples}, or a task and a model"
    )


def _read(path: Path) -> Registration:
    from optimizer.accuracy import METRICS
    from optimizer.generate.table import GENERATORS
    from optimizer.manifests import registration_of
    from registry.manifest import load

    return registration_of(load(path, metrics=METRICS, generators=GENERATORS))


def _chosen(registration: Registration, choices: Choices) -> Registration:
    """A manifest's registration with what an operator said laid over it."""
    from modelless.choices import generators_named

    tiers = {tier.name: tier for tier in registration.tiers}
    for name in choices.tiers:
        if name not in tiers:
            raise unknown("tier of the manifest", name, tiers)
    if choices.generated is not None:
        registration = replace(registration, generate=generators_named(choices.generated))
    return replace(registration, tiers=tuple(tiers[name] for name in choices.tiers or tiers))


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
