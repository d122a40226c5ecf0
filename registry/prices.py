"""What running costs: arithmetic over the dated, sourced figures of data/prices.json; holds no figure itself."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from registry.errors import InvalidValue
from registry.model import Price, StartMode, Tier, TierKind

MB_PER_GB = 1024
"""Lambda and Fargate count memory in binary units: 1,769 MB is 1.7275 GB."""

SHARE_STEP_MS = 0.001
"""A container is not billed by the run, so a run's share of it is counted to the microsecond."""


@cache
def figures() -> dict[str, Any]:
    """The price file as it is, with the source and the date of every figure."""
    data: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "prices.json").read_bytes())
    return data


def vcpus_of(memory_mb: int) -> float:
    """The vCPUs that Lambda gives a function of this size, in proportion to its memory."""
    return float(memory_mb / figures()["lambda"]["mb_per_vcpu"])


def lambda_price(memory_mb: int, *, arch: str = "x86_64", start_mode: StartMode = StartMode.ONDEMAND) -> Price:
    """The price of one Lambda execution environment of `memory_mb`, on the architecture `x86_64` or `arm64`.

    INIT is billed like duration in every mode. For SnapStart that overstates a cold start a little: AWS bills the
    restore by the gigabyte (`usd_per_start`) and only the hooks' part of its time. `usd_per_idle_s` is what one
    provisioned environment costs all the time, or one cached snapshot. Raises InvalidValue.
    """
    sheet = figures()["lambda"]
    gigabytes = memory_mb / MB_PER_GB
    rates = sheet["usd_per_gb_s"]
    if arch not in rates:
        raise InvalidValue("arch", f"{arch!r} is unknown", f"use one of {sorted(rates)}")
    if start_mode is StartMode.ALWAYS:
        raise InvalidValue("start_mode", "no Lambda function always runs", "use ondemand, snapstart or provisioned")
    provisioned, snapstart = sheet["provisioned"], sheet["snapstart"]
    busy, start, idle = {
        StartMode.ONDEMAND: (rates[arch], 0.0, 0.0),
        StartMode.SNAPSTART: (rates[arch], snapstart["usd_per_gb_restored"], snapstart["usd_per_gb_s_cached"]),
        StartMode.PROVISIONED: (
            provisioned["usd_per_gb_s_running"][arch],
            0.0,
            provisioned["usd_per_gb_s_configured"][arch],
        ),
    }[start_mode]
    return Price(
        usd_per_busy_s=busy * gigabytes,
        usd_per_request=sheet["usd_per_request"],
        usd_per_start=start * gigabytes,
        bills_init=True,
        usd_per_idle_s=idle * gigabytes,
        step_ms=float(sheet["step_ms"]),
    )


def inline_price(vcpus: float, memory_mb: int) -> Price:
    """The price of a second of one vCPU of an always-on Fargate container of this size, memory shared out with it."""
    sheet = figures()["fargate"]
    per_hour = vcpus * sheet["usd_per_vcpu_h"] + memory_mb / MB_PER_GB * sheet["usd_per_gb_h"]
    return Price(usd_per_busy_s=per_hour / 3600 / vcpus, bills_init=False, step_ms=SHARE_STEP_MS)


def container_price(vcpus: float, memory_mb: int) -> Price:
    """The same container as a tier of its own: it costs as much idle, and a run's price is its share of that."""
    share = inline_price(vcpus, memory_mb)
    return replace(share, usd_per_idle_s=share.usd_per_busy_s * vcpus)


GPU_INSTANCE = "ml.g6.xlarge"
"""With one L4; where nobody says which instance, it is taken to be this one."""


def gpu_price(instance: str = GPU_INSTANCE) -> Price:
    """The price of a second of an instance with one GPU, which one run at a time has to itself."""
    per_s = figures()["gpu"]["instances"][instance]["usd_per_h"] / 3600
    return Price(usd_per_busy_s=per_s, bills_init=False, usd_per_idle_s=per_s, step_ms=SHARE_STEP_MS)


def invocation_cost(price: Price, billed_ms: float, *, cold: bool = False, init_ms: float = 0.0) -> float:
    """US dollars for one invocation of `billed_ms` of duration, after a start of `init_ms` when `cold`.

    Lambda rounds the sum of INIT and duration up to its step, as its report lines do.
    """
    total_ms = billed_ms + (init_ms if cold and price.bills_init else 0.0)
    # 29.000000000000004 ms is a sum of floats and not a thirtieth millisecond.
    steps = math.ceil(round(total_ms / price.step_ms, 6))
    start = price.usd_per_start if cold else 0.0
    return price.usd_per_request + start + steps * price.step_ms / 1000 * price.usd_per_busy_s


SIZES: tuple[tuple[int, int], ...] = ((1769, 4), (3538, 2))
"""Memory in MB, one and two vCPUs of Lambda's, and how many environments a local machine runs at once."""

SMALL_SIZES = tuple(mb for mb, _ in SIZES)
"""Memory in MB of the sizes that a local machine has too: what is measured on one can be said of the other."""

LAMBDA_SIZES = (1769, 3538, 5307, 10240)
"""Memory in MB of the workers on Lambda: one, two and three vCPUs, and the most that Lambda has."""

LAMBDA_CONCURRENCY = 100
"""Environments of one function at once: a tenth of an account's default of 1,000, so that no task drains it."""


CONTAINER_SIZE = (2.0, 4096)
"""vCPUs and memory (MB) of `container-cpu`: as many cores as inline has, and the least memory Fargate gives two."""


def local_tiers() -> tuple[Tier, ...]:
    """The tiers of any machine: `inline`, one container, and Lambda's sizes and start modes as local processes.

    The processes have Lambda's price, the two others Fargate's.
    """
    inline = Tier(
        name="inline",
        kind=TierKind.INLINE,
        vcpus=2.0,
        memory_mb=2048,
        concurrency=2,
        start_mode=StartMode.ALWAYS,
        price=inline_price(2.0, 2048),
    )
    modes = (StartMode.ONDEMAND, StartMode.SNAPSTART)
    processes = (_sized("process", TierKind.PROCESS, mb, n, mode) for mode in modes for mb, n in SIZES)
    return (inline, *processes, _container())


def gpu_tier(instance: str = GPU_INSTANCE) -> Tier:
    """`container-gpu`, a container on an instance with one GPU: for a machine that has one, or knows of one by URL."""
    sheet = figures()["gpu"]["instances"][instance]
    return Tier(
        name="container-gpu",
        kind=TierKind.GPU,
        vcpus=float(sheet["vcpus"]),
        memory_mb=sheet["memory_mb"],
        concurrency=1,
        start_mode=StartMode.ALWAYS,
        price=gpu_price(instance),
    )


GPU_IDLE_S = 2400.0
"""For how long a copy on a GPU that nobody uses is worth having: half of it (`scheduler.keeping`) is what one that is
started again costs too much, eight minutes until it answers and twelve after it was given up (`registry.copies`). Who
pays so much for idling before giving up pays at most twice what was needed (ski rental)."""


def sagemaker_tier(instance: str = GPU_INSTANCE) -> Tier:
    """Our container behind a SageMaker inference component (infra/gpu.yaml), `gpu-sagemaker-g6`; there if asked for."""
    return replace(
        gpu_tier(instance),
        name=f"gpu-sagemaker-{instance.split('.')[1]}",
        start_mode=StartMode.PROVISIONED,
        idle_timeout_s=GPU_IDLE_S,
        timeout_s=30.0,
    )


def sagemaker_tiers() -> tuple[Tier, ...]:
    """One for each instance that it can run on."""
    return tuple(sagemaker_tier(instance) for instance in figures()["gpu"]["instances"])


def lambda_tiers(sizes: Sequence[int] = LAMBDA_SIZES) -> tuple[Tier, ...]:
    """Each size (MB), started on demand and from a snapshot, on AWS Lambda."""
    modes = (StartMode.ONDEMAND, StartMode.SNAPSTART)
    return tuple(_sized("lambda", TierKind.LAMBDA, mb, LAMBDA_CONCURRENCY, mode) for mode in modes for mb in sizes)


def _container() -> Tier:
    vcpus, memory_mb = CONTAINER_SIZE
    return Tier(
        name="container-cpu",
        kind=TierKind.CONTAINER,
        vcpus=vcpus,
        memory_mb=memory_mb,
        concurrency=int(vcpus),
        start_mode=StartMode.ALWAYS,
        price=container_price(vcpus, memory_mb),
    )


def _sized(family: str, kind: TierKind, memory_mb: int, concurrency: int, mode: StartMode) -> Tier:
    suffix = "" if mode is StartMode.ONDEMAND else f"-{mode.value}"
    return Tier(
        name=f"{family}-{memory_mb}{suffix}",
        kind=kind,
        vcpus=vcpus_of(memory_mb),
        memory_mb=memory_mb,
        concurrency=concurrency,
        start_mode=mode,
        price=lambda_price(memory_mb, start_mode=mode),
        idle_timeout_s=300.0,
    )
