"""What was measured, kept in a file as it comes, so that an interrupted measurement goes on where it stopped.

The file holds JSON lines of two kinds: one says what an id stands for, the others what was measured of it and when.
Lines are only ever appended while it is open. It holds facts alone; no decision is ever recalled from it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

FILE = "measurements.jsonl"
"""The journal of a home, in its folder."""

AGE_S = 24 * 3600.0
"""How long a measurement may be used again: over a day a machine keeps its neighbours, its clock and its libraries."""

Subject = Mapping[str, Any]
"""Everything that a measurement depends on, as JSON: what was run, on what, how."""


@dataclass(slots=True)
class _Kept:
    """What a file tells of one subject."""

    header: bytes
    lines: list[bytes] = field(default_factory=list)
    facts: list[Any] = field(default_factory=list)
    since: int = 0
    """When the first of the facts was noted (s)."""


class Journal:
    """Recalls what was measured before it was opened, and notes what is measured now; without a file it does neither.

    `with Journal.open(path) as journal`. A journal that a second process opens meanwhile recalls and notes nothing.
    """

    def __init__(self, kept: Mapping[str, _Kept] | None = None, fd: int | None = None, at: int = 0) -> None:
        self._kept = dict(kept or {})
        self._named = set(self._kept)
        self._fd, self._at = fd, at

    @classmethod
    @contextmanager
    def open(
        cls, path: Path, *, age_s: float = AGE_S, fresh: bool = False, clock: Callable[[], float] = time.time
    ) -> Iterator[Journal]:
        """The journal at `path`, made if need be; with `fresh` it recalls nothing, and what is noted replaces the old.

        What is older than `age_s`, or torn by a crash, is dropped from the file first. Raises OSError.
        """
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield cls()
                return
            kept = _pruned(path, oldest=clock() - age_s)
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                yield cls({} if fresh else kept, fd, int(clock()))
            finally:
                os.fsync(fd)
                os.close(fd)
        finally:
            os.close(lock)

    def recall(self, subject: Subject) -> Sequence[Any]:
        """What was measured of a subject before this journal was opened, oldest first; empty when nothing was."""
        kept = self._kept.get(_id(subject))
        return kept.facts if kept else ()

    def since(self, subject: Subject) -> float | None:
        """When the oldest of that was measured, in seconds since the epoch; None when nothing was."""
        kept = self._kept.get(_id(subject))
        return kept.since if kept else None

    def note(self, subject: Subject, measured: Any) -> None:
        """Append what was just measured of a subject (JSON); it survives this process from here on.

        Not forced to the disk before the end, whose work would disturb what is measured next: a power failure may lose
        the last half minute.
        """
        if self._fd is None:
            return
        id_ = _id(subject)
        lines = b""
        if id_ not in self._named:
            self._named.add(id_)
            lines = orjson.dumps({"id": id_, "of": subject}, option=_SORTED) + b"\n"
        os.write(self._fd, lines + orjson.dumps({"id": id_, "at": self._at, "measured": measured}) + b"\n")


_SORTED = orjson.OPT_SORT_KEYS


def _id(subject: Subject) -> str:
    return hashlib.blake2b(orjson.dumps(subject, option=_SORTED), digest_size=10).hexdigest()


def _pruned(path: Path, oldest: float) -> dict[str, _Kept]:
    """What the file holds from `oldest` (s) on; the file is replaced if it holds anything else."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    kept = _read(lines, oldest)
    left = [line for k in kept.values() for line in (k.header, *k.lines)]
    if len(left) != len(lines):
        new = path.with_name(path.name + ".new")
        new.write_bytes(b"".join(left))
        os.replace(new, path)
    return kept


def _read(lines: Sequence[bytes], oldest: float) -> dict[str, _Kept]:
    """By id. A header that comes again starts its subject anew: what was measured before has been replaced."""
    kept: dict[str, _Kept] = {}
    for line in lines:
        try:
            entry = orjson.loads(line) if line.endswith(b"\n") else {}
        except orjson.JSONDecodeError:
            continue
        match entry:
            case {"id": str(id_), "of": dict()}:
                kept[id_] = _Kept(line)
            case {"id": str(id_), "at": int(at), "measured": measured} if id_ in kept and at >= oldest:
                kept[id_].since = kept[id_].since if kept[id_].lines else at
                kept[id_].lines.append(line)
                kept[id_].facts.append(measured)
            case _:
                continue
    return {id_: k for id_, k in kept.items() if k.lines}
