"""The words of the house as frozen values; nothing here reads, writes, waits or decides."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from registry.errors import InvalidValue

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

LEVELS: tuple[float, ...] = (0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 0.999)
"""Quantile levels at which every measured distribution is kept."""

DATATYPES: frozenset[str] = frozenset(
    {"BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"}
)
"""Tensor datatypes, as the Open Inference Protocol v2 names them."""


def check_name(value: str, what: str) -> None:
    """Raise InvalidValue unless `value` is a legal name of a task, variant or tier."""
    if not NAME.fullmatch(value):
        raise InvalidValue(
            what, f"{value!r} is not a name", "use 1-64 of a-z 0-9 . _ - and start with a letter or digit"
        )


def check_numbers(what: str, least: float = 0.0, /, **values: float) -> None:
    """Raise InvalidValue unless every one of these fields of `what` is a finite number from `least` on."""
    for name, value in values.items():
        if not least <= value < math.inf:
            raise InvalidValue(f"{what}.{name}", f"{value!r} is impossible", f"give a finite number from {least:g} on")


class Objective(StrEnum):
    """What to optimise among the placements that hold every bound."""

    ACCURACY = "accuracy"
    COST = "cost"
    LATENCY = "latency"


class OnInfeasible(StrEnum):
    """What to do when no placement holds every bound."""

    BEST_EFFORT = "best_effort"
    STRICT = "strict"


class TierKind(StrEnum):
    """Which backend runs a tier."""

    INLINE = "inline"
    PROCESS = "process"
    CONTAINER = "container"
    LAMBDA = "lambda"
    GPU = "gpu"


SHARED = frozenset({TierKind.INLINE, TierKind.CONTAINER, TierKind.GPU})
"""Kinds of tier whose one environment runs up to `concurrency` requests at once."""


class StartMode(StrEnum):
    """How an execution environment of a tier comes to life."""

    ALWAYS = "always"
    ONDEMAND = "ondemand"
    SNAPSTART = "snapstart"
    PROVISIONED = "provisioned"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A named tensor of a task's signature; `shape` uses -1 for any extent and axis 0 is the batch."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    finite: bool = True
    """Whether NaN and infinities are refused (floating datatypes only)."""

    def __post_init__(self) -> None:
        if self.datatype not in DATATYPES:
            raise InvalidValue(
                f"{self.name}.datatype", f"{self.datatype!r} is unknown", f"use one of {sorted(DATATYPES)}"
            )
        if not self.shape or any(d == 0 or d < -1 for d in self.shape):
            raise InvalidValue(
                f"{self.name}.shape", f"{list(self.shape)} is no shape", "use positive extents, or -1 for any"
            )


@dataclass(frozen=True, slots=True)
class Slo:
    """What a caller asks of one request; None means no bound."""

    latency_ms: float | None = None
    percentile: float = 95.0
    min_accuracy: float | None = None
    max_cost_usd: float | None = None
    objective: Objective = Objective.ACCURACY
    on_infeasible: OnInfeasible = OnInfeasible.BEST_EFFORT

    def __post_init__(self) -> None:
        _check_range("latency_ms", self.latency_ms, 0.0, 900_000.0, low_open=True)
        _check_range("percentile", self.percentile, 1.0, 99.9)
        _check_range("min_accuracy", self.min_accuracy, 0.0, 1.0)
        _check_range("max_cost_usd", self.max_cost_usd, 0.0, 1e6)

    def with_hints(self, hints: Mapping[str, Any]) -> Slo:
        """This SLO with a caller's hints laid over it; a hint of None lifts the bound.

        Raises InvalidValue naming the field for an unknown hint or a value out of range.
        """
        known = {f.name for f in fields(Slo)}
        for name in hints:
            if name not in known:
                raise InvalidValue(f"slo.{name:.40}", "is not a hint", f"use one of {sorted(known)}")
        return replace(self, **{name: _as_hint(name, value) for name, value in hints.items()})


def _as_hint(name: str, value: Any) -> Any:
    choices = {"objective": Objective, "on_infeasible": OnInfeasible}.get(name)
    if choices is not None:
        try:
            return choices(value)
        except ValueError:
            raise InvalidValue(
                f"slo.{name}", f"{value!r:.80} is unknown", f"use one of {[c.value for c in choices]}"
            ) from None
    if value is None and name != "percentile":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidValue(f"slo.{name}", f"{value!r:.80} is not a number", "give a number")
    try:
        return float(value)
    except OverflowError:
        raise InvalidValue(f"slo.{name}", "is too large a number", "give one that a float can hold") from None


def _check_range(name: str, value: float | None, low: float, high: float, *, low_open: bool = False) -> None:
    if value is None:
        return
    inside = math.isfinite(value) and low <= value <= high and not (low_open and value == low)
    if not inside:
        raise InvalidValue(
            f"slo.{name}", f"{value!r} is out of range", f"use {'more than ' if low_open else ''}{low:g} to {high:g}"
        )


@dataclass(frozen=True, slots=True)
class Task:
    """What callers name: a signature, a quality metric, a default SLO and an owner."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metric: str
    default_slo: Slo = Slo()
    owner: str = "public"
    """The tenant that may use it; `public` is everyone."""
    classes: tuple[str, ...] = ()
    description: str = ""
    judged: str = ""
    """The output that the metric judges; empty where no registration said."""

    def __post_init__(self) -> None:
        check_name(self.name, "task.name")


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Measured quality in [0, 1] on `rows` held-out rows, with a 95 % interval."""

    value: float
    low: float
    high: float
    rows: int
    method: str
    """How the interval was made: `wilson` or `bootstrap`."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= self.value <= self.high <= 1.0:
            raise InvalidValue(
                "accuracy", f"{self.low}, {self.value}, {self.high} are not ordered in [0, 1]", "measure it again"
            )


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a variant was made: a generator, the parent it started from, and its parameters."""

    generator: str
    parent: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    """One immutable way to do a task."""

    task: str
    name: str
    artifact: str
    """Digest of the artifact's manifest, `blake3:<64 hex>`."""
    recipe: Recipe
    accuracy: Accuracy
    size_bytes: int = 0
    binding: str = ""
    """Which versions of which objects the artifact is, where its bucket keeps versions (`registry.provenance`)."""
    signature: str = ""
    """Over the artifact, base64, where its publisher has a key (`registry.signing`)."""

    def __post_init__(self) -> None:
        check_name(self.name, "variant.name")

    @property
    def id(self) -> str:
        """`task/name`, unique in a catalogue."""
        return f"{self.task}/{self.name}"


SMALLEST_STEP_MS = 1e-6
"""A nanosecond: no clock that bills is finer, and no duration in steps of it leaves a float's range."""


@dataclass(frozen=True, slots=True)
class Price:
    """A tier's price model; `registry.prices` makes it from dated facts and does its arithmetic."""

    usd_per_busy_s: float
    """For each second of billed duration of one execution environment, or of one slot where runs share one."""
    usd_per_request: float = 0.0
    usd_per_start: float = 0.0
    """For each start or restore, on top of billed INIT."""
    bills_init: bool = True
    usd_per_idle_s: float = 0.0
    """For each second that one environment is kept provisioned, or a snapshot cached. Where it is billed used or not, a
    run's own price is its share of this, and not on top of it."""
    step_ms: float = 1.0
    """Billed duration is rounded up to a multiple of this."""

    def __post_init__(self) -> None:
        check_numbers(
            "price",
            usd_per_busy_s=self.usd_per_busy_s,
            usd_per_request=self.usd_per_request,
            usd_per_start=self.usd_per_start,
            usd_per_idle_s=self.usd_per_idle_s,
        )
        check_numbers("price", SMALLEST_STEP_MS, step_ms=self.step_ms)


@dataclass(frozen=True, slots=True)
class Tier:
    """A kind of place to run."""

    name: str
    kind: TierKind
    vcpus: float
    memory_mb: int
    concurrency: int
    """Most environments at once; most runs at once where there is one environment (see SHARED)."""
    start_mode: StartMode
    price: Price
    idle_timeout_s: float = 600.0
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        check_name(self.name, "tier.name")
        if self.concurrency < 1 or self.memory_mb < 1 or self.vcpus <= 0:
            raise InvalidValue(
                f"tier {self.name}", "needs a positive concurrency, memory_mb and vcpus", "give positive numbers"
            )
        what = f"tier {self.name}"
        check_numbers(what, vcpus=self.vcpus, idle_timeout_s=self.idle_timeout_s, timeout_s=self.timeout_s)

    @property
    def threads(self) -> int:
        """Threads that one run may use: an environment's vCPUs, or its part of them where all runs share them.

        So runs that overlap do not slow one another down, and a profile taken alone holds under load.
        """
        shared_by = self.concurrency if self.kind in SHARED else 1
        return max(1, int(self.vcpus / shared_by))


MAX_THREADS = 64
"""Most threads of a placement; a worker refuses more (`runtime.worker`)."""

MAX_BATCH = 1 << 20
"""Most rows of a batch: about as many as an invocation of 6 MB holds, in base64, when a row is one FP32 number."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A variant on a tier with its settings."""

    variant: str
    """The variant's id, `task/name`."""
    tier: str
    threads: int = 1
    max_batch: int = 64
    prepack: bool = True
    """Whether ONNX Runtime re-lays weights out in private memory: faster batches, slower load, no sharing."""

    def __post_init__(self) -> None:
        for name, value, most in (("threads", self.threads, MAX_THREADS), ("max_batch", self.max_batch, MAX_BATCH)):
            if not 1 <= value <= most:
                raise InvalidValue(f"placement.{name}", f"{value!r} is out of range", f"use 1 to {most}")

    @property
    def id(self) -> str:
        """Unique in a catalogue: `task/variant@tier:threads`, with `u` appended when weights are left unpacked."""
        return f"{self.variant}@{self.tier}:{self.threads}{'' if self.prepack else 'u'}"

    @property
    def task(self) -> str:
        """The task's name."""
        return self.variant.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A measured distribution: milliseconds at each of LEVELS, non-decreasing."""

    ms: tuple[float, ...]
    mean: float

    def __post_init__(self) -> None:
        if len(self.ms) != len(LEVELS) or not all(a <= b for a, b in zip(self.ms, self.ms[1:], strict=False)):
            raise InvalidValue(
                "quantiles", f"{self.ms} are not {len(LEVELS)} non-decreasing values", "measure them again"
            )
        if self.ms[0] < 0 or not math.isfinite(self.ms[-1]) or not 0.0 <= self.mean < math.inf:
            raise InvalidValue("quantiles", f"{self.ms} and {self.mean} are not finite times", "measure them again")


ZERO = Quantiles((0.0,) * len(LEVELS), 0.0)
"""The distribution of a step that never takes time."""


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """Warm service of a batch of `rows`, variant resident: as the gateway sees it, and as the tier bills it."""

    rows: int
    latency: Quantiles
    billed_ms: float
    """Mean billed duration."""

    def __post_init__(self) -> None:
        check_numbers("service time", billed_ms=self.billed_ms)


@dataclass(frozen=True, slots=True)
class Profile:
    """What was measured for a placement, and on what."""

    placement: str
    service: tuple[ServiceTime, ...]
    """By ascending batch size; never empty."""
    load: Quantiles
    """Added when the variant is not resident in the environment."""
    init: Quantiles
    """Added when no environment is warm (ZERO where one always is)."""
    memory_mb: float
    """Private memory that one resident copy adds."""
    fingerprint: str
    """The hardware this holds on."""
    cpu_share: str
    """How the tier's CPU share was enforced: `cgroup-v2`, `cgroup-v1`, `duty-cycle` or `none`."""
    samples: int
    measured_at: str
    """ISO 8601, UTC."""
    batch_error: float | None = None
    """How far off medians at batch sizes that were left out were foreseen from the others: the median of the relative
    errors; None with fewer than three sizes."""
    peak_mb: float | None = None
    """Most memory (resident set) of an environment that ran nothing but this, its largest batch included; None where
    an environment does not tell."""

    def __post_init__(self) -> None:
        rows = [s.rows for s in self.service]
        if not rows or rows != sorted(set(rows)) or rows[0] < 1:
            raise InvalidValue(
                f"profile {self.placement}.service",
                f"batch sizes {rows} do not ascend from 1 or more",
                "measure them again",
            )
        check_numbers(f"profile {self.placement}", memory_mb=self.memory_mb)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a decision expects of one placement, in the units callers use."""

    placement: Placement
    latency_ms: float
    """Predicted finish time at the SLO's percentile."""
    p50_ms: float
    on_time: float
    """P(done by the deadline); 1 without a deadline."""
    accuracy: float
    effective_accuracy: float
    cost_usd: float
    """Expected cost of this one request."""
    cold: bool
    """Whether an environment must start first."""
    load: bool
    """Whether the variant must be loaded first."""
    wait_ms: float = 0.0
    quantiles_ms: tuple[float, ...] = ()
    """Predicted finish time from the decision on, at each of LEVELS."""
    busy_ms: float = 0.0
    """For how long it is expected to take a slot: median start, load and service."""
    broken: tuple[str, ...] = field(default=())
    """The bounds that it is not expected to hold, by SLO field name."""
