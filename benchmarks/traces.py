"""Readers of public request traces from wherever the user has them; they copy nothing and draw nothing.

Every reader takes plain text or gzip, and raises ValueError naming the file, the line and what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.arrivals import Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PerMinute:
    """How often each function or application was called in each minute."""

    names: tuple[str, ...]
    counts: Ints
    """(names, minutes)."""


@dataclass(frozen=True, slots=True, eq=False)
class Invocations:
    """Single invocations in the order of the file."""

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
    """Azure Functions 2019 per-minute counts: columns `HashFunction` (or only `HashApp`), ..., `1`, `2`, ..."""
    raise NotImplementedError


def azure_2021(path: Path) -> Invocations:
    """Azure Functions 2021: columns `app`, `func`, `end_timestamp` (s), `duration` (s); a start is end - duration."""
    raise NotImplementedError


def azure_llm(path: Path) -> Prompts:
    """Azure LLM inference 2023 and 2024: columns `TIMESTAMP`, `ContextTokens`, `GeneratedTokens`."""
    raise NotImplementedError


def per_second(path: Path) -> Ints:
    """Requests in each second, separated by white space: a text file, or the one file in a tar, compressed or not."""
    raise NotImplementedError


def durations(path: Path) -> Durations:
    """Azure Functions 2019 durations: columns `HashFunction`, `Average` (ms), `Count` among others."""
    raise NotImplementedError


def memory(path: Path) -> Memory:
    """Azure Functions 2019 memory: columns `HashFunction`, `SampleCount`, `AverageAllocatedMb` among others."""
    raise NotImplementedError


def popularity(path: Path) -> Popularity:
    """Invocations of each application: columns `HashApp`, `NumInvocations`."""
    raise NotImplementedError
