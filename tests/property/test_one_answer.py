"""Whatever backends do, every request ends in exactly one answer or one refusal, in time, and the books balance."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.synthetic import catalogue
from gateway.auth import ANONYMOUS
from gateway.backends.fake import FakeBackend, Times
from gateway.backends.protocol import Invocation
from gateway.decisions import Record
from gateway.dispatch import GRACE_S
from gateway.errors import EnvironmentLost, ExecutionFailed, GatewayError, NotReady, Throttled
from gateway.service import Answer, Service
from gateway.snapshots import Snapshots
from gateway.virtual_time import run_virtually
from scheduler.events import Event, Finished, Queued

FACTS = catalogue(24)
(TASK,) = FACTS.tasks.values()
TIMEOUT_S = max(tier.timeout_s for tier in FACTS.tiers.values())

outcomes = st.one_of(
    st.none(),
    st.sampled_from([NotReady, Throttled]).flatmap(
        lambda kind: st.floats(0.0, 20.0).map(lambda retry_after_s: kind("told", retry_after_s))
    ),
    st.sampled_from([EnvironmentLost("told"), ExecutionFailed("told")]),
)
times = st.builds(
    Times, init_ms=st.floats(0, 500), load_ms=st.floats(0, 100), run_ms=st.one_of(st.floats(0, 200), st.just(1e6))
)
hints = st.fixed_dictionaries(
    {},
    optional={
        "latency_ms": st.floats(1, 2000),
        "min_accuracy": st.floats(0, 1),
        "max_cost_usd": st.floats(0, 1e-4),
        "objective": st.sampled_from(["accuracy", "cost", "latency"]),
        "on_infeasible": st.sampled_from(["best_effort", "strict"]),
    },
)
arrivals = st.lists(st.tuples(st.floats(0, 5), hints, st.integers(1, 4)), min_size=1, max_size=25)


class Overheard(Snapshots):
    """Snapshots that keep every event."""

    def __init__(self) -> None:
        super().__init__(FACTS)
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)
        super().emit(event)


class House:
    """A service over fakes that do as they are told, and everything that was heard of it."""

    def __init__(self, data: st.DataObject, clock: Callable[[], float]) -> None:
        self.records: list[Record] = []
        self.clock = clock
        self.snapshots = Overheard()
        tiers = data.draw(st.sets(st.sampled_from(sorted(FACTS.tiers)), min_size=1), label="tiers with a backend")
        self.backends = {}
        for name in sorted(tiers):
            steps = data.draw(times, label=f"times of {name}")
            self.backends[name] = FakeBackend(
                FACTS.tiers[name],
                emit=self.snapshots.emit,
                answer=product,
                clock=clock,
                timing=lambda placement, rows, draw, steps=steps: steps,
                script=data.draw(st.lists(outcomes, max_size=20), label=f"script of {name}"),
                queue=data.draw(st.integers(0, 3), label=f"queue of {name}"),
            )
            if data.draw(st.booleans(), label=f"{name} holds a corrupt copy"):
                self.backends[name].corrupt.add(data.draw(st.sampled_from(ARTIFACTS)))
        self.service = Service(self.snapshots, self.backends, clock=clock, observers=[self.records.append])

    async def request(self, at: float, given_hints: dict[str, Any], rows: int) -> tuple[float, Answer | GatewayError]:
        await asyncio.sleep(at)
        started = self.clock()
        inputs = {spec.name: np.full(extents(spec.shape, rows), rows, np.float32) for spec in TASK.inputs}
        try:
            outcome: Answer | GatewayError = await self.service.predict(ANONYMOUS, TASK.name, inputs, given_hints)
        except GatewayError as error:
            outcome = error
        return self.clock() - started, outcome


ARTIFACTS = sorted({variant.artifact for variant in FACTS.variants.values()})


def extents(shape: tuple[int, ...], rows: int) -> tuple[int, ...]:
    return (rows, *(extent if extent > 0 else 2 for extent in shape[1:]))


def product(invocation: Invocation) -> dict[str, Any]:
    return {"y": next(iter(invocation.inputs.values()))[:, :1] * 2}


@settings(max_examples=60)
@given(st.data(), arrivals)
def test_every_request_gets_exactly_one_outcome_in_time(data: st.DataObject, sent: list[Any]) -> None:
    async def main() -> None:
        house = House(data, asyncio.get_running_loop().time)
        ends = await asyncio.gather(*(house.request(*request) for request in sent))
        for (_, given_hints, rows), (took_s, outcome) in zip(sent, ends, strict=True):
            check(given_hints, rows, took_s, outcome)
        assert len(house.records) == len(sent)
        assert len({record.id for record in house.records}) == len(sent)
        assert all((record.served is None) != (record.error is None) for record in house.records)
        await house.service.close()  # a probe may still run, beside every request
        balance(house.snapshots.events)
        assert all(tried_fairly(record) for record in house.records)
        for backend in house.backends.values():
            await backend.close()

    run_virtually(main())


def check(given_hints: dict[str, Any], rows: int, took_s: float, outcome: Answer | GatewayError) -> None:
    bound_s = given_hints.get("latency_ms", 1e9) / 1000
    strict = given_hints.get("on_infeasible") == "strict"
    assert took_s <= (min(bound_s, TIMEOUT_S) if strict else TIMEOUT_S) + GRACE_S + 1e-6
    if isinstance(outcome, GatewayError):
        assert outcome.status in (422, 429, 503, 504)
        return
    served = outcome.decision
    np.testing.assert_array_equal(outcome.outputs["y"], np.full((rows, 1), 2 * rows))
    assert [attempt.error == "" for attempt in served.attempts] == [False] * (len(served.attempts) - 1) + [True]
    assert served.slo_met == (not served.broken)
    assert ("latency_ms" in served.broken) == (served.latency_ms > 1000 * bound_s)
    refused = [a.tier for a in served.attempts if a.error.startswith(("NotReady", "Throttled"))]
    assert len(refused) == len(set(refused)), "a tier that refused was asked again"


def balance(events: list[Event]) -> None:
    """What was queued has left, once, in order."""
    queued = Counter((e.placement, e.request) for e in events if isinstance(e, Queued))
    finished = Counter((e.placement, e.request) for e in events if isinstance(e, Finished))
    assert queued == finished


def tried_fairly(record: Record) -> bool:
    """No placement was tried twice by one request, but once more after its environment was lost."""
    attempts = record.served.attempts if record.served is not None else ()
    errors: dict[str, list[str]] = {}
    for attempt in attempts:
        errors.setdefault(attempt.placement, []).append(attempt.error)
    return all(len(e) == 1 or (len(e) == 2 and e[0].startswith("EnvironmentLost")) for e in errors.values())
