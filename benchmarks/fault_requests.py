"""Scenarios of requests: the gateway's own code over fakes that break, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.fault_backend import Fault
from benchmarks.fault_house import GPU, LARGE, SMALL, House, facts
from benchmarks.fault_tally import End, Phase, Tally
from gateway.backends.protocol import Invocation
from gateway.errors import EnvironmentLost, ExecutionFailed, NotReady, Throttled, TimedOut
from gateway.virtual_time import run_virtually
from registry.errors import DigestMismatch, Unavailable

RATE = 40.0
"""Requests a second: a few environments' worth."""

LAMBDA = (SMALL, LARGE)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What breaks in the second of three phases; `end` mends it."""

    name: str
    begin: Callable[[House], None]
    end: Callable[[House], None]
    rate: float = RATE
    served_during: float = 1.0
    """Least share of requests that are answered meanwhile: what is left should do. Afterwards it is all of them."""


def run(scenario: Scenario, phase_s: float, seed: int) -> Tally:
    """Play a scenario; raises AssertionError where an invariant breaks."""
    tally = Tally(scenario.name, "virtual")

    async def main() -> None:
        await House(tally, seed).play(scenario.rate, phase_s, scenario.begin, scenario.end)

    run_virtually(main())
    tally.check()
    for phase, least in ((Phase.BEFORE, 1.0), (Phase.DURING, scenario.served_during), (Phase.AFTER, 1.0)):
        answered, refused = (tally.count(end, phase) for end in (End.ANSWERED, End.CLEAR_ERROR))
        share = answered / (answered + refused)
        assert share >= least, f"{scenario.name}: {share:.1%} of the requests were answered {phase} the fault"
    return tally


def broken(fault: Fault, *tiers: str) -> Callable[[House], None]:
    """Has calls to these tiers, or to all, meet the fault before they arrive."""

    def begin(house: House) -> None:
        for backend in house.every(tiers or None):
            backend.before = fault

    return begin


def lost_answers(fault: Fault, *tiers: str) -> Callable[[House], None]:
    """Has runs of these tiers, or of all, end well and their answers not arrive."""

    def begin(house: House) -> None:
        for backend in house.every(tiers or None):
            backend.after = fault

    return begin


def heal(house: House) -> None:
    """No fault any more."""
    for backend in house.every():
        backend.heal()
    for fake in house.fakes.values():
        fake.corrupt.clear()
    house.store.unreachable = house.store.damaged = None


def raising(error: Exception, share: float = 1.0) -> Callable[[House], Fault]:
    """The error for that share of the invocations."""

    def of(house: House) -> Fault:
        async def fault(invocation: Invocation) -> None:
            if house.random.random() < share:
                raise error

        return fault

    return of


def on(fault: Callable[[House], Fault], *tiers: str, after: bool = False) -> Callable[[House], None]:
    """The fault, of the house's own randomness, on these tiers or on all."""
    place = lost_answers if after else broken
    return lambda house: place(fault(house), *tiers)(house)


async def hang(invocation: Invocation) -> None:
    """No answer until long after the deadline, whoever waits."""
    await asyncio.sleep(600.0)


async def dawdle(invocation: Invocation) -> None:
    """A second more than it takes."""
    await asyncio.sleep(1.0)


async def out_of_time(invocation: Invocation) -> None:
    """Lambda's own timeout: an error, once it is too late."""
    await asyncio.sleep(3.0)
    raise TimedOut("the function timed out")


def corrupt_best(house: House) -> None:
    """Every copy of the most accurate variant is damaged, and none is loaded any more."""
    best = max(house.catalogue.variants.values(), key=lambda v: v.accuracy.value)
    for fake in house.fakes.values():
        fake.corrupt.add(best.artifact)
    house.while_broken(_restart(house))


async def _restart(house: House) -> None:
    for fake in house.fakes.values():
        await fake.release()


def kill_all(house: House) -> None:
    """Every idle environment is killed, four times a second."""

    async def killing() -> None:
        while any(backend.before is not_broken for backend in house.every()):
            await _restart(house)
            await asyncio.sleep(0.25)

    async def not_broken(invocation: Invocation) -> None:
        return

    for backend in house.every(LAMBDA):
        backend.before = not_broken
    house.while_broken(killing())


def publish_often(house: House) -> None:
    """A release each second, of which every other lacks the most accurate variant."""
    offered = (facts(), facts("rough", "fair"))

    async def publishing() -> None:
        while house.faulty[GPU].before is _nothing:
            head = house.store.head()
            house.store.publish(offered[head % 2].at(head))
            await asyncio.sleep(1.0)

    house.faulty[GPU].before = _nothing
    house.while_broken(publishing())


def lose_the_table(house: House) -> None:
    """The catalogue's store cannot be reached."""
    house.store.unreachable = Unavailable("table facts", "it does not answer")


def lose_the_snapshot(house: House) -> None:
    """A release is made whose snapshot nobody can read."""
    head = house.store.head()
    house.store.publish(facts("rough").at(head))
    house.store.damaged = DigestMismatch("sha256:1", "sha256:2")


async def _nothing(invocation: Invocation) -> None:
    return


def crowd(house: House) -> None:
    """Thirty times the requests from everybody else: the tiers have next to nothing left."""
    for backend in house.every(LAMBDA):
        backend.before = on_most(house)
    house.faulty[GPU].before = on_most(house)


def on_most(house: House) -> Fault:
    """Throttled nineteen times of twenty."""
    return raising(Throttled("too many requests"), 0.95)(house)


SCENARIOS = (
    Scenario("workers throttle every other call", on(raising(Throttled("429"), 0.5), *LAMBDA), heal),
    Scenario("one worker size is gone", on(raising(NotReady("no such function")), SMALL), heal),
    Scenario("no worker in the whole region", on(raising(NotReady("region")), *LAMBDA), heal, served_during=0.5),
    Scenario("nothing at all can run", on(raising(NotReady("region"))), heal, served_during=0.0),
    Scenario("three of ten environments die at work", on(raising(EnvironmentLost("killed"), 0.3), after=True), heal),
    Scenario("every idle environment is killed again and again", kill_all, heal),
    Scenario("answers are lost on their way", on(raising(EnvironmentLost("connection reset"), 0.2), after=True), heal),
    Scenario("one worker size hangs", broken(hang, SMALL), heal, served_during=0.5),
    Scenario("runs time out", broken(out_of_time, SMALL), heal, served_during=0.5),
    Scenario("one worker size is a second slower", broken(dawdle, LARGE), heal),
    Scenario("a tenth of the runs fail", on(raising(ExecutionFailed("NaN"), 0.1)), heal),
    Scenario("the best variant's blob is corrupt", corrupt_best, heal),
    Scenario("the GPU goes to zero copies", on(raising(NotReady("has no capacity", 60.0)), GPU), heal),
    Scenario("releases follow one another", publish_often, heal),
    Scenario("the catalogue's table is away", lose_the_table, heal),
    Scenario("the newest snapshot is lost", lose_the_snapshot, heal),
    Scenario("all tiers throttle nineteen of twenty calls", crowd, heal, served_during=0.0),
)
"""What is left of the platform decides how much can be served meanwhile: where a tier is left that does, everything."""
