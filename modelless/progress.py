"""A progress bar on stderr, in a terminal or a notebook; writes nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from optimizer.progress import Progress


@contextmanager
def bar(title: str, *, shown: bool) -> Iterator[Progress | None]:
    """A bar while the block runs, and what moves it; None where none is `shown`, or where nobody would see it move."""
    # Imported here: who wants no bar need not have it drawn.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    console = Console(stderr=True, markup=False, highlight=False)
    if not shown or not (console.is_terminal or console.is_jupyter):
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True) as bars:
        whole = bars.add_task(title, total=None)

        def step(what: str, done: int, total: int) -> None:
            bars.update(whole, description=f"{title}: {what}", completed=done, total=total)

        yield step
