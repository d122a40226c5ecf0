"""`modelless generate`: makes the variants that callers asked for in vain; publishes what earns its place."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.errors import Failed
from cli.generations import document, drawn
from cli.options import home_option, json_option
from cli.output import say, screen

if TYPE_CHECKING:
    from registry.generations import Generation

LOCK = "generations.lock"
"""Whoever holds it runs the home's generations."""

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


@click.command()
@home_option
@click.option("--quick", is_flag=True, help="Measure for a shorter time: the same facts with wider uncertainty.")
@click.option(
    "--nice", type=click.IntRange(0, 19), default=10, show_default=True, help="How far to stand back for others."
)
@click.option("--parent", type=int, hidden=True, help="Stop when this process, which started this one, ends.")
@json_option
def generate(home: Path, quick: bool, nice: int, parent: int | None, as_json: bool) -> None:
    """Make the variants that callers asked for in vain, then end.

    Looks at every SLO that nothing held, plans which variant would hold it, makes and measures it, and publishes it
    if it is any better than what exists. `modelless up` runs this by itself, one at a time.
    """
    if parent is not None:
        stop_with(parent)
    os.nice(nice)
    with _alone(home), suppress(asyncio.CancelledError):
        done = asyncio.run(_work(home, quick=quick))
        say(
            {"generations": [document(generation) for generation in done]},
            as_json=as_json,
            render=lambda c: c.print(drawn(done)),
        )


def stop_with(parent: int) -> None:
    """Have the kernel ask this process to stop when its parent ends in whatever way; stop now if it has."""
    import ctypes

    # Asked, not killed: what is being made goes back into the queue, as when the parent stops it.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(0)


async def _work(home: Path, *, quick: bool) -> list[Generation]:
    from gateway.generation.worker import work
    from gateway.local import Platform
    from gateway.settings import containers_of
    from optimizer.plan import FULL, QUICK
    from registry.stores.generations import FILE, SqliteGenerations

    here = asyncio.current_task()
    assert here is not None
    # So that what was started is closed, and the generation goes back into the queue.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, here.cancel)
    generations = SqliteGenerations(home / FILE)
    try:
        async with Platform.open(home, containers=containers_of(os.environ)) as platform:
            return await work(platform, generations, plan=QUICK if quick else FULL, told=_tell)
    finally:
        generations.close()


def _tell(generation: Generation) -> None:
    screen(stderr=True).print(
        f"{generation.id} {generation.task}/{generation.variant}: {generation.state} {generation.reason}".rstrip()
    )


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Be the only one who runs the home's generations; raises Failed when somebody else does."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed(f"another process is generating for {home}; see `modelless generations`") from None
        yield
