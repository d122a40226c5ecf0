"""A container with more requests than it can answer: what is still answered in time, by whom, and what is refused.

The container serves three of the ladder's variants of one task over HTTP, in a process of its own, and the station
chooses among them; one core runs models, the other is the server's loop's and the load generator's. Requests have
ROWS rows, so that at three times the capacity there are some hundreds of them a second: it is the station that is
tested, not how fast requests are read. They arrive at random (Poisson) and tell the container how long it has, which
is the SLO less what the way takes. Every answer is compared with what its variant gives to these rows.

Capacity, measured first, is the highest rate at which 99 of 100 requests are answered in time: `ladder` of all
variants, `largest` of the most accurate alone. Goodput is answers within the SLO a second, at the caller; refused is
429 and 504; degraded is answered by another than the most accurate. `no_admission` is the same container asked without
a deadline: then it refuses and gives up nothing, and all that remains is to choose variants by the load.
`accepted_p99_ms` is None where more than one in a hundred were not answered before the caller gave up.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.harness import Row, run
from benchmarks.ladder import Made, inputs, ladder
from benchmarks.load import Target, closed_loop, open_loop, post
from benchmarks.load_measured import Measured
from benchmarks.overload_rows import DETAILS, IN_TIME, Case, Sample, rows_of, sample_of
from benchmarks.peer_process import running
from benchmarks.peer_servers import Dialect, Launch, Server, own_programs
from benchmarks.search import Search
from benchmarks.switching_profile import Sessions
from simulator.arrivals import poisson

MODEL = "digits"

VARIANTS = ("conv-4096", "conv-1536", "conv-512")
"""Of the ladder: the quickest takes milliseconds for a request, or reading requests would be what is measured."""

ROWS = 8

REQUESTS = 64
"""Distinct ones, sent in turn."""

SLO_MS = 100.0

WAY_MS = 5.0
"""What the way to the container and back may take of the SLO."""

LOADS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)

OURS, NO_ADMISSION = "modelless", "no_admission"

LADDER, LARGEST = "ladder", "largest"

TIMEOUT_S = 1.0
"""When a caller gives up."""

CLIENTS = 8
"""Of the closed loop that tells where to look for a capacity."""

STEP = 1.08
"""How near each search finds a capacity."""

TRIES = 2
"""Windows in which a rate may turn out to be sustained."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """How often and for how many seconds everything is measured."""

    warm: float
    """The beginning of a window, which does not count: a queue has to fill."""
    window: float
    """What counts of it."""
    capacities: int
    """Searches for each capacity."""
    rounds: Mapping[str, int]
    """By policy."""
    loads: tuple[float, ...]


FULL = Lengths(warm=0.5, window=1.5, capacities=3, rounds={OURS: 5, NO_ADMISSION: 3}, loads=LOADS)
BRIEF = Lengths(warm=0.3, window=0.5, capacities=1, rounds={OURS: 1, NO_ADMISSION: 1}, loads=(0.5, 1.0, 2.0, 3.0))


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked, and what each variant answers to it."""

    texts: Sequence[list[float]]
    """The rows of each request, one after another."""
    labels: Mapping[str, Sequence[list[int]]]

    @classmethod
    def of(cls, made: Sequence[Made]) -> Questions:
        """The first held-out rows, with two decimals so that they are short as text."""
        rows = inputs().round(2)[: REQUESTS * ROWS]
        parts = rows.reshape(REQUESTS, ROWS, -1)
        with Sessions.of(made) as sessions:
            labels = {each.name: [sessions.run(each.name, 1, part).tolist() for part in parts] for each in made}
        return cls([[round(value, 2) for value in part.ravel().tolist()] for part in parts], labels)

    def body(self, i: int, parameters: Mapping[str, float]) -> bytes:
        """The i-th request."""
        shape = [ROWS, len(self.texts[i]) // ROWS]
        tensor = {"name": "image", "shape": shape, "datatype": "FP32", "data": self.texts[i]}
        return json.dumps({"inputs": [tensor], "parameters": parameters}).encode()

    def variants(self, answers: Iterable[tuple[int, bytes]]) -> dict[int, str]:
        """Who gave each of the answers, by their place.

        Raises AssertionError where it is not what that variant answers to these rows alone.
        """
        found: dict[int, str] = {}
        for place, body in answers:
            answer: dict[str, Any] = orjson.loads(body)
            found[place] = variant = answer["model_version"]
            labels = {output["name"]: output["data"] for output in answer["outputs"]}["label"]
            wanted = self.labels[variant][place % REQUESTS]
            assert labels == wanted, f"{variant} answered request {place % REQUESTS} with {labels}, not {wanted}"
        return found


@dataclass(slots=True)
class Load:
    """Sends requests to a container that runs."""

    target: Target
    questions: Questions
    lengths: Lengths
    largest: str
    windows: int = 0

    def closed(self, variant: str) -> float:
        """About how many requests a second a variant answers; it is loaded by then."""
        requests = self._requests({}, variant)
        return closed_loop(self.target, requests, clients=CLIENTS, seconds=0.5, warm_s=0.5).rps

    def capacity(self, guess: float, variant: str | None = None) -> float:
        """The highest rate that is sustained, of one variant or of all, that some searches find."""
        most = 0.0
        for _ in range(self.lengths.capacities):
            search = Search(most or guess, STEP)
            while not search.found(STEP):
                search.told(self._sustained(search.rate, variant))
            most = max(most, search.low)
        return most or guess

    def _sustained(self, rate: float, variant: str | None) -> bool:
        """Whether one of some windows is in time: a pause of the machine makes all of a window's work late."""
        return any(self.sample(rate, OURS, variant).share >= IN_TIME for _ in range(TRIES))

    def sample(self, rate: float, policy: str, variant: str | None = None) -> Sample:
        """One window at this rate (a second)."""
        self.windows += 1
        requests = self._requests({"latency_ms": SLO_MS - WAY_MS} if policy == OURS else {}, variant)
        times = poisson(rate, self.lengths.warm + self.lengths.window, seed=self.windows)
        # One after another, for the answers to all of them are kept.
        sent = [requests[place % REQUESTS] for place in range(len(times))]
        measured = open_loop(self.target, sent, times, timeout_s=TIMEOUT_S)
        return self._sample(measured)

    def _sample(self, measured: Measured) -> Sample:
        variants = self.questions.variants(measured.bodies)
        return sample_of(measured, variants, largest=self.largest, slo_ms=SLO_MS, since=self.lengths.warm)

    def _requests(self, parameters: Mapping[str, float], variant: str | None) -> list[bytes]:
        version = "" if variant is None else f"/versions/{variant}"
        path = f"/v2/models/{MODEL}{version}/infer"
        return [post(self.target, path, self.questions.body(i, parameters)) for i in range(REQUESTS)]


def rows(quick: bool) -> Sequence[Row]:
    """A row for each policy and load, in multiples of the ladder's capacity and of the largest variant's."""
    made = [each for each in ladder() if each.name in VARIANTS]
    with _serving(made, BRIEF if quick else FULL) as load:
        guesses = {each.name: load.closed(each.name) for each in made}
        capacities = {
            LADDER: load.capacity(max(guesses.values())),
            LARGEST: load.capacity(guesses[load.largest], load.largest),
        }
        _say(f"capacity: {', '.join(f'{name} {rate:.0f}' for name, rate in capacities.items())} a second")
        return [row for name, rate in capacities.items() for row in _table(load, name, rate)]


def _table(load: Load, name: str, capacity: float) -> list[Row]:
    """Every policy at every multiple of one capacity, in turns."""
    rounds, loads = load.lengths.rounds, load.lengths.loads
    found: dict[str, dict[float, list[Sample]]] = {policy: {each: [] for each in loads} for policy in rounds}
    for turn in range(max(rounds.values())):
        for offered in loads:
            for policy in [policy for policy, most in rounds.items() if turn < most]:
                found[policy][offered].append(load.sample(offered * capacity, policy))
        _say(f"{name}: round {turn + 1} of {max(rounds.values())}")
    return [row for policy, samples in found.items() for row in rows_of(Case(name, policy, capacity, SLO_MS), samples)]


@contextmanager
def _serving(made: Sequence[Made], lengths: Lengths) -> Iterator[Load]:
    """The container with these variants of one task, while it runs."""
    questions = Questions.of(made)
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        lay_out(made, models / MODEL)
        body = questions.body(0, {})
        with running(SERVER, own_programs(), models, MODEL, body) as started:
            yield Load(started.target, questions, lengths, made[0].name)


def lay_out(made: Sequence[Made], folder: Path) -> None:
    """Write the variants as versions of a model, with how accurate each is."""
    for each in made:
        version = folder / each.name
        version.mkdir(parents=True)
        shutil.copyfile(each.path, version / "model.onnx")
    described = {"versions": {each.name: {"accuracy": each.accuracy} for each in made}}
    (folder / "model.json").write_text(json.dumps(described))


def _command(launch: Launch, settings: Mapping[str, str]) -> list[str]:
    where = ["--models", str(launch.models), "--port", str(launch.ports[0])]
    return [f"{launch.programs}/python", "-m", "runtime.server", *where, "--cores", settings["cores"]]


SERVER = Server(
    OURS,
    (),
    _command,
    Dialect("/v2/models/{model}/infer", lambda row: row, lambda answered: answered["outputs"][0]["data"]),
    settings={"cores": "1"},
)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(run("overload", rows, details=DETAILS))
