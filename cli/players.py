"""Plays contenders over seeds, one after the other or in processes of their own; it compares nothing."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import BadInput, Failed

if TYPE_CHECKING:
    from registry.catalogue import Catalogue
    from simulator.contenders import Contender
    from simulator.scenario import Scenario

Document = Mapping[str, Any]
Pair = tuple["Contender", int]
"""Who plays, and over which seed."""
Step = Callable[[str, int, int], None]

SHARES = 1000
"""Steps of the progress bar for each pair."""

STOP_S = 5.0
"""Longest that a killed process takes to be gone."""

ROOT = Path(__file__).parents[1]

PROGRAM = (
    "import sys; from gateway.environments.launch import die_with; die_with(int(sys.argv.pop(1)));"
    " from cli.players import serve; serve(sys.argv[1], sys.argv[2])"
)
"""It is killed when this process ends in whatever way."""


def cores() -> int:
    """How many processes this one's cores have room for."""
    return len(os.sched_getaffinity(0))


def read(file: Path, seconds: float | None = None) -> Scenario:
    """The scenario of a file, for so many seconds if that is said; raises InvalidManifest with every fault."""
    from simulator.scenario import load

    scenario = load(file, _catalogue_of)
    return scenario if seconds is None else replace(scenario, seconds=seconds)


def play_all(scenario: Scenario, pairs: Sequence[Pair], jobs: int, step: Step) -> list[Document]:
    """What became of each pair, in their order, in so many processes; one plays here.

    Raises BadInput for what a pair cannot be played on, and Failed where a process does not do it.
    """
    if min(jobs, len(pairs)) <= 1:
        return [_played(scenario, pair, _share(step, pairs, number)) for number, pair in enumerate(pairs)]
    found: dict[int, Document] = {}
    with ExitStack() as stack, selectors.DefaultSelector() as waiting:
        left = iter(enumerate(pairs))
        shares = [0.0] * len(pairs)
        for number, pair in _some(left, min(jobs, len(pairs))):
            player = stack.enter_context(_player(scenario))
            waiting.register(player.stdout, selectors.EVENT_READ, player)
            player.play(number, pair)
        while len(found) < len(pairs):
            for key, _ in waiting.select():
                player = key.data
                for message in player.messages():
                    shares[player.number] = message.get("share", 1.0)
                    step(_named(pairs[player.number]), int(sum(shares) * SHARES), len(pairs) * SHARES)
                    if "played" in message:
                        found[player.number] = message["played"]
                        for number, pair in _some(left, 1):
                            player.play(number, pair)
    return [found[number] for number in range(len(pairs))]


def serve(file: str, seconds: str) -> None:
    """Play each pair that a line of stdin names, and tell how far it is and what became of it in lines on stdout."""
    import orjson

    from simulator.contenders import Contender

    # Whoever started us is interrupted too, and ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    scenario = read(Path(file), float(seconds))

    def tell(message: Document) -> None:
        sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
        sys.stdout.buffer.flush()

    with suppress(BrokenPipeError):
        for line in sys.stdin.buffer:
            asked = orjson.loads(line)
            contender = Contender(asked["name"], tuple((key, value) for key, value in asked["settings"]))
            try:
                tell({"played": _played(scenario, (contender, asked["seed"]), lambda share: tell({"share": share}))})
            except BadInput as error:
                tell({"problem": error.message})


class _Player:
    """A process that plays one pair after the other."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.stdin, self.stdout = process.stdin, process.stdout
        self.number = -1
        """Of the pair that it plays."""
        self._rest = b""

    def play(self, number: int, pair: Pair) -> None:
        """Have it play a pair; it is through with the one before."""
        import orjson

        contender, seed = pair
        self.number = number
        asked = {"name": contender.name, "settings": contender.settings, "seed": seed}
        try:
            self.stdin.write(orjson.dumps(asked) + b"\n")
            self.stdin.flush()
        except BrokenPipeError:
            raise Failed("a simulation's process ended by itself; what it said is above") from None

    def messages(self) -> Iterator[Document]:
        """What it has told since, when there is something to read."""
        import orjson

        data = os.read(self.stdout.fileno(), 1 << 16)
        if not data:
            raise Failed("a simulation's process ended by itself; what it said is above")
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message = orjson.loads(line)
            if "problem" in message:
                raise BadInput(message["problem"])
            yield message


@contextmanager
def _player(scenario: Scenario) -> Iterator[_Player]:
    arguments = [str(os.getpid()), os.fspath(scenario.file.absolute()), repr(scenario.seconds)]
    path = os.pathsep.join([os.fspath(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(  # noqa: S603 - the command is ours
        [sys.executable, "-P", "-c", PROGRAM, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        yield _Player(process)
    finally:
        process.kill()
        with suppress(BrokenPipeError):  # what was not flushed has no reader
            process.communicate(timeout=STOP_S)


def _played(scenario: Scenario, pair: Pair, progress: Callable[[float], None]) -> Document:
    from simulator.playing import play

    contender, seed = pair
    try:
        played = play(scenario, contender, seed, clock=time.perf_counter, progress=progress)
    except (ValueError, ModuleNotFoundError) as fault:
        raise BadInput(f"{contender.label}, seed {seed}: {fault}") from fault
    return asdict(played)


def _catalogue_of(home: Path) -> Catalogue:
    from cli.home import CATALOGUE
    from registry.errors import NotFound
    from registry.stores.sqlite import SqliteStore

    if not (home / CATALOGUE).exists():
        raise NotFound("catalogue in", str(home))
    store = SqliteStore(home / CATALOGUE)
    try:
        return store.load()
    finally:
        store.close()


def _share(step: Step, pairs: Sequence[Pair], number: int) -> Callable[[float], None]:
    return lambda share: step(_named(pairs[number]), int((number + share) * SHARES), len(pairs) * SHARES)


def _some(left: Iterator[tuple[int, Pair]], count: int) -> list[tuple[int, Pair]]:
    return [pair for _, pair in zip(range(count), left, strict=False)]


def _named(pair: Pair) -> str:
    return f"{pair[0].label}, seed {pair[1]}"
