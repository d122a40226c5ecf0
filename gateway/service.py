"""One request from arrival to answer: authorise, check, decide, dispatch, record; the decision path does no I/O.

A request ends in exactly one Answer or one GatewayError, and either way in exactly one Record.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from gateway.auth import NAME_SHOWN, Principal, authorise
from gateway.backends.protocol import Backend, Tensors
from gateway.decisions import DecisionLog, Record, Served
from gateway.dispatch import Delivery, Dispatcher
from gateway.documents import slo_document
from gateway.errors import GatewayError, Infeasible, Overloaded, Unavailable, UnknownTask, Unprocessable
from gateway.probes import Probes
from gateway.snapshots import Snapshots
from registry.catalogue import Catalogue
from registry.documents import to_document
from registry.errors import InvalidValue
from registry.generations import Generating
from registry.lineage import Tried
from registry.model import Estimate, Slo, Task
from registry.prices import invocation_cost
from registry.tracing import UNTRACED, Tracer
from runtime.codecs.tensors import check_inputs
from runtime.errors import InvalidTensor
from scheduler.choose import choose
from scheduler.decision import Decision
from scheduler.frontier import FrontierPoint, Start, frontier
from scheduler.patience import TurnedAway, budget_ms, turned_away
from scheduler.probing import Probe
from scheduler.requests import Request

LEAST_RETRY_S = 0.05
"""The shortest wait that is worth asking a caller for: a few service times."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Outputs and the decision that gave them; `id` is the caller's, or the decision's when they gave none."""

    id: str
    outputs: Tensors
    decision: Served


class Service:
    """Serves every task of the catalogue through the backends of its tiers.

    `clock` must be the backends' clock. `observers` are told of each Record after the answer is made (metrics).
    """

    def __init__(
        self,
        snapshots: Snapshots,
        backends: Mapping[str, Backend],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
        observers: Sequence[Callable[[Record], None]] = (),
        log: DecisionLog | None = None,
        stale: Callable[[Catalogue], Collection[str]] = lambda _: (),
        probes: bool = True,
        probed: Callable[[Probe], None] = lambda _: None,
        uniform: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`stale` tells the placements whose profiles do not hold on the machine that runs them.

        With `probes`, placements that were left because they became slow are tried again in the background
        (`scheduler.probing`); `probed` is told of each. Whoever cannot run anything after an answer does without.
        `uniform` draws what each request is spread by (`scheduler.spreading`), where others decide without this one.
        """
        self.snapshots = snapshots
        self._stale = stale
        self.log = log if log is not None else DecisionLog()
        self.clock = clock
        self._wall = wall
        self._new_id = new_id
        self._uniform = uniform
        self._observers = tuple(observers)
        self._tell: Callable[[Request], None] = lambda _: None
        self._generating: Callable[[Request], Generating | None] = lambda _: None
        self._under_way = 0
        self.tracer: Tracer = UNTRACED
        self._dispatcher = Dispatcher(backends, emit=snapshots.emit, clock=clock)
        self._probes = Probes(snapshots, self._dispatcher, clock, probed) if probes else None

    async def close(self) -> None:
        """Give up what runs in the background; requests are their callers' own."""
        if self._probes is not None:
            await self._probes.close()

    def watch_with(self, observe: Callable[[Record], None]) -> None:
        """Tell `observe` of each Record too."""
        self._observers += (observe,)

    def trace_with(self, tracer: Tracer) -> None:
        """Have `tracer` record where each request's time goes."""
        self.tracer = self._dispatcher.tracer = tracer

    def tell_before(self, tell: Callable[[Request], None]) -> None:
        """Tell `tell` of each request that was decided, before it is carried out; it must take no time."""
        self._tell = tell

    def generate_with(
        self, observe: Callable[[Record], None], generating: Callable[[Request], Generating | None]
    ) -> None:
        """Tell `observe` of each Record too, and who asks for what nothing holds of what `generating` knows."""
        self.watch_with(observe)
        self._generating = generating

    def tasks(self, principal: Principal) -> tuple[Task, ...]:
        """The tasks that the principal may use, by name."""
        catalogue, _ = self.snapshots.view()
        return tuple(task for _, task in sorted(catalogue.tasks.items()) if principal.owns(task))

    def task(self, principal: Principal, name: str) -> Task:
        """One task; raises UnknownTask."""
        return _task(self.snapshots.view()[0], principal, name)

    def frontier(
        self,
        principal: Principal,
        name: str,
        *,
        rows: int = 1,
        start: Start = Start.RESIDENT,
        tier: str | None = None,
    ) -> tuple[tuple[FrontierPoint, ...], tuple[Tried, ...]]:
        """The task's accuracy, latency and cost trade-off, and what was tried for it and is no variant of it.

        The first call for a snapshot compiles the task's table. Raises UnknownTask or Unprocessable.
        """
        catalogue, _ = self.snapshots.view()
        task = _task(catalogue, principal, name)
        if rows < 1:
            raise Unprocessable("rows: must be positive; give 1 or more", field="rows")
        tiers = sorted({p.tier for p in catalogue.placements_of(task.name)})
        if tier is not None and tier not in tiers:
            raise Unprocessable(f"tier: {tier[:80]!r} is none of the task's; use one of {tiers}", field="tier")
        return frontier(task.name, catalogue, rows=rows, start=start, tier=tier), catalogue.tried_of(task.name)

    def stale(self) -> Collection[str]:
        """The placements whose profiles were taken on another machine than the one that runs them; by id."""
        return self._stale(self.snapshots.view()[0])

    def plan(self, principal: Principal, name: str, hints: Mapping[str, Any] | None = None, rows: int = 1) -> Decision:
        """What would be chosen now, without running or recording anything.

        Raises UnknownTask or Unprocessable.
        """
        catalogue, fleet = self.snapshots.view_for(name)
        task = _task(catalogue, principal, name)
        if rows < 1:
            raise Unprocessable("rows: must be positive; give 1 or more", field="rows")
        return choose(Request(task.name, _merged(task, hints), rows), catalogue, fleet, self.clock())

    def explain(self, principal: Principal, decision_id: str) -> tuple[Record, Decision]:
        """A recorded decision, computed again from its inputs; somebody else's is unknown. Raises UnknownTask."""
        record = self.log.get(decision_id)
        if record is None or record.tenant != principal.tenant:
            raise UnknownTask(f"no decision {decision_id[:NAME_SHOWN]!r} is kept", decision_id=decision_id[:NAME_SHOWN])
        return record, record.decision()

    def check(self, principal: Principal, name: str, inputs: Tensors, hints: Mapping[str, Any] | None = None) -> None:
        """Raise what `predict` would before it decides: UnknownTask, Forbidden or Unprocessable."""
        task = self.task(principal, name)
        _merged(task, hints)
        _checked_rows(task, inputs)

    @property
    def under_way(self) -> int:
        """Predictions that are being made now."""
        return self._under_way

    async def predict(
        self,
        principal: Principal,
        name: str,
        inputs: Tensors,
        hints: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the protocol's own word for it
        arrived: float | None = None,
        within_s: float = math.inf,
    ) -> Answer:
        """Answer inputs that are tensors by name, under the caller's hints laid over the task's default SLO.

        `arrived` is when the request came in, on the service's clock (now when omitted): parsing counts. `within_s` is
        what whoever asks has left to live: a tier that takes longer is late, as one that outlasts its own timeout is.
        Under `best_effort` an answer later than the latency bound is still given, flagged, up to the tier's timeout;
        under `strict` the bound is the deadline. Raises every GatewayError but BadRequest and Unauthenticated.
        """
        catalogue, fleet = self.snapshots.view_for(name)
        task = _task(catalogue, principal, name)
        slo = _merged(task, hints)
        rows = _checked_rows(task, inputs)
        now = self.clock()
        start = now if arrived is None else arrived
        request = Request(task.name, slo, rows, elapsed_ms=(now - start) * 1000, uniform=self._uniform())
        with self.tracer.span("decide", task=name, rows=rows):
            decision = choose(request, catalogue, fleet, now)
            if fleet.failing and not decision.ranked:
                # What failed lately is still better than nothing.
                fleet = fleet.forgiving()
                decision = choose(request, catalogue, fleet, now)
        decided_ms = (self.clock() - now) * 1000
        record = Record(self._new_id(), principal.tenant, request, catalogue, fleet, now, self._wall(), decided_ms)
        self._under_way += 1
        try:
            self._tell(request)
            self._admit(decision, request, catalogue)
            with self.tracer.span("dispatch", decision_id=record.id):
                delivery = await self._dispatcher.deliver(
                    decision.ranked,
                    catalogue,
                    request,
                    request_id=record.id,
                    arrived=start,
                    inputs=inputs,
                    reserve=lambda: choose(request, catalogue, fleet.forgiving(), self.clock()).ranked,
                    until=now + within_s,
                )
        except GatewayError as error:
            error.details["decision_id"] = record.id
            self._settle(replace(record, error=error))
            raise
        finally:
            self._under_way -= 1
        served = self._served(record, decision, delivery, start)
        answered = replace(record, served=served, wait_ms=delivery.reply.wait_ms)
        self._settle(answered, delivery.reply.outputs.get(task.judged))
        if self._probes is not None:
            asyncio.get_running_loop().call_soon(self._probes.after, record, decision, inputs)
        return Answer(id or record.id, delivery.reply.outputs, served)

    def _admit(self, decision: Decision, request: Request, catalogue: Catalogue) -> None:
        """Refuse what is turned away, and say what would be served."""
        why = turned_away(decision, catalogue)
        if why is TurnedAway.NOTHING:
            raise self._nothing(decision, request, catalogue)
        if why is TurnedAway.OVERLOADED:
            excess_ms = min(e.wait_ms - budget_ms(e, request, catalogue) for e in decision.ranked)
            raise Overloaded(str(why), retry_after_s=max(LEAST_RETRY_S, excess_ms / 1000))
        if why is TurnedAway.INFEASIBLE:
            broken, generating = ", ".join(decision.broken) or "the SLO", self._generating(request)
            made = "" if generating is None else f"; {generating.generation} is making a variant that may hold it"
            raise Infeasible(
                f"no placement holds {broken}{_instead(request.slo, decision.nearest)}{made}",
                broken=list(decision.broken),
                nearest=None if decision.nearest is None else slo_document(decision.nearest),
                **({} if generating is None else {"generating": to_document(generating)}),
            )

    def _nothing(self, decision: Decision, request: Request, catalogue: Catalogue) -> GatewayError:
        """Why no placement can run at all."""
        placements = catalogue.placements_of(request.task)
        most = max((p.max_batch for p in placements), default=0)
        if placements and request.rows > most:
            return Unprocessable(
                f"rows: {request.rows} is more than any placement takes; send at most {most}", field="rows", most=most
            )
        retry_after_s = self._dispatcher.capacity_back_in({p.tier for p in placements})
        if retry_after_s is not None:
            return Overloaded("every tier refused for lack of capacity", retry_after_s=retry_after_s)
        why_not = dict(decision.why_not())
        first = next((f": {placement}: {reason}" for placement, reason in why_not.items()), "")
        return Unavailable(f"nothing can serve task {request.task!r} now{first}", why_not=why_not)

    def _settle(self, record: Record, answer: NDArray[Any] | None = None) -> None:
        self.log.append(record, answer)
        for observe in self._observers:
            observe(record)
        # After this answer is on its way and before the next request comes.
        asyncio.get_running_loop().call_soon(self.snapshots.settle)

    def _served(self, record: Record, decision: Decision, delivery: Delivery, start: float) -> Served:
        reply, estimate, request = delivery.reply, delivery.estimate, record.request
        placement = estimate.placement
        price = record.catalogue.tiers[placement.tier].price
        latency_ms = (self.clock() - start) * 1000
        cost = invocation_cost(price, reply.billed_ms, cold=reply.cold, init_ms=reply.init_ms)
        broken = _broken(request.slo, estimate, latency_ms, cost)
        return Served(
            decision_id=record.id,
            task=request.task,
            variant=placement.variant,
            tier=placement.tier,
            placement=placement.id,
            predicted_latency_ms=estimate.latency_ms,
            latency_ms=latency_ms,
            run_ms=reply.run_ms,
            accuracy=estimate.accuracy,
            cost_usd=cost,
            cold_start=reply.cold,
            loaded=reply.loaded,
            slo_met=not broken,
            broken=broken,
            reason=_reason(decision, delivery),
            attempts=delivery.attempts,
            generating=None if decision.feasible else self._generating(request),
        )


def _reason(decision: Decision, delivery: Delivery) -> str:
    """Why this placement: as decided, and by its tier where that chose among what would do."""
    asked, answered = delivery.attempts[-1].placement, delivery.estimate.placement
    if asked == answered.id:
        return decision.reason
    return (
        f"{decision.reason}; asked for {asked}, {answered.tier} chose {answered.variant}, which holds min_accuracy too"
    )


def _task(catalogue: Catalogue, principal: Principal, name: str) -> Task:
    return authorise(principal, name, catalogue.tasks)


def _merged(task: Task, hints: Mapping[str, Any] | None) -> Slo:
    if not hints:
        return task.default_slo
    try:
        return task.default_slo.with_hints(hints)
    except InvalidValue as error:
        raise Unprocessable(str(error), field=error.field, problem=error.problem, fix=error.fix) from None


def _checked_rows(task: Task, inputs: Tensors) -> int:
    try:
        return check_inputs(task.inputs, inputs)
    except InvalidTensor as error:
        raise Unprocessable(str(error), tensor=error.tensor, problem=error.problem, expected=error.expected) from None


def _instead(asked: Slo, nearest: Slo | None) -> str:
    """The bounds to ask for instead, in words: a face may show no more than the message."""
    bounds = (
        [] if nearest is None else [(n, getattr(nearest, n)) for n in ("latency_ms", "min_accuracy", "max_cost_usd")]
    )
    changed = [f"{name}={value!r}" for name, value in bounds if value != getattr(asked, name)]
    return f"; the nearest SLO that can be held has {', '.join(changed)}" if changed else ""


def _broken(slo: Slo, estimate: Estimate, latency_ms: float, cost_usd: float) -> tuple[str, ...]:
    """The bounds that one answer did not keep; accuracy is known only as measured, so there the decision holds."""
    kept = {
        "latency_ms": slo.latency_ms is None or latency_ms <= slo.latency_ms,
        "min_accuracy": "min_accuracy" not in estimate.broken,
        "max_cost_usd": slo.max_cost_usd is None or cost_usd <= slo.max_cost_usd,
    }
    return tuple(name for name, held in kept.items() if not held)
