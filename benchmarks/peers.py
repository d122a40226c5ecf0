"""Our container against other inference servers on this machine's cores, one running at a time; it tunes none of them.

Every server answers the same rows with the same two models, small (microseconds) and medium (milliseconds), and every
answer that is checked equals ONNX Runtime's own. A round starts each server once for each model; the next round takes
them in reversed order. The rows of `onnxruntime` are the models alone, on one thread: the limit beside the servers.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import onnxruntime as ort

from benchmarks.harness import Row, interleaved, run
from benchmarks.load import Target, closed_loop, open_loop, post
from benchmarks.load_measured import Measured
from benchmarks.models import layers
from benchmarks.overhead import timed
from benchmarks.peer_environments import NotInstalled, programs
from benchmarks.peer_process import Running, running
from benchmarks.peer_rows import (
    DETAILS,
    OPEN_LOOP,
    Sample,
    Start,
    Tried,
    absent,
    alone,
    best,
    choice,
    compared,
    open_rate,
    rows_of,
    sample_of,
    turns,
)
from benchmarks.peer_servers import MINIMAL, OURS, SERVERS, Server
from simulator.arrivals import Floats, poisson

WIDTHS = {"small": [64, 64, 10], "medium": [64, *[1024] * 7, 10]}
"""Few inputs and outputs, so that JSON is not what is measured; medium has 6.4 million weights, 25 MB."""

BATCHES = (1, 32)
"""Rows in a run of the models alone."""

RUNS_ALONE, RUNS_WARM = 220, 20

INPUTS = 64
"""Distinct rows, sent in turn, so that no cache of answers helps."""

QUICK = (OURS, MINIMAL, "mlserver")
"""What a quick run measures: others take up to half a minute to start."""

RTOL, ATOL = 1e-4, 1e-5
"""How near an answer is to its reference: a batch sums floats in another order than a row alone."""


T = TypeVar("T")


class Plan(NamedTuple):
    """How often and how long is measured, and with how many clients."""

    rounds: int
    seconds: float
    warm_s: float
    clients: tuple[int, ...]


FULL = Plan(rounds=5, seconds=2.0, warm_s=0.5, clients=(1, 16, 64))
BRIEF = Plan(rounds=1, seconds=0.6, warm_s=0.2, clients=(1, 64))


@dataclass(frozen=True, slots=True)
class Subject:
    """A model in the folder `models`, the rows that are asked of it, and what ONNX Runtime answers to them."""

    models: Path
    model: str
    rows: Floats
    reference: Floats

    def check(self, server: Server, answers: Iterable[tuple[int, bytes]]) -> None:
        """Raises AssertionError unless every (index, body) of `answers` holds the reference's row."""
        for index, body in answers:
            output, wanted = server.dialect.output(body), self.reference[index]
            right = output.shape == wanted.shape and np.allclose(output, wanted, rtol=RTOL, atol=ATOL)
            assert right, f"{server.name} answered row {index} of {self.model} with {output}, not {wanted}"

    def requests(self, server: Server, target: Target) -> list[bytes]:
        """The whole requests, one for each row."""
        path = server.dialect.path.format(model=self.model)
        return [post(target, path, server.dialect.request(row)) for row in self.rows]


@dataclass(slots=True)
class Comparison:
    """Servers that run here, and why the others do not; it measures what it is told to, one start after another."""

    subjects: Sequence[Subject]
    plan: Plan
    programs: dict[str, Path] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def install(self, servers: Iterable[Server]) -> None:
        """Make each server's environment, or note why there is none."""
        for server in servers:
            if server.name in self.programs or server.name in self.left_out:
                continue
            try:
                self.programs[server.name] = programs(server)
            except NotInstalled as reason:
                self.left_out[server.name] = f"not installed: {reason}"

    def tried(self, servers: Iterable[Server]) -> list[Tried]:
        """The capacity of every choice of settings with each model: one start each, which counts no further."""
        most = max(self.plan.clients)
        found: list[Tried] = []
        failed: dict[str, str] = {}
        for server, subject in product(servers, self.subjects):
            if server.name in self.programs:
                try:
                    rps = self._run("trying", server, subject, lambda turn: turn.closed(most).rps)
                    found.append(Tried(server, subject.model, rps))
                except RuntimeError as reason:  # it did not start, or it ended under load
                    failed[server.name] = f"{subject.model}, {server.note}: {reason}"
                    print(f"{server.name} left out: {failed[server.name]}", file=sys.stderr, flush=True)
        working = {each.server.name for each in found}
        self.left_out.update({name: reason for name, reason in failed.items() if name not in working})
        return found

    def starts(self, chosen: Sequence[Tried], rates: Mapping[str, float]) -> list[list[Start]]:
        """What every start of each of `chosen` gave, in their order; a server that fails in a round is left out."""
        found: list[list[Start]] = [[] for _ in chosen]
        subjects = {subject.model: subject for subject in self.subjects}
        for turn, place in turns(self.plan.rounds, len(chosen)):
            server, model, _ = chosen[place]
            if server.name not in self.left_out:
                try:
                    measure = partial(Turn.start, rates=rates, seed=turn)
                    found[place].append(self._run(f"round {turn + 1}", server, subjects[model], measure))
                except RuntimeError as reason:
                    self.left_out[server.name] = f"{model}, round {turn + 1}: {reason}"
                    print(f"{server.name} left out: {self.left_out[server.name]}", file=sys.stderr, flush=True)
        return found

    def _run(self, what: str, server: Server, subject: Subject, measure: Callable[[Turn], T]) -> T:
        """Start, measure and stop; what fails is started once more, for some servers do not start now and then."""
        print(f"{what}: {server.name}, {subject.model} ({server.note})", file=sys.stderr, flush=True)
        try:
            return self._run_once(server, subject, measure)
        except RuntimeError as reason:
            print(f"once more, for it failed: {reason}", file=sys.stderr, flush=True)
            return self._run_once(server, subject, measure)

    def _run_once(self, server: Server, subject: Subject, measure: Callable[[Turn], T]) -> T:
        body = server.dialect.request(subject.rows[0])
        with running(server, self.programs[server.name], subject.models, subject.model, body) as started:
            subject.check(server, [(0, started.first_answer)])
            return measure(Turn(server, subject, started, self.plan))


@dataclass(frozen=True, slots=True)
class Turn:
    """One start of a server with one model, while it runs."""

    server: Server
    subject: Subject
    running: Running
    plan: Plan

    def start(self, rates: Mapping[str, float], seed: int) -> Start:
        """Every window of the plan, and what the server takes in the end."""
        samples = {clients: self.closed(clients) for clients in self.plan.clients}
        samples[OPEN_LOOP] = self.open(rates[self.subject.model], seed)
        return Start(self.running.first_answer_s, self.running.memory_mb(), samples)

    def closed(self, clients: int) -> Sample:
        """A window of `clients` who each send when they have their answer."""
        target, plan = self.running.target, self.plan
        requests = self.subject.requests(self.server, target)
        return self._checked(closed_loop(target, requests, clients=clients, seconds=plan.seconds, warm_s=plan.warm_s))

    def open(self, rate: float, seed: int) -> Sample:
        """A window of requests that arrive by themselves, `rate` a second."""
        target = self.running.target
        times = poisson(rate, self.plan.seconds, seed=seed)
        return self._checked(open_loop(target, self.subject.requests(self.server, target), times))

    def _checked(self, measured: Measured) -> Sample:
        self.subject.check(self.server, measured.bodies)
        return sample_of(measured)


def rows(quick: bool) -> Sequence[Row]:
    """A row for each server, model and number of clients, and one for its open loop."""
    plan = BRIEF if quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        subjects = [subject_of(Path(folder), model, widths) for model, widths in WIDTHS.items()]
        limits = [row for subject in subjects for row in _limits(subject)]
        servers = quick_servers() if quick else SERVERS
        comparison = Comparison(subjects, plan)
        comparison.install(servers)
        tried = comparison.tried(servers)
        chosen = best(tried)
        rates = {
            model: open_rate({each.server.name: each.rps for each in chosen if each.model == model}) for model in WIDTHS
        }
        starts = comparison.starts(chosen, rates)
    measured = [
        row
        for each, own in zip(chosen, starts, strict=True)
        if own
        for row in rows_of(each.server, each.model, own, rates[each.model])
    ]
    choices = [choice(each, max(plan.clients)) for each in tried if len(tried) > len(chosen)]
    return [*limits, *compared(measured), *choices, *(absent(*why) for why in comparison.left_out.items())]


def quick_servers() -> list[Server]:
    """The first choice of settings of each server that a quick run measures."""
    return [next(server for server in SERVERS if server.name == name) for name in QUICK]


def subject_of(folder: Path, model: str, widths: Sequence[int]) -> Subject:
    """Write the model of these `widths` as `folder`/only-`model`/`model`/model.onnx, and answer its rows."""
    models = folder / f"only-{model}"
    file = models / model / "model.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(layers(widths))
    rows_ = np.random.default_rng(0).normal(size=(INPUTS, widths[0])).round(4)
    [reference] = _session(file).run(None, {"x": rows_.astype(np.float32)})
    return Subject(models, model, rows_, np.asarray(reference, np.float64))


def _limits(subject: Subject) -> list[Row]:
    """The model alone on one thread, a row and a batch at a time."""
    session = _session(subject.models / subject.model / "model.onnx")
    feeds = {batch: {"x": subject.rows[:batch].astype(np.float32)} for batch in BATCHES}
    calls = {str(batch): partial(timed, partial(session.run, None, feed)) for batch, feed in feeds.items()}
    samples = interleaved(calls, RUNS_ALONE)
    return [alone(subject.model, batch, samples[str(batch)][RUNS_WARM:]) for batch in BATCHES]


def _session(file: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    raise SystemExit(run("peers", rows, details=DETAILS))
