"""Readers of public request traces from wherever the user has them; they copy nothing and draw nothing.

A file may be compressed (gzip, bzip2, xz). Every reader raises ValueError naming the file, the line and what is wrong,
and OSError where there is no such file.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import math
import tarfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from numpy.typing import NDArray

from simulator.arrivals import Floats

Ints = NDArray[np.int64]
T = TypeVar("T")

Packed = gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile | io.BufferedReader

COMPRESSED: dict[bytes, Callable[[Path], Packed]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
"""How a compressed file begins, and what reads it."""

DAMAGED = (EOFError, UnicodeDecodeError, zlib.error, lzma.LZMAError, tarfile.TarError)


@dataclass(frozen=True, slots=True, eq=False)
class PerMinute:
    """How often each function or application was called, or how many containers it needed, in each minute."""

    names: tuple[str, ...]
    counts: Ints
    """(names, minutes)."""


@dataclass(frozen=True, slots=True, eq=False)
class Invocations:
    """Single invocations in the order of the file, which is that of their ends."""

    functions: tuple[str, ...]
    starts_s: Floats
    durations_s: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Requests to a language model in the order of the file."""

    stamps_s: Floats
    """Seconds from the earliest request."""
    context: Ints
    """Tokens of the prompt."""
    generated: Ints
    """Tokens of the answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Durations:
    """Mean duration of each function and how often it was called."""

    functions: tuple[str, ...]
    mean_ms: Floats
    counts: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """Mean memory allocated to each function's application and how often it was sampled."""

    functions: tuple[str, ...]
    mean_mb: Floats
    samples: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Popularity:
    """How often each application was called over the whole trace."""

    names: tuple[str, ...]
    counts: Ints


def azure_2019(path: Path) -> PerMinute:
    """Azure Functions 2019 counts per minute: columns `HashFunction`, or only `HashApp`, and `1`, `2`, and so on."""
    header = _header(path)
    name = "HashFunction" if "HashFunction" in header else "HashApp"
    minutes = [str(i + 1) for i in range(sum(column.isdecimal() for column in header))]
    if not minutes:
        raise ValueError(f"{path}, line 1: no column is a minute (1, 2, ...)")
    rows = list(_parsed(path, [name, *minutes], lambda row: (row[0], array("q", map(_count, row[1:])))))
    counts = np.array([row[1] for row in rows], dtype=np.int64).reshape(len(rows), len(minutes))
    return PerMinute(tuple(row[0] for row in rows), counts)


def application_mb(path: Path) -> Floats:
    """Mean memory (MB) of each application, in the order of the same file: column `AverageMemUsageMB`."""
    return _floats(_parsed(path, ["AverageMemUsageMB"], lambda row: _number(row[0])))


def azure_2021(path: Path) -> Invocations:
    """Azure Functions 2021: columns `app`, `func`, `end_timestamp` and `duration` (s); a start is end - duration."""
    columns = ["func", "end_timestamp", "duration"]
    rows = list(_parsed(path, columns, lambda row: (row[0], _number(row[1]), _number(row[2]))))
    ends, lasted = _floats(row[1] for row in rows), _floats(row[2] for row in rows)
    return Invocations(tuple(row[0] for row in rows), ends - lasted, lasted)


def azure_llm(path: Path) -> Prompts:
    """Azure LLM inference 2023 and 2024: columns `TIMESTAMP`, `ContextTokens` and `GeneratedTokens`."""
    columns = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]
    rows = list(_parsed(path, columns, lambda row: (_moment(row[0]), _count(row[1]), _count(row[2]))))
    first = min((row[0] for row in rows), default=None)
    stamps = _floats((row[0] - first).total_seconds() for row in rows if first is not None)
    return Prompts(stamps, _ints(row[1] for row in rows), _ints(row[2] for row in rows))


def per_second(path: Path) -> Ints:
    """Requests in each second, separated by white space: a text, or the one file in a tar of any compression."""
    counts = array("q")
    with _lines(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                counts.extend(map(_count, line.split()))
            except ValueError as fault:
                raise ValueError(f"{path}, line {number}, second {len(counts)}: {fault}") from fault
    return np.array(counts, dtype=np.int64)


def stamps(path: Path) -> Floats:
    """The moment of each request in seconds, of any origin and order, separated by white space."""
    found = array("d")
    with _lines(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                found.extend(map(_number, line.split()))
            except ValueError as fault:
                raise ValueError(f"{path}, line {number}: {fault}") from fault
    return np.array(found, dtype=np.float64)


def durations(path: Path) -> Durations:
    """Azure Functions 2019 durations: columns `HashFunction`, `Average` (ms) and `Count`, among others."""
    return Durations(*_averages(path, "Average", "Count"))


def memory(path: Path) -> Memory:
    """Azure Functions 2019 memory: columns `HashFunction`, `AverageAllocatedMb` and `SampleCount`, among others."""
    return Memory(*_averages(path, "AverageAllocatedMb", "SampleCount"))


def popularity(path: Path) -> Popularity:
    """Invocations of each application: columns `HashApp` and `NumInvocations`."""
    rows = list(_parsed(path, ["HashApp", "NumInvocations"], lambda row: (row[0], _count(row[1]))))
    return Popularity(tuple(row[0] for row in rows), _ints(row[1] for row in rows))


def _averages(path: Path, average: str, count: str) -> tuple[tuple[str, ...], Floats, Ints]:
    columns = ["HashFunction", average, count]
    rows = list(_parsed(path, columns, lambda row: (row[0], _number(row[1]), _whole(row[2]))))
    return tuple(row[0] for row in rows), _floats(row[1] for row in rows), _ints(row[2] for row in rows)


def _header(path: Path) -> list[str]:
    with _lines(path) as lines:
        return next(csv.reader(lines), [])


def _parsed(path: Path, columns: Sequence[str], parse: Callable[[list[str]], T]) -> Iterator[T]:
    """`parse` of the named columns of every row; a fault gets the file's name and the line."""
    with _lines(path) as lines:
        rows = csv.reader(lines)
        try:
            header = next(rows, [])
            places = _places(header, columns)
            for row in rows:
                if len(row) == len(header):
                    yield parse([row[place] for place in places])
                elif row:
                    raise ValueError(f"{len(row)} fields, where the header has {len(header)}")
        except (ValueError, csv.Error) as fault:
            if isinstance(fault, UnicodeDecodeError):
                raise
            raise ValueError(f"{path}, line {max(rows.line_num, 1)}: {fault}") from fault


def _places(header: Sequence[str], columns: Sequence[str]) -> list[int]:
    known = {name: place for place, name in enumerate(header)}
    missing = [column for column in columns if column not in known]
    if missing:
        raise ValueError(f"no column {missing[0]!r}")
    return [known[column] for column in columns]


@contextmanager
def _lines(path: Path) -> Iterator[IO[str]]:
    """The file's text, unpacked; a file that is damaged raises ValueError with its name."""
    try:
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                yield io.TextIOWrapper(_only(archive), encoding="utf-8-sig", newline="")
        else:
            with _unpacked(path) as packed:
                yield io.TextIOWrapper(packed, encoding="utf-8-sig", newline="")
    except DAMAGED as fault:
        raise ValueError(f"{path}: cannot be read: {fault}") from fault
    except OSError as fault:
        # gzip and bz2 report a damaged file so; what the system reports has a number.
        if fault.errno is not None:
            raise
        raise ValueError(f"{path}: cannot be read: {fault}") from fault


def _only(archive: tarfile.TarFile) -> IO[bytes]:
    """The archive's one file, read on the way through: to go back in what is compressed is to unpack it again."""
    found = [file.read() for member in archive if (file := archive.extractfile(member)) is not None]
    if len(found) != 1:
        raise tarfile.ReadError(f"it holds {len(found)} files, not one")
    return io.BytesIO(found[0])


def _unpacked(path: Path) -> Packed:
    with path.open("rb") as file:
        start = file.read(8)
    unpack = next((unpack for magic, unpack in COMPRESSED.items() if start.startswith(magic)), None)
    return unpack(path) if unpack is not None else path.open("rb")


def _count(text: str) -> int:
    # 18 digits always fit 64 bits.
    if not text.isdecimal() or len(text) > 18:
        raise ValueError(f"{text!r} is no count")
    return int(text)


def _whole(text: str) -> int:
    """A count that some files write as a float: 57523.0."""
    value = _number(text)
    if not 0 <= value < 2**53 or value != int(value):
        raise ValueError(f"{text!r} is no count")
    return int(value)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no number")
    return value


def _moment(text: str) -> datetime:
    """A moment in ISO 8601; UTC where it names no zone, as the traces' texts say."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no moment") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _floats(values: Iterator[float]) -> Floats:
    return np.fromiter(values, dtype=np.float64)


def _ints(values: Iterator[int]) -> Ints:
    return np.fromiter(values, dtype=np.int64)
