"""`modelless push` and `unpush`: a home's tasks brought to a deployed stack, and taken off it; in one release each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.catalogue import measured
from cli.cloud import stack_of, told_of_cloud
from cli.errors import BadInput, told, unknown
from cli.home import opened
from cli.options import home_option, json_option, stack_option, table_option
from cli.output import ms, progress, say, several
from cli.output import table as drawn_table

if TYPE_CHECKING:
    from rich.console import Console

    from modelless.pushing import Pushing
    from modelless.stacks import Stack
    from optimizer.transfer import Moved, Transferred
    from registry.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])


def _stack_options(command: Command) -> Command:
    bucket = click.option("--bucket", metavar="NAME", help="Where blobs go, where no stack tells.")
    workers = click.option("--workers", metavar="JSON", help="Tiers to function ARNs, where no stack tells.")
    return stack_option(table_option(bucket(workers(command))))


@click.command(short_help="Bring tasks to a deployed stack, measured there.")
@click.argument("tasks", metavar="[TASK]...", nargs=-1)
@_stack_options
@home_option
@click.option("--tier", "tiers", multiple=True, help="Place on this tier of the stack only; may be given again.")
@click.option("--quick", is_flag=True, help="Measure for a shorter time: the same facts with wider uncertainty.")
@click.option("--fresh", is_flag=True, help="Measure anew what is measured there, too.")
@click.option("--no-profile", is_flag=True, help="Measure nothing; refused where something has no profile there yet.")
@click.option("--dry-run", is_flag=True, help="Say what would be uploaded, measured and replaced; change nothing.")
@json_option
def push(
    tasks: tuple[str, ...],
    *,
    stack: str | None,
    table: str | None,
    bucket: str | None,
    workers: str | None,
    home: Path,
    tiers: tuple[str, ...],
    quick: bool,
    fresh: bool,
    no_profile: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Bring TASKs of a home (by default all) to a deployed stack, and publish them there in one release.

    Blobs that are there already are not uploaded again. What has no profile there is measured through the deployed
    workers, as this machine sees them: near the stack (CloudShell, a build in its region) is where to run this. Where
    AWS_ENDPOINT_URL is set, that is where AWS is.

    \b
    modelless push --stack modelless --dry-run
    modelless push digits --stack modelless
    modelless rollback --stack modelless            and it is as it was
    """
    if fresh and no_profile:
        raise BadInput("--fresh measures, and --no-profile does not; leave one out")
    with told_of_cloud(), told(), ExitStack() as closing:
        pushing = _looked(tasks, home, stack_of(stack, table, bucket, workers).only(tiers), closing, fresh=fresh)
        if no_profile:
            _refuse_unmeasured(pushing)
        done = None if dry_run else _carried_out(pushing, home, quick=quick, fresh=fresh)
    say(document(pushing, done), as_json=as_json, render=lambda console: _render(console, pushing, done))


@click.command(short_help="Take tasks off a deployed stack.")
@click.argument("tasks", metavar="TASK...", nargs=-1, required=True)
@stack_option
@table_option
@json_option
def unpush(tasks: tuple[str, ...], stack: str | None, table: str | None, as_json: bool) -> None:
    """Publish a release of a deployed stack without TASKs; their blobs stay, so that `modelless rollback` undoes it."""
    if stack is None and table is None:
        raise BadInput("give --stack NAME, or --table NAME")
    tasks = tuple(dict.fromkeys(tasks))
    with opened(Path(), stack, table) as store:
        version = _without(store, tasks)

    def render(console: Console) -> None:
        console.print(f"Release {version} is without {', '.join(tasks)}.")

    say({"catalogue_version": version, "removed": list(tasks)}, as_json=as_json, render=render)


def _without(store: Store, tasks: tuple[str, ...]) -> int:
    from registry.catalogue import Catalogue
    from registry.store import update

    def edit(base: Catalogue) -> Catalogue:
        for task in tasks:
            if task not in base.tasks:
                raise unknown("task", task, base.tasks)
            base = base.without_task(task)
        return base

    return update(store, edit, note=f"unpush {', '.join(tasks)}").version


def _looked(tasks: tuple[str, ...], home: Path, stack: Stack, closing: ExitStack, *, fresh: bool) -> Pushing:
    from modelless.pushing import look
    from registry.blobs.files import Files

    with opened(home) as store:
        known = store.load().tasks
        for task in tasks:
            if task not in known:
                raise unknown("task", task, known)
        with progress(f"Looking at {stack.name}"):
            return look(tasks, store, Files(home / "blobs"), stack, closing, fresh=fresh)


def _refuse_unmeasured(pushing: Pushing) -> None:
    unmeasured = [what for task in pushing.moved for what in task.unmeasured]
    if unmeasured:
        listed = ", ".join(unmeasured[:5]) + (f" and {len(unmeasured) - 5} more" if len(unmeasured) > 5 else "")
        raise BadInput(f"--no-profile: {listed}: no profile there, and nothing unmeasured can be chosen; leave it out")


def _carried_out(pushing: Pushing, home: Path, *, quick: bool, fresh: bool) -> Transferred:
    from optimizer.plan import FULL, QUICK

    with progress("Uploading") as step:
        pushing.upload(step)
    with progress("Signing" if pushing.stack.signing_key else "Binding") as step:
        moved = pushing.vouch(step)
    with progress("Measuring") as step:
        return asyncio.run(pushing.publish(moved, home, plan=QUICK if quick else FULL, fresh=fresh, progress=step))


def document(pushing: Pushing, done: Transferred | None) -> dict[str, Any]:
    """What was or would be done, as JSON; `catalogue_version` is null where nothing was."""
    return {
        "stack": pushing.stack.name,
        "catalogue_version": None if done is None else done.version,
        "blobs": {"needed": len(pushing.blobs), "uploaded": len(pushing.missing)},
        "tasks": [_task(moved, done) for moved in pushing.moved],
        "seconds": None if done is None else done.seconds,
    }


def _task(moved: Moved, done: Transferred | None) -> dict[str, Any]:
    new = () if done is None else done.measured[moved.task.name]
    return {
        "task": moved.task.name,
        "variants": [variant.name for variant in moved.variants],
        "measured": [{"id": placement.id, **measured(profile)} for placement, profile in new],
        "to_measure": list(moved.unmeasured) if done is None else [],
        "kept": [placement.id for placement, _ in moved.kept],
        "left_out": [{"variant": name, "reason": reason} for name, reason in moved.left_out],
        "removed": list(moved.removed),
    }


def _render(console: Console, pushing: Pushing, done: Transferred | None) -> None:
    would = "Would upload" if done is None else "Uploaded"
    console.print(f"{would} {len(pushing.missing)} of {several(len(pushing.blobs), 'blob')}.")
    for moved in pushing.moved:
        _render_task(console, _task(moved, done))
    if done is None:
        console.print(f"Nothing was changed: {pushing.stack.name} is at release {pushing.version}.")
    else:
        console.print(f"Release {done.version} of {pushing.stack.name}, in {done.seconds:.0f} s.", style="bold")


def _render_task(console: Console, task: dict[str, Any]) -> None:
    if task["measured"]:
        console.print(_drawn(task))
    else:
        console.print(f"{task['task']}: {several(len(task['variants']), 'variant')}")
    for what in task["to_measure"]:
        console.print(f"  to measure: {what}")
    if task["kept"]:
        console.print(f"  measured there already: {several(len(task['kept']), 'placement')}")
    for left_out in task["left_out"]:
        console.print(f"  left out: {left_out['variant']} {left_out['reason']}", style="yellow")
    if task["removed"]:
        console.print(f"  no longer there: {', '.join(task['removed'])}", style="yellow")


def _drawn(task: dict[str, Any]) -> Any:
    numbers = ("p50 ms", "p95 ms", "load ms", "start ms")
    drawn = drawn_table(f"Measured {task['task']}: one warm row", ("placement", *numbers), numbers=numbers)
    for row in task["measured"]:
        figures = (row["p50_ms"], row["p95_ms"], row["load_p50_ms"], row["init_p50_ms"])
        drawn.add_row(row["id"], *map(ms, figures))
    return drawn
