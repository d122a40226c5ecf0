"""Makes the prediction of one claimed job and says what came of it; it neither claims nor chooses when."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

from gateway.auth import Principal
from gateway.backends.protocol import Tensors
from gateway.bodies import answer_body, hints_of, id_of, predict_request
from gateway.errors import DeadlineExceeded, GatewayError, Overloaded, TooLarge, Unavailable
from gateway.issuer import Issuer
from gateway.refusals import Internal, as_gateway_error
from gateway.service import Service
from registry.errors import ClaimLost, DigestMismatch, NotFound
from registry.errors import Unavailable as StoreUnavailable
from registry.jobs import LONGEST_PAUSE_S, Job, JobError, JobStore, Step, digest_of, fail, give_back, succeed
from registry.model import Task

log = logging.getLogger(__name__)

CAP_S = 300.0
"""Longest that one run may take, whatever its tiers would allow: what takes longer is stuck."""

SHORTEST_PAUSE_S = 1.0
"""Between two runs of a job; the longest is every store's."""

NO_LATENCY = {"latency_ms": None}
"""A job that says nothing of latency has no deadline, whatever its task's default: nobody waits for it."""

_parsing = threading.Lock()
"""JSON's lists and numbers take fourteen times the text's bytes: jobs that run together are not parsed together, which
would be no faster, as Python parses on one core."""

GONE = JobError("gone", "what it asks for is no longer kept")


async def carry_out(
    job: Job,
    service: Service,
    store: JobStore,
    *,
    limit_bytes: int | None = None,
    cap_s: float = CAP_S,
    last: bool = False,
    issuer: Issuer | None = None,
) -> Job | None:
    """Predict what a job asks for, under its own SLO; the job as it is then, None where it was cancelled meanwhile.

    What cannot be answered now, or within `cap_s`, is given back: for lack of capacity as if it had not begun, else
    until its attempts are over; where no run comes after the `last`, it fails. An answer over the limit fails. The
    `issuer` gives the answer its receipt; without one it has none. Raises the registry's Unavailable where the store
    cannot be told: the lease then ends by itself, and the job is claimed again.
    """
    result: bytes | None = None
    step: Step
    try:
        async with asyncio.timeout(cap_s):
            result = await _answer(job, service, store, issuer)
        if limit_bytes is not None and len(result) > limit_bytes:
            raise TooLarge("the answer is over the limit; send fewer rows", limit_bytes=limit_bytes)
        step = partial(succeed, holder=job.holder)
    except NotFound:
        # Told in vain where it was cancelled or has expired, which is why there is none.
        step = partial(fail, holder=job.holder, error=GONE)
    except StoreUnavailable:
        raise
    except TimeoutError:
        step = _after(DeadlineExceeded(f"no answer came within {cap_s:.0f} s"), job, last)
    except Exception as error:  # noqa: BLE001 - the outermost handler of a job: its caller learns of it
        step = _after(as_gateway_error(error), job, last)
    return await asyncio.to_thread(_told, store, job, step, result)


def hand_back(job: Job, store: JobStore) -> None:
    """Have a job that was interrupted by no fault of its own claimed again at once, if it is still held."""
    error = JobError("interrupted", "whoever ran it was stopped")
    _told(store, job, partial(give_back, holder=job.holder, error=error, counted=False))


def _told(store: JobStore, job: Job, step: Step, result: bytes | None = None) -> Job | None:
    try:
        return store.move(job.tenant, job.id, step, result=result)
    except (ClaimLost, NotFound) as lost:
        log.info("what came of it is discarded: %s", lost)
        return None


async def _answer(job: Job, service: Service, store: JobStore, issuer: Issuer | None) -> bytes:
    caller = Principal("job", job.tenant)
    body = await asyncio.to_thread(_asked, job, store)
    # The task may have changed since, or be somebody else's by now.
    task = service.task(caller, job.task)
    given, inputs = await asyncio.to_thread(_parsed, body, task)
    del body
    hints: dict[str, Any] = {**NO_LATENCY, **(hints_of(given) or {})}
    key = issuer.begin(caller, task) if issuer else None
    answer = await service.predict(caller, task.name, inputs, hints, id=id_of(given.get("id")) or job.id)
    answer = await issuer.signed(answer, key) if issuer else answer
    return await asyncio.to_thread(answer_body, answer)


def _parsed(body: bytes, task: Task) -> tuple[Mapping[str, Any], Tensors]:
    with _parsing:
        return predict_request(body, task)


def _asked(job: Job, store: JobStore) -> bytes:
    body = store.body(job)
    if (actual := digest_of(job.task, body)) != job.digest:
        raise DigestMismatch(job.digest, actual)
    return body


def _after(error: GatewayError, job: Job, last: bool) -> Step:
    """What follows from a refusal: another run where that may help."""
    why = JobError(error.code, str(error))
    if last:
        return partial(fail, holder=job.holder, error=why)
    if isinstance(error, Overloaded):
        hint = float(error.details.get("retry_after_s", math.nan))
        pause_s = min(max(hint, SHORTEST_PAUSE_S), LONGEST_PAUSE_S) if math.isfinite(hint) else LONGEST_PAUSE_S
        return partial(give_back, holder=job.holder, error=why, counted=False, pause_s=pause_s)
    if isinstance(error, Unavailable | Internal):
        pause_s = min(SHORTEST_PAUSE_S * 4**job.attempts, LONGEST_PAUSE_S)
        return partial(give_back, holder=job.holder, error=why, pause_s=pause_s)
    return partial(fail, holder=job.holder, error=why)
