"""The command line of an example: one folder in, one line per variant out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from optimizer.progress import Progress


def main(build: Callable[[Path, Progress], Path], argv: Sequence[str] | None = None) -> None:
    """Build an example into the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Train an example's variants into a folder to register.")
    parser.add_argument("folder", type=Path, help="where to write task.yaml, eval.npz and the models")
    manifest = build(parser.parse_args(argv).folder, _print)
    print(manifest)


def _print(what: str, done: int, total: int) -> None:
    print(f"{done}/{total} {what}", file=sys.stderr)
