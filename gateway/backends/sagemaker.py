"""Our container behind a SageMaker inference component as a tier; never waits for a copy, never retries.

At zero copies a call fails at once, and so does the tier: it is not ready until a copy that somebody asked for answers.
What is known of that comes from answers and refusals, from who sets the number, and from what others saw. The container
loads and evicts by what it is asked for, which it is by the digest of each artifact.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, TypeVar

from gateway.backends.aws import CONNECT_TIMEOUT_S, THREADS, THROTTLED_S, rounded_up
from gateway.backends.components import Component
from gateway.backends.container_calls import digest_of, provenance_of, reply_of
from gateway.backends.copies import Copies, Standing
from gateway.backends.leased import leased
from gateway.backends.protocol import Emit, Invocation, Reply, TierStatus, is_to_change
from gateway.backends.sagemaker_calls import AT_ZERO_S, Calls
from gateway.backends.shared_environment import SharedEnvironment
from gateway.errors import NotReady, Throttled, TimedOut
from registry.copies import START_S
from registry.leases import Leases
from registry.model import Placement, Tier, Variant
from runtime.codecs.v2_client import InferAnswer, Scalar
from scheduler.events import TierUnavailable

PER_COPY = 64
"""Requests that one copy may have at a time from all who share it: as many as one run takes in (`Placement.max_batch`);
more could only wait behind it."""

T = TypeVar("T")


class SageMakerBackend:
    """A Backend, Unloads and Provisions over one inference component, which the fleet knows as one environment.

    All methods are for one loop; calls block, so they run on threads of this backend's own.
    """

    def __init__(
        self,
        tier: Tier,
        *,
        emit: Emit,
        component: Component,
        leases: Leases | None = None,
        calls: Calls | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With `leases`, all who share the component have at most PER_COPY requests for each copy under way."""
        self.tier = tier
        self._emit, self._clock = emit, clock
        self._component, self._leases = component, leases
        self._calls = calls or Calls(component)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=f"{tier.name}-invoke")
        self._environment = SharedEnvironment(tier, emit=emit, clock=clock)
        self._names: dict[str, str] = {}
        """Variant id to what the container calls its artifact."""
        self._under_way = 0
        self._reason = ""
        self._again_at = -math.inf
        """Until then it is not ready, for the reason."""
        self._asked_at: float | None = None
        """Since when copies are known to be coming."""
        self._known_at = self._used_at = -math.inf
        """When something was last learnt of the copies, and when one of them was last used."""
        self._closed = False

    @property
    def hardware(self) -> str:
        """What a profile taken through this backend holds on."""
        return f"{self._component.name} on Amazon SageMaker"

    async def prepare(self) -> None:
        """See what copies there are; raises NotReady where none answers."""
        await self._look()
        self._check_ready()

    async def invoke(self, invocation: Invocation) -> Reply:
        """Invoke the endpoint once, within the time that is left."""
        self._check_ready()
        waits, life = self._environment.full, self._environment.begin() if self._environment.here else None
        started, variant = self._clock(), invocation.variant.id
        try:
            answer = await self._within(invocation.deadline, lambda left_s: self._infer(invocation, left_s))
            self._names[variant] = digest_of(invocation.placement, invocation.variant)
            self._answered(self._environment.resident | {variant}, self._clock())
        except NotReady as fault:
            self._away(str(fault), fault.retry_after_s)
            raise
        finally:
            if life is not None:
                self._environment.end(life)
        return reply_of(answer, self.tier, invocation.rows, (self._clock() - started) * 1000, waits=waits)

    def status(self) -> TierStatus:
        """What is known; its one environment counts as busy while every slot is taken."""
        return self._environment.status(f"{self.tier.name} is closed" if self._closed else self._why_not())

    async def ensure(self, placement: Placement, variant: Variant, copies: int, *, for_s: float = 0.0) -> None:
        """Make the variant resident; one copy serves every slot, and it is not pinned for any time.

        Which copy is told nobody can say. Raises NotReady where there is none: it starts none (see `provision`).
        """
        self._check_ready()
        if copies > 0 and variant.id not in self._environment.resident:
            self._names[variant.id] = digest_of(placement, variant)
            await self._tell("load", self._names[variant.id], provenance_of(variant))

    async def unload(self, variant: Variant) -> None:
        """Give one variant up; the container ends what is in use first."""
        self._check_open()
        if variant.id in self._environment.resident:
            # What only others used may be there in either form.
            names = (self._names.get(variant.id) or variant.artifact, f"{variant.artifact}:u")
            for name in dict.fromkeys(names[: 1 if variant.id in self._names else 2]):
                await self._tell("unload", name)

    async def provision(self, copies: int, *, more: bool = True, fewer: bool = True) -> bool:
        """Set the component's number of copies where it is another; one or two calls.

        It takes minutes, within which the number cannot be set again (Throttled).
        """
        if copies > self._component.most:
            raise Throttled(f"{self.tier.name} has at most {self._component.most} copies, not {copies}")
        found = await self._look()
        if found.standing is Standing.BROKEN:
            raise NotReady(f"{self._component.name}: {found}", AT_ZERO_S)
        if not is_to_change(found.desired, copies, more=more, fewer=fewer):
            return False
        if not found.settled:
            raise Throttled(f"{self._component.name}: {found}; its copies cannot be set meanwhile", AT_ZERO_S)
        await self._on_thread(lambda: self._calls.update(copies))
        self._take(Copies(found.current, copies, "Updating"))
        return True

    def sighted(self, environment: str, resident: tuple[str, ...], at: float) -> None:
        """Somebody else's call was answered, by a copy that holds this, at a time on the clock (s)."""
        lasting = at > max(self._used_at, self._clock() - self.tier.idle_timeout_s)
        # What says less of now than is known here says at most when it was used.
        if lasting and (self._environment.here or at > self._known_at):
            self._answered(resident, at)

    async def release(self, copies: int = 0) -> None:
        """Give up what is resident when no copy is to stay; how many are paid for is `provision`'s to say."""
        self._check_open()
        if not copies:
            for variant in sorted(self._environment.resident & self._names.keys()):
                await self._tell("unload", self._names[variant])

    async def close(self) -> None:
        """Stop calling; calls under way end by their read timeouts. The copies stay as they are."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._environment.went("closed")

    # What is known

    def _check_open(self) -> None:
        if self._closed:
            raise NotReady(f"{self.tier.name} is closed")

    def _check_ready(self) -> None:
        self._check_open()
        if reason := self._why_not():
            raise NotReady(reason, self._again_at - self._clock())

    def _why_not(self) -> str:
        return self._reason if self._again_at > self._clock() else ""

    def _answered(self, resident: Collection[str], at: float) -> None:
        """A copy answered, and holds this."""
        self._known_at, self._used_at = max(self._known_at, at), at
        self._came()
        self._environment.sighted(resident, at)

    def _came(self) -> None:
        now = self._clock()
        if self._reason:
            # What was said of the tier holds no more.
            self._emit(TierUnavailable(self.tier.name, "", now, now))
        self._reason, self._again_at, self._asked_at = "", -math.inf, None

    def _away(self, reason: str, for_s: float) -> None:
        """No copy answers, and for so long it is no use to ask."""
        self._known_at = self._clock()
        self._reason, self._again_at = reason, self._known_at + for_s
        if self._environment.here or self._asked_at is None:
            self._environment.went(reason)

    def _take(self, found: Copies) -> None:
        """What the component says of its copies."""
        now = self._clock()
        if found.standing is Standing.HERE:
            if not self._environment.here:
                self._came()
                self._used_at = now
                self._environment.sighted((), now)
            self._known_at = now
            return
        coming = found.standing is Standing.COMING
        self._asked_at = (self._asked_at or now) if coming else None
        self._away(f"{self._component.name}: {found}", self._coming_s(now) if coming else AT_ZERO_S)
        if coming and not self._environment.starting:
            self._environment.starts()
        # Nobody is to count on copies of what is broken: asking for some would not have them come.
        until = math.inf if found.standing is Standing.BROKEN else self._again_at
        self._emit(TierUnavailable(self.tier.name, self._reason, until, now))

    def _coming_s(self, now: float) -> float:
        """Seconds until copies that were asked for may answer; when they are late, until the next plan looks."""
        left_s = START_S if self._asked_at is None else self._asked_at + START_S - now
        return left_s if left_s > 0 else AT_ZERO_S

    # Calls

    async def _look(self) -> Copies:
        found = await self._on_thread(self._calls.describe)
        self._take(found)
        return found

    async def _tell(self, action: str, name: str, provenance: Mapping[str, Scalar] = MappingProxyType({})) -> None:
        """Have a copy load or unload what it calls so, and learn what it holds then."""
        deadline = self._clock() + self.tier.timeout_s
        holds = await self._within(deadline, lambda left_s: self._calls.act(action, name, left_s, provenance))
        known = {called: variant for variant, called in self._names.items()}
        self._answered([known[called] for called in holds if called in known], self._clock())

    def _infer(self, invocation: Invocation, left_s: float) -> InferAnswer:
        """On a thread: one run, under a lease where several share the copies."""
        if self._leases is None:
            return self._calls.infer(invocation, left_s)
        most = PER_COPY * self._component.most
        # It lasts as long as the call may: the time of a client is rounded up.
        for_s = CONNECT_TIMEOUT_S + rounded_up(left_s)
        with leased(self._leases, self.tier.name, invocation.id, most=most, for_s=for_s):
            left_s = invocation.deadline - self._clock()
            if left_s <= 0:
                raise TimedOut("no time is left")
            return self._calls.infer(invocation, left_s)

    async def _within(self, deadline: float, call: Callable[[float], T]) -> T:
        """A call on a thread, told how many seconds it has."""
        self._check_open()
        if self._under_way >= THREADS:
            raise Throttled(f"{self.tier.name} has {self._under_way} calls under way", THROTTLED_S)
        left_s = deadline - self._clock()
        if left_s <= 0:
            raise TimedOut("no time is left")
        try:
            async with asyncio.timeout(left_s):
                return await self._on_thread(lambda: call(left_s))
        except TimeoutError:
            raise TimedOut(f"no answer from {self.tier.name} by the deadline") from None

    async def _on_thread(self, call: Callable[[], T]) -> T:
        self._check_open()
        self._under_way += 1
        running = asyncio.get_running_loop().run_in_executor(self._pool, call)
        running.add_done_callback(self._done)
        return await running

    def _done(self, call: asyncio.Future[Any]) -> None:
        self._under_way -= 1
        if not call.cancelled():
            call.exception()  # Seen here, so that a call whose caller has left is not reported as lost.
