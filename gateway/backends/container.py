"""A container as a tier: asks exactly for the variant of a placement; never batches, queues or chooses by itself.

The container does that among the requests that it has at the time, so all are passed on at once, and only where a
request leaves room is it left the choice of variant. It names a published variant as a version of its task, and any
artifact by its digest: what is not published yet is measured that way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from gateway.backends.connections import Answer, ConnectionLost, Connections, Unreachable
from gateway.backends.container_calls import digest_of, fault_of, parsed, provenance_of, rendered, reply_of
from gateway.backends.container_place import Place, Watcher
from gateway.backends.protocol import Emit, Invocation, Reply, TierStatus, is_to_change
from gateway.backends.shared_environment import SharedEnvironment
from gateway.errors import BackendError, EnvironmentLost, NotReady, Throttled, TimedOut
from registry.model import Placement, Tier, Variant
from runtime.codecs.text import dumps, loads
from runtime.codecs.v2_client import Scalar

log = logging.getLogger(__name__)

QUEUE = 512
"""Requests beyond its slots that the container may have at a time, held in memory here as well as there: it refuses
those that it cannot serve in time itself, and eight of its usual largest batches is as far as it looks."""

UNPUBLISHED_S = 2.0
"""For how long what the container does not know as a version of its task is asked for by its digest before the version
is tried again: it follows the catalogue, as whoever asks does."""

LOOK_S = 5.0
"""How old may be what is known to be resident: the container loads and evicts as it sees fit."""

LENGTH = b"inference-header-content-length"
JSON = "content-type: application/json\r\n"
DIGEST = "blake3:"
READY_ONLY = dumps({"ready": True})


@dataclass(frozen=True, slots=True)
class Named:
    """What a container calls an artifact."""

    model: str
    version: str | None = None

    def __str__(self) -> str:
        """As paths have it."""
        return self.model if self.version is None else f"{self.model}/versions/{self.version}"


class ContainerBackend:
    """A Backend over one container."""

    def __init__(
        self,
        tier: Tier,
        *,
        emit: Emit,
        place: Callable[[Watcher], Place],
        clock: Callable[[], float] = time.monotonic,
        queue: int = QUEUE,
    ) -> None:
        """`place` says where it is, given whom to tell when it comes and goes."""
        self.tier = tier
        self._clock = clock
        self._most = tier.concurrency + queue
        self._environment = SharedEnvironment(tier, emit=emit, clock=clock)
        self._place = place(Watcher(self._environment.starts, self._came, self._environment.went))
        self._unpublished_until: dict[str, float] = {}
        """By digest."""
        self._variants: dict[str, str] = {}
        """Digest to the id of the variant that was asked for by it."""
        self._looked_at = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    async def prepare(self) -> None:
        """Have the container started, or see that it is there. Raises NotReady."""
        await self._connections()

    async def invoke(self, invocation: Invocation) -> Reply:
        """Run once, at most for the time that is left."""
        self._check_open()
        if self._environment.under_way >= self._most:
            raise Throttled(f"{self.tier.name} has {self._environment.under_way} requests under way")
        try:
            async with asyncio.timeout(max(0.0, invocation.deadline - self._clock())):
                connections = await self._connections()
                waits, life = self._environment.full, self._environment.begin()
                try:
                    return await self._run(connections, invocation, waits=waits)
                finally:
                    self._environment.end(life)
        except TimeoutError:
            raise TimedOut(f"no answer from {self.tier.name} by the deadline") from None

    def status(self) -> TierStatus:
        """What is running now; its one environment counts as busy while every slot is taken."""
        return self._environment.status(f"{self.tier.name} is closed" if self._closed else self._place.reason)

    async def ensure(self, placement: Placement, variant: Variant, copies: int, *, for_s: float = 0.0) -> None:
        """Make the variant resident; one copy serves every slot, and it is not pinned for any time."""
        connections = await self._connections()
        if copies <= 0 or variant.id in self._environment.resident:
            return
        digest = digest_of(placement, variant)

        async def load(named: Named) -> tuple[Answer, Named]:
            told = {"artifact": digest, "pin": False, **provenance_of(variant)}
            return await self._control(connections, "load", named, **told), named

        answer, _ = await self._by_name(Named(variant.task, variant.name), digest, variant, load)
        _check(answer)
        await self._look(connections)

    async def unload(self, variant: Variant) -> None:
        """Give one variant up; the container ends what is in use first."""
        self._check_open()
        await self._give_up(self._environment.resident & {variant.id})

    async def provision(self, copies: int, *, more: bool = True, fewer: bool = True) -> bool:
        """Start the one container there is, or stop it while nothing runs; whoever asks something of it starts it."""
        self._check_open()
        if copies > 1:
            raise Throttled(f"{self.tier.name} is one container, not {copies}")
        if not is_to_change(int(self._environment.here), copies, more=more, fewer=fewer):
            return False
        if copies:
            await self._connections()
            return True
        if self._environment.under_way:
            raise Throttled(f"{self.tier.name} has {self._environment.under_way} requests under way")
        return await self._place.rest()

    async def release(self, copies: int = 0) -> None:
        """Give up what is resident when no copy is to stay; the container ends what is in use first."""
        if not copies:
            await self._give_up(self._environment.resident)

    async def close(self) -> None:
        """Stop the container, if it was started here."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
        await self._place.close()
        self._environment.went("closed")

    async def _give_up(self, variants: frozenset[str]) -> None:
        if self._place.reason or not variants:
            return
        connections = await self._connections()
        for named, variant in (await self._residents(connections)).items():
            if variant in variants:
                _check(await self._control(connections, "unload", named))
        await self._look(connections)

    def _came(self) -> None:
        """It may be another one than before."""
        self._unpublished_until.clear()
        self._environment.came()

    def _check_open(self) -> None:
        if self._closed:
            raise NotReady(f"{self.tier.name} is closed")

    async def _connections(self) -> Connections:
        self._check_open()
        return await self._place.reach()

    async def _run(self, connections: Connections, invocation: Invocation, *, waits: bool) -> Reply:
        variant, digest = invocation.variant, digest_of(invocation.placement, invocation.variant)
        started = self._clock()

        async def infer(named: Named) -> tuple[Answer, Named]:
            only: dict[str, Scalar] = (
                {"min_accuracy": invocation.floor or 0.0}
                if named == Named(variant.task)
                else {"artifact": digest, **provenance_of(variant)}
            )
            pieces, length = rendered(invocation, invocation.deadline - started, only)
            headers = f"content-type: application/octet-stream\r\ninference-header-content-length: {length}\r\n"
            if invocation.trace:
                headers += f"traceparent: {invocation.trace}\r\n"
            return await self._exchange(connections, f"/v2/models/{named}/infer", pieces, headers), named

        published = Named(variant.task, variant.name if invocation.floor is None else None)
        answer, named = await self._by_name(published, digest, variant, infer)
        took_ms = (self._clock() - started) * 1000
        told = parsed(_check(answer).body, answer.headers.get(LENGTH))
        reply = reply_of(told, self.tier, invocation.rows, took_ms, waits=waits)
        if named == Named(variant.task):
            reply = replace(reply, variant=f"{variant.task}/{told.version}")
        self._note(connections, reply.variant or variant.id, loaded=reply.loaded)
        return reply

    async def _by_name(
        self, published: Named, digest: str, variant: Variant, ask: Callable[[Named], Awaitable[tuple[Answer, Named]]]
    ) -> tuple[Answer, Named]:
        """Ask for what is published, or by the digest where the container has another artifact there or none."""
        now = self._clock()
        if self._unpublished_until.get(digest, now) <= now:
            answer, named = await ask(published)
            if answer.status != HTTPStatus.NOT_FOUND:
                return answer, named
            self._unpublished_until[digest] = now + UNPUBLISHED_S
        self._variants[digest] = variant.id
        return await ask(Named(digest))

    async def _control(self, connections: Connections, action: str, named: Named, **parameters: Any) -> Answer:
        path = f"/v2/repository/models/{named}/{action}"
        return await self._exchange(connections, path, [dumps({"parameters": parameters})])

    async def _exchange(
        self, connections: Connections, path: str, body: Sequence[bytes | memoryview], headers: str = JSON
    ) -> Answer:
        try:
            return await connections.exchange("POST", path, body, headers)
        except Unreachable as fault:
            self._place.lost(str(fault))
            raise NotReady(str(fault)) from fault
        except ConnectionLost as fault:
            raise EnvironmentLost(str(fault)) from fault

    # What is resident

    def _note(self, connections: Connections, variant: str, *, loaded: bool) -> None:
        """Take in that a variant has run, and look what else is resident when that may have changed."""
        if variant not in self._environment.resident:
            self._environment.resident |= {variant}
        if (loaded or self._clock() - self._looked_at > LOOK_S) and self._looking is None:
            self._looking = asyncio.create_task(self._look_later(connections))

    async def _look_later(self, connections: Connections) -> None:
        try:
            await self._look(connections)
        except BackendError as fault:
            log.info("what is resident on %s is not known: %s", self.tier.name, fault)
        finally:
            self._looking = None

    async def _look(self, connections: Connections) -> None:
        self._looked_at = self._clock()
        self._environment.report(frozenset((await self._residents(connections)).values()))

    async def _residents(self, connections: Connections) -> dict[Named, str]:
        """What is loaded, with the id of the variant that each is; what nobody asked for by its digest is left out."""
        answer = _check(await self._exchange(connections, "/v2/repository/index", [READY_ONLY]))
        entries = [Named(str(entry["name"]), str(entry["version"])) for entry in loads(answer.body)]
        found = {named: self._variants.get(named.model, f"{named.model}/{named.version}") for named in entries}
        return {named: variant for named, variant in found.items() if not variant.startswith(DIGEST)}


def _check(answer: Answer) -> Answer:
    """The answer, if it is a good one; raises the error that another status stands for."""
    if answer.status == HTTPStatus.OK:
        return answer
    raise fault_of(answer.status, answer.body)
