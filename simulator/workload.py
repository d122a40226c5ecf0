"""What a scenario is asked for: tasks with their SLOs and how requests for them arrive; it reads no scenario itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from registry.errors import InvalidValue
from registry.model import Slo, check_numbers
from registry.sections import Section, nearest
from simulator import arrivals
from simulator.arrivals import Floats
from simulator.replay import FORMATS, Recording, recording
from simulator.simulation import Stream


@dataclass(frozen=True, slots=True)
class Poisson:
    """A Poisson process of `rate` a second."""

    rate: float

    def __post_init__(self) -> None:
        check_numbers("poisson", rate=self.rate)

    def times(self, part: int, parts: int, seconds: float, seed: int) -> Floats:
        """See Arrivals."""
        del part, parts
        return arrivals.poisson(self.rate, seconds, seed=seed)


@dataclass(frozen=True, slots=True)
class Modulated:
    """A Markov-modulated Poisson process: each of `rates` (a second) holds for `stay_s` on average."""

    rates: tuple[float, ...]
    stay_s: float

    def __post_init__(self) -> None:
        for rate in self.rates:
            check_numbers("modulated", rates=rate)
        if not 0.0 < self.stay_s < np.inf:
            raise InvalidValue("modulated.stay_s", f"{self.stay_s} is impossible", "give seconds, more than 0")

    def times(self, part: int, parts: int, seconds: float, seed: int) -> Floats:
        """See Arrivals."""
        del part, parts
        return arrivals.modulated(self.rates, self.stay_s, seconds, seed=seed).times


@dataclass(frozen=True, slots=True)
class Gamma:
    """Gaps that are gamma distributed, with coefficient of variation `cv`, `rate` requests a second."""

    rate: float
    cv: float

    def __post_init__(self) -> None:
        check_numbers("gamma", rate=self.rate, cv=self.cv)

    def times(self, part: int, parts: int, seconds: float, seed: int) -> Floats:
        """See Arrivals."""
        del part, parts
        return arrivals.gamma(self.rate, self.cv, seconds, seed=seed)


@dataclass(frozen=True, slots=True)
class Trace:
    """A recorded trace, or a part of it, played `speed` times as fast."""

    form: str
    """One of FORMATS."""
    path: Path
    functions: tuple[int, ...] = ()
    """Numbers of those that are replayed; empty: all."""
    from_s: float = 0.0
    to_s: float = np.inf
    """The window of the trace that is replayed, in its own time."""
    speed: float = 1.0

    def __post_init__(self) -> None:
        check_numbers("trace", from_s=self.from_s)
        if not self.from_s < self.to_s:
            raise InvalidValue("trace.to_s", f"{self.to_s:g} is not after from_s", "give a later one")
        if not 0.0 < self.speed < np.inf:
            raise InvalidValue("trace.speed", f"{self.speed} is impossible", "give 1, or how many times as fast")

    def times(self, part: int, parts: int, seconds: float, seed: int) -> Floats:
        """See Arrivals. Several tasks share the functions out. Raises ValueError and OSError where it cannot."""
        found = recording(self.form, self.path)
        chosen = self._chosen(found)[part::parts] if parts > 1 else self.functions or None
        stop = min(self.to_s, self.from_s + seconds * self.speed)
        times = found.times(chosen, until_s=stop, seed=seed)
        return arrivals.scaled(arrivals.window(times, self.from_s, stop), self.speed)

    def _chosen(self, found: Recording) -> Sequence[int]:
        return self.functions or range(len(found.names))


Arrivals = Poisson | Modulated | Gamma | Trace
"""Each has `times(part, parts, seconds, seed)`: the arrivals (s, ascending) at the `part`-th of `parts` tasks alike."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests that ask for the same of one task, or of each of several that are alike."""

    tasks: tuple[str, ...]
    slo: Slo
    """Merged."""
    rows: int
    arrivals: Arrivals

    def streams(self, seconds: float, seed: int) -> tuple[Stream, ...]:
        """A stream for each task; each draws for itself."""
        parts = len(self.tasks)
        seeds = np.random.SeedSequence(seed).generate_state(parts).tolist()
        return tuple(
            Stream(task, self.slo, self.arrivals.times(part, parts, seconds, seeds[part]), self.rows)
            for part, task in enumerate(self.tasks)
        )


def read_arrivals(section: Section, folder: Path, parts: int) -> Arrivals | None:
    """The one process of a section, for so many tasks; None where it has a fault. Paths are relative to `folder`."""
    given = [name for name in section.names() if name in READERS]
    for name in section.names():
        if name not in READERS:
            section.take(name)
            section.fault(name, f"is no kind of arrivals; {nearest(name, READERS)}")
    if len(given) != 1:
        if given or not section.names():
            section.source.fault(section.where, f"needs one kind of arrivals; give one of {', '.join(READERS)}")
        return None
    below = section.section(given[0])
    found = READERS[given[0]](below, folder, parts)
    below.close()
    return found


def _read_poisson(section: Section, folder: Path, parts: int) -> Poisson | None:
    del folder, parts
    return section.build(partial(Poisson, section.number("rate")))


def _read_modulated(section: Section, folder: Path, parts: int) -> Modulated | None:
    del folder, parts
    rates = tuple(_number(section, where, item) for where, item in section.items("rates", required=True))
    return section.build(partial(Modulated, rates, section.number("stay_s")))


def _read_gamma(section: Section, folder: Path, parts: int) -> Gamma | None:
    del folder, parts
    return section.build(partial(Gamma, section.number("rate"), section.number("cv")))


def _read_trace(section: Section, folder: Path, parts: int) -> Trace | None:
    form, text = section.text("format"), section.text("path")
    if form and form not in FORMATS:
        section.fault("format", f"{form!r} is no format; {nearest(form, FORMATS)}")
    wanted = section.texts("functions")
    window = section.number("from_s", 0.0), section.number("to_s", np.inf), section.number("speed", 1.0)
    path = folder / text
    found = _opened(section, form, path) if text and form in FORMATS else None
    functions = _numbers(section, found, wanted) if found else ()
    if found and parts > 1 and len(functions or found.names) < parts:
        section.fault("functions", f"{len(functions or found.names)} are too few for {parts} tasks; each needs its own")
    return section.build(lambda: Trace(form, path, functions, *window))


def _opened(section: Section, form: str, path: Path) -> Recording | None:
    try:
        return recording(form, path)
    except OSError as fault:
        section.fault("path", f"{path} cannot be read: {fault.strerror}; mend the path")
    except ValueError as fault:
        section.fault("path", f"{fault}; give a file of format {form}")
    return None


def _numbers(section: Section, found: Recording, wanted: Sequence[str]) -> tuple[int, ...]:
    """The numbers of functions that were named, or numbered from 0."""
    number = {name: i for i, name in enumerate(found.names)}
    by_number = {str(i): i for i in range(len(found.names))}
    for i, name in enumerate(wanted):
        if name not in number and name not in by_number:
            has = f"names {len(number)}, so a name or a number below that" if number else "does not tell any apart"
            section.source.fault((*section.at("functions"), i), f"{name!r} is no function; the trace {has}")
    return tuple(number.get(name, by_number.get(name, 0)) for name in wanted)


def _number(section: Section, where: tuple[str | int, ...], item: object) -> float:
    if isinstance(item, int | float) and not isinstance(item, bool):
        return float(item)
    section.source.fault(where, f"{item!r} is wrong; give a number")
    return 0.0


READERS: Mapping[str, Callable[[Section, Path, int], Arrivals | None]] = {
    "poisson": _read_poisson,
    "modulated": _read_modulated,
    "gamma": _read_gamma,
    "trace": _read_trace,
}
