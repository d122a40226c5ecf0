"""How commands speak: one JSON document or a table on stdout, progress on stderr; never both on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Step = Callable[[str, int, int], None]
"""Called with what has just been done, how many steps are done, and of how many."""


WIDTH = 180
"""Columns of a table that goes to a file or a pipe."""

STALE = "*"
"""Marks what was measured on other hardware than this machine's."""


def say(document: Any, *, as_json: bool, render: Callable[[Console], None]) -> None:
    """Print `document` as JSON, or let `render` draw it for people."""
    if as_json:
        import orjson

        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return
    render(screen())


def screen(*, stderr: bool = False) -> Console:
    """A console on stdout (or stderr); wide enough for our tables where the output is no terminal.

    Markup is off: names and reasons come from elsewhere, and `[n,4]` is a shape, not a style.
    """
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, markup=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, markup=False, width=WIDTH)


def table(title: str, columns: Sequence[str], *, numbers: Sequence[str] = ()) -> Table:
    """An empty table; the columns in `numbers` are right-aligned."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


@contextmanager
def progress(title: str) -> Iterator[Step]:
    """A progress bar on stderr while the block runs, or one line where that is no terminal; yields what moves it."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = screen(stderr=True)
    if not console.is_terminal:
        console.print(f"{title} ...")
        yield lambda _what, _done, _total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        whole = bar.add_task(title, total=None)

        def step(what: str, done: int, total: int) -> None:
            bar.update(whole, description=f"{title}: {what}", completed=done, total=total)

        yield step


def ms(value: float | None) -> str:
    """Milliseconds, to three figures that matter."""
    if value is None:
        return "–"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def dollars(value: float | None) -> str:
    """US dollars per million requests: single requests cost too little to read."""
    return "–" if value is None else f"{value * 1e6:.3g}"


def several(count: int, noun: str) -> str:
    """`1 variant`, `2 variants`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def size(count: float) -> str:
    """Bytes, in the unit that keeps it short."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
