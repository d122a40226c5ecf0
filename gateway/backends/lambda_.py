"""Invokes the worker function on AWS Lambda, or on anything that speaks its API; never retries, never hides an error.

botocore's calls block, so they run on threads of this backend's own.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

from gateway.backends.aws import (
    NOT_READY_S,
    THREADS,
    THROTTLED_S,
    Clients,
    code_of,
    faults,
    make_client,
    retry_after_s,
    said,
    translated,
)
from gateway.backends.calls import fault_of, hold_event, infer_event, reply_of, unload_event, warm_event
from gateway.backends.lambda_copies import Control, ask_for, asked_for
from gateway.backends.protocol import Emit, Invocation, Reply, TierStatus, is_to_change, least_left_s
from gateway.errors import BackendError, ExecutionFailed, NotReady, Throttled, TimedOut
from registry.model import Placement, StartMode, Tier, Variant
from scheduler.events import EnvironmentGone, EnvironmentReady, EnvironmentStarting

MAX_PAYLOAD = 6 * 1024 * 1024
"""A synchronous invocation's largest request (Lambda quota)."""

CONTROL_TIMEOUT_S = 8
"""For a call that runs nothing."""

WARM_ROUNDS = 3
"""How often `ensure` sends the missing warm-ups: short ones may land in one environment, one after the other."""

HOLD_MS = 150
"""How long a warm-up keeps its environment busy where several are wanted: those sent at once then overlap."""

REPORT = re.compile(r"(?<!Billed )(Billed|Init|Restore) Duration: ([0-9.]+) ms")
"""What Lambda's REPORT line tells of cost and start-up."""

JSON_REPORT = re.compile(r'"(billed|init|restore)DurationMs":\s*([0-9.]+)')
"""The same in a `platform.report`, which takes the line's place where a function logs JSON."""


class Client(Control, Protocol):
    """What this backend needs of a Lambda client."""

    def invoke(self, **request: Any) -> Mapping[str, Any]:
        """Lambda's Invoke."""


class Report(NamedTuple):
    """What the log tail says of an invocation; None where it says nothing."""

    billed_ms: float | None
    start_ms: float | None
    """INIT or restore; only a cold invocation has one."""


@dataclass(slots=True)
class _Seen:
    """What replies told of one environment."""

    resident: tuple[str, ...]
    last: float


class LambdaBackend:
    """Calls one function; an environment is known by the replies it gave, and forgotten when it has idled out.

    `function` is a name, ARN or alias; `make_client` makes a client whose reads time out after so many seconds.
    `tenant_of` says of a task by its name for whom a function in tenant isolation mode runs it: Lambda gives each
    tenant environments of its own. Other functions take no tenant.
    """

    def __init__(
        self,
        tier: Tier,
        *,
        emit: Emit,
        function: str,
        make_client: Callable[[int], Client] | None = None,
        clock: Callable[[], float] = time.monotonic,
        threads: int = THREADS,
        tenant_of: Callable[[str], str] | None = None,
    ) -> None:
        self._tenant_of = tenant_of
        self.tier = tier
        self._emit = emit
        self._function = function
        self._clients = Clients(make_client or _botocore_client)
        self._clock = clock
        self._most = min(threads, tier.concurrency)
        self._pool = ThreadPoolExecutor(self._most, thread_name_prefix=f"{tier.name}-invoke")
        self._under_way = 0
        self._seen: dict[str, _Seen] = {}
        self._closed = False

    @property
    def hardware(self) -> str:
        """What a profile taken through this backend holds on: Lambda does not say which machine it was."""
        return f"{self._function} on AWS Lambda"

    @property
    def at_once(self) -> int:
        """Most calls that are ever under way."""
        return self._most

    async def prepare(self) -> None:
        """Nothing to do: Lambda took its snapshot when the version was published."""
        self._check_open()

    async def invoke(self, invocation: Invocation) -> Reply:
        """Invoke the function once, within the time that is left."""
        document, report = await self._call(infer_event(invocation), invocation.deadline)
        cold = self._learn(document, report)
        if report.billed_ms is None:
            report = report._replace(billed_ms=float(document["load_ms"]) + float(document["run_ms"]))
        init_ms = report.start_ms or 0.0
        # Billed duration includes a billed INIT, which the price model adds by itself.
        bills_init = cold and self.tier.price.bills_init and self.tier.start_mode is StartMode.ONDEMAND
        billed_ms = max(0.0, (report.billed_ms or 0.0) - (init_ms if bills_init else 0.0))
        return reply_of(document, cold=cold, billed_ms=billed_ms, init_ms=init_ms)

    def status(self) -> TierStatus:
        """What the replies so far let suppose."""
        self._forget()
        resident: dict[str, int] = {}
        for seen in self._seen.values():
            for variant in seen.resident:
                resident[variant] = resident.get(variant, 0) + 1
        idle = max(0, len(self._seen) - self._under_way)
        reason = f"{self.tier.name} is closed" if self._closed else ""
        return TierStatus(not self._closed, reason, idle, self._under_way, 0, resident)

    def lasting(self, variant: Variant, for_s: float) -> int:
        """What the replies so far let suppose: Lambda says of no environment how long it stays."""
        before = self._clock() - self.tier.idle_timeout_s + least_left_s(self.tier, for_s)
        return sum(variant.id in seen.resident and seen.last >= before for seen in self._seen.values())

    async def ensure(self, placement: Placement, variant: Variant, copies: int, *, for_s: float = 0.0) -> None:
        """Send as many warm-ups at once as copies are wanted, until so many environments hold the variant.

        As many as are wanted, and not only as are missing: nobody can say which environment gets one, so those that
        hold it must be kept busy meanwhile. Of more than there are calls at once nobody can say that they are not the
        same, so these are all. Raises Throttled when too few hold it after WARM_ROUNDS.
        """
        if copies > self.tier.concurrency:
            raise Throttled(f"{self.tier.name} allows {self.tier.concurrency} environments")
        copies = min(copies, self._most)
        event = warm_event(placement, variant, hold_ms=HOLD_MS if copies > 1 else 0)
        for _ in range(WARM_ROUNDS):
            self._check_open()
            if self.lasting(variant, for_s) >= copies:
                return
            await self._at_once(event, copies)
        if self.lasting(variant, for_s) < copies:
            raise Throttled(f"{self.tier.name} gave fewer than {copies} environments")

    async def occupy(self, variant: Variant, environments: int, for_ms: int) -> None:
        """Keep so many environments busy for so long; they hold afterwards what they held.

        Whichever Lambda gives the calls to: as many as there are, where it is as many. Raises the first fault.
        """
        await self._at_once(hold_event(variant.task, for_ms), environments)

    async def unload(self, variant: Variant) -> None:
        """Send as many events at once as environments are known, until none is known to hold the variant.

        None is sent where none is known: it would start one. Raises Throttled when some hold it after WARM_ROUNDS.
        """
        for _ in range(WARM_ROUNDS):
            self._check_open()
            if not self.status().resident.get(variant.id, 0):
                return
            known = min(len(self._seen), self._most)
            await self._at_once(unload_event(variant, hold_ms=HOLD_MS if known > 1 else 0), known)
        if holding := self.status().resident.get(variant.id, 0):
            raise Throttled(f"{holding} environments of {self.tier.name} were not reached")

    async def provision(self, copies: int, *, more: bool = True, fewer: bool = True) -> bool:
        """Have so many environments of the alias or version be there, where it is another number; one or two calls."""
        self._check_open()
        function, _, alias = self._function.rpartition(":")
        if self.tier.start_mode is StartMode.SNAPSTART or not function:
            raise NotReady(f"{self.tier.name} has no alias or version whose environments can be provisioned", math.inf)
        if copies > self.tier.concurrency:
            raise Throttled(f"{self.tier.name} allows {self.tier.concurrency} environments")
        target = {"FunctionName": function, "Qualifier": alias}
        wanted = partial(is_to_change, copies=copies, more=more, fewer=fewer)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._provision, target, copies, wanted)

    def sighted(self, environment: str, resident: tuple[str, ...], at: float) -> None:
        """Somebody else's call found this in an environment (by its name in the fleet), at a time on the clock (s)."""
        known = self._seen.get(environment)
        if at < self._clock() - self.tier.idle_timeout_s or (known is not None and known.last >= at):
            return
        if known is None:
            self._emit(EnvironmentStarting(self.tier.name, environment, at))
        self._seen[environment] = _Seen(resident, at)
        self._emit(EnvironmentReady(self.tier.name, environment, resident, at))

    async def release(self, copies: int = 0) -> None:
        """Forget idle environments: Lambda itself decides when they go."""
        self._check_open()
        for environment in sorted(self._seen, key=lambda e: self._seen[e].last)[: max(0, len(self._seen) - copies)]:
            self._drop(environment, "released")

    async def close(self) -> None:
        """Stop calling; calls under way end by their read timeouts."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for environment in list(self._seen):
            self._drop(environment, "closed")

    def _check_open(self) -> None:
        if self._closed:
            raise NotReady(f"{self.tier.name} is closed")

    async def _at_once(self, event: Mapping[str, Any], times: int) -> None:
        """So many calls that overlap; all are waited for, so that none is left behind. Raises the first fault."""
        deadline = self._clock() + self.tier.timeout_s
        outcomes = await asyncio.gather(*(self._call(event, deadline) for _ in range(times)), return_exceptions=True)
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for outcome in outcomes:
            if not isinstance(outcome, BaseException):
                self._learn(*outcome)
        if failed:
            raise failed[0]

    async def _call(self, event: Mapping[str, Any], deadline: float) -> tuple[Mapping[str, Any], Report]:
        """One Invoke on a thread; the worker's document and Lambda's report."""
        self._check_open()
        if self._under_way >= self._most:
            raise Throttled(f"{self.tier.name} has {self._under_way} calls under way", THROTTLED_S)
        payload = json.dumps(event).encode()
        if len(payload) > MAX_PAYLOAD:
            raise ExecutionFailed(f"the request is {len(payload)} bytes, and Lambda takes {MAX_PAYLOAD}")
        remaining = deadline - self._clock()
        if remaining <= 0:
            raise TimedOut("no time is left")
        self._under_way += 1
        tenant = self._tenant(event)
        call = asyncio.get_running_loop().run_in_executor(self._pool, self._invoke, payload, remaining, tenant)
        call.add_done_callback(self._done)
        try:
            async with asyncio.timeout(remaining):
                return await call
        except TimeoutError:
            raise TimedOut(f"no answer from {self.tier.name} by the deadline") from None

    def _tenant(self, event: Mapping[str, Any]) -> dict[str, str]:
        """What Invoke takes to run an event for its task's tenant; nothing where tenants share environments."""
        return {} if self._tenant_of is None else {"TenantId": self._tenant_of(event["variant"].partition("/")[0])}

    def _done(self, call: asyncio.Future[Any]) -> None:
        self._under_way -= 1
        if not call.cancelled():
            call.exception()  # Seen here, so that a call whose caller has left is not reported as lost.

    def _learn(self, document: Mapping[str, Any], report: Report) -> bool:
        """Take in what a reply tells of its environment; returns whether it was started for it."""
        environment, now = str(document["environment"]), self._clock()
        name = f"{self.tier.name}-{environment}"
        known = name in self._seen
        if not known:
            self._emit(EnvironmentStarting(self.tier.name, name, now))
        resident = tuple(str(v) for v in document.get("resident", ()))
        self._seen[name] = _Seen(resident, now)
        self._emit(EnvironmentReady(self.tier.name, name, resident, now))
        # Lambda's own word counts: an environment that is new to us may have served others before.
        return not known if report.billed_ms is None else report.start_ms is not None

    def _forget(self) -> None:
        before = self._clock() - self.tier.idle_timeout_s
        for environment in [e for e, seen in self._seen.items() if seen.last < before]:
            self._drop(environment, "idle for as long as Lambda keeps one")

    def _drop(self, environment: str, reason: str) -> None:
        if self._seen.pop(environment, None) is not None:
            self._emit(EnvironmentGone(self.tier.name, environment, reason, self._clock()))

    # On a thread of the pool

    def _provision(self, target: Mapping[str, str], copies: int, wanted: Callable[[int], bool]) -> bool:
        client = self._clients.exactly(CONTROL_TIMEOUT_S)
        try:
            if not wanted(asked_for(client, self.tier, target)):
                return False
            ask_for(client, self.tier, target, copies)
        except faults() as error:
            raise translated(error, _refusal) from error
        return True

    def _invoke(self, payload: bytes, remaining: float, tenant: Mapping[str, str]) -> tuple[Mapping[str, Any], Report]:
        client = self._clients.within(remaining)
        try:
            response = client.invoke(FunctionName=self._function, Payload=payload, LogType="Tail", **tenant)
            body = json.loads(response["Payload"].read())
        except faults() as error:
            raise translated(error, _refusal) from error
        except ValueError as error:
            raise ExecutionFailed(f"the function's answer is no JSON: {error}") from None
        if response.get("FunctionError"):
            raise fault_of(str(body.get("errorType", "")), str(body.get("errorMessage", "")))
        return body, _report(response.get("LogResult", ""))


def _botocore_client(timeout_s: int) -> Client:
    return cast(Client, make_client("lambda", timeout_s))


def _report(log_tail: str) -> Report:
    tail = base64.b64decode(log_tail).decode("utf-8", "replace")
    found = {name.lower(): float(ms) for form in (REPORT, JSON_REPORT) for name, ms in form.findall(tail)}
    return Report(found.get("billed"), found.get("init", found.get("restore")))


def _refusal(response: Mapping[str, Any]) -> BackendError:
    code = code_of(response)
    if code in ("TooManyRequestsException", "ThrottlingException"):
        return Throttled(said(response), retry_after_s(response))
    if code in ("RequestTooLargeException", "InvalidRequestContentException"):
        return ExecutionFailed(said(response))
    # Every other code says that the function cannot be used now: absent, updating, not allowed, out of capacity.
    return NotReady(said(response), NOT_READY_S)
