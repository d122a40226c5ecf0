"""The data plane: what every transport asks of the container, in arrays and values; never bytes or statuses."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from runtime.batcher import Batcher, Done, Outcome
from runtime.container.model import Target
from runtime.container.models import Models
from runtime.container.repository import UNTOLD, Provenance
from runtime.container.signature import Inputs
from runtime.errors import Defect, Expired, InvalidBody, NotServing, RuntimeFault, UnknownModel
from scheduler.work import Work

log = logging.getLogger(__name__)

NAME = "modelless"
PLATFORM = "onnx_onnxv1"
EXTENSIONS = ("binary_tensor_data", "model_repository", "parameters", "statistics", "slo_hints")

DEFAULT_PRIORITY = 100
"""What priority 0, which is the default (Triton, `extension_schedule_policy.md`), stands for: 1 to 99 go before it."""


@dataclass(slots=True)
class Ask:
    """What a caller wants beside the answer."""

    arrived: float
    """On the plane's clock."""
    deadline_s: float | None = None
    """From arrival; None: whenever."""
    priority: int = 0
    """1 goes first; 0 is the default."""
    floor: float = 0.0
    """Least accuracy of the version that answers."""
    stamp: str | None = None
    """What the version that is named must be of (its repository's stamp); None: whatever it is."""
    provenance: Provenance = UNTOLD
    """What its publisher said of it, where the repository asks for that."""


def ask_of(parameters: Any, arrived: float) -> Ask:
    """What the parameters of a request ask for: timeout (µs), latency_ms, priority, min_accuracy, artifact, signature
    and binding.

    The sooner of timeout and latency_ms is the deadline. Others are left to whom they are meant for. Raises InvalidBody
    naming the parameter that is out of range.
    """
    ask = Ask(arrived)
    if parameters:
        timeout = _number(parameters, "timeout", 0.0, 9e14)
        latency = _number(parameters, "latency_ms", 0.0, 9e8)
        seconds = [s for s in (timeout and timeout / 1e6, latency and latency / 1e3) if s]
        ask.deadline_s = min(seconds, default=None)
        ask.priority = int(_number(parameters, "priority", 0.0, 2.0**63) or 0)
        ask.floor = _number(parameters, "min_accuracy", 0.0, 1.0) or 0.0
        ask.stamp = _text(parameters, "artifact")
        ask.provenance = provenance_of(parameters)
    return ask


def provenance_of(parameters: Any) -> Provenance:
    """What parameters say of an artifact's publisher; raises InvalidBody naming the one that is no text."""
    if "signature" not in parameters and "binding" not in parameters:
        return UNTOLD
    return Provenance(_text(parameters, "signature") or "", _text(parameters, "binding") or "")


class Keep(NamedTuple):
    """What a load asks for."""

    pin: bool = True
    """Whether it is kept until it is unloaded."""
    stamp: str | None = None
    provenance: Provenance = UNTOLD


KEPT = Keep()


def keep_of(parameters: Any) -> Keep:
    """What the parameters of a load ask for: pin, artifact, signature and binding.

    Raises InvalidBody naming the one that is of another type, or that would have something else loaded (Triton's
    `config` and `file:…`).
    """
    unserved = next((name for name in parameters if name == "config" or name.startswith("file:")), None)
    if unserved is not None:
        raise InvalidBody(f"parameter {unserved!r:.80} is not served here; what is loaded is what the repository has")
    pin = parameters.get("pin", True)
    if not isinstance(pin, bool):
        raise InvalidBody(f"parameter 'pin' is {pin!r:.40}; give true or false")
    return Keep(pin, _text(parameters, "artifact"), provenance_of(parameters))


def _text(parameters: Any, name: str) -> str | None:
    given = parameters.get(name)
    if not isinstance(given, str | None):
        raise InvalidBody(f"parameter {name!r} is {given!r:.40}; give a string")
    return given


def _number(parameters: Any, name: str, least: float, most: float) -> float | None:
    given = parameters.get(name)
    if given is None:
        return None
    try:
        value = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not least <= value <= most:
        raise InvalidBody(f"parameter {name!r} is {given!r:.40}; give a number from {least:g} to {most:g}")
    return value


class Call:
    """One request under way: told its outcome, it counts it and passes it on."""

    __slots__ = ("_clock", "_done", "_target", "_work")

    def __init__(self, target: Target, work: Work, clock: Callable[[], float], done: Done) -> None:
        self._target = target
        self._work = work
        self._clock = clock
        self._done = done
        target.model.active += 1

    def __call__(self, outcome: Outcome | RuntimeFault) -> None:
        """Count and pass on."""
        work = self._work
        model = self._target.model
        now = self._clock()
        if isinstance(outcome, RuntimeFault):
            self._target.served.tally.failed(type(outcome).__name__, now - work.arrived)
        else:
            tally = model.versions[outcome.variant].tally
            tally.answered(work.rows, outcome.queue_s, outcome.run_s, now - work.arrived, now)
        model.done()
        self._done(outcome)

    def cancelled(self) -> None:
        """The caller has left."""
        self._target.served.tally.failed("Cancelled", self._clock() - self._work.arrived)
        self._target.model.done()


class Plane:
    """What the container does for its callers; every method is called on the loop."""

    def __init__(
        self,
        models: Models,
        batcher: Batcher,
        *,
        version: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.models = models
        self.clock = clock
        self.starting = True
        self.draining = False
        """The server is about to stop: it is not ready for more, and takes it all the same until it is closed."""
        self._closed = False
        self._version = version
        self._epoch = clock() - time.time()
        self._batcher = batcher
        self._coming: set[Work] = set()
        """Works whose model is being looked up or loaded, and whose callers wait."""
        self._preparing: set[asyncio.Task[None]] = set()

    def infer(self, model: str, version: str | None, inputs: Inputs, ask: Ask, done: Done) -> Work:
        """Have a model answer; `done` is called once with the outcome or fault, unless the work is cancelled before.

        Without a version the scheduler chooses among those that hold the floor. `done` may be called before this
        returns. Raises InvalidTensor for inputs that are not what the signature says, or NotServing; what is found out
        later (an unknown model, inputs of one that had to be loaded first) `done` is told.
        """
        if self._closed:
            raise NotServing("the server is stopping; ask another one")
        deadline = math.inf if ask.deadline_s is None else ask.arrived + ask.deadline_s
        target = self.models.find(model, version)
        if target is None:
            work = Work(model, 0, ask.arrived, deadline, ask.floor, None, ask.priority or DEFAULT_PRIORITY)
            self._coming.add(work)
            preparing = asyncio.create_task(self._infer_later(model, version, inputs, ask, work=work, done=done))
            self._preparing.add(preparing)
            preparing.add_done_callback(self._preparing.discard)
            return work
        if ask.stamp is not None:
            target.served.check_stamp(ask.stamp)
        rows, form = target.signature.check(inputs)
        work = Work(
            target.task, rows, ask.arrived, deadline, ask.floor, target.variant, ask.priority or DEFAULT_PRIORITY, form
        )
        self._batcher.submit(work, inputs, Call(target, work, self.clock, done))
        return work

    def cancel(self, work: Work) -> None:
        """Nobody wants the answer any more; what waits does not run, and what runs or is loaded is so in vain."""
        if work in self._coming:
            self._coming.discard(work)
            return
        call = self._batcher.cancel(work)
        if isinstance(call, Call):
            call.cancelled()

    def metadata(self, target: Target) -> dict[str, Any]:
        """A model's inputs, outputs and versions."""
        return {
            "name": target.model.name,
            "versions": list(target.model.versions),
            "platform": PLATFORM,
            "inputs": [port.document for port in target.signature.inputs],
            "outputs": [port.document for port in target.signature.outputs],
        }

    async def describe(self, model: str, version: str | None) -> dict[str, Any]:
        """Metadata of a model that may have to be loaded for it; raises UnknownModel or what loading raises."""
        return self.metadata(await self.models.target(model, version))

    async def model_ready(self, model: str, version: str | None) -> bool:
        """Whether it is loaded; raises UnknownModel."""
        known = await self.models.known(model)
        if version is not None and version not in known.versions:
            await self.models.target(model, version)
        return self.models.holds(model, version)

    async def index(self, *, ready: bool = False) -> list[dict[str, str]]:
        """Every version of every model and whether it is loaded, as Triton's repository index has it."""
        rows: list[dict[str, str]] = []
        for name in await self.models.names():
            try:
                known = await self.models.known(name)
            except RuntimeFault as fault:
                rows.append({"name": name, "version": "", "state": "UNAVAILABLE", "reason": str(fault)})
                continue
            for version, served in known.versions.items():
                held = self.models.holds(name, version)
                pinned = held and self.models.pinned(name, version)
                reason = "pinned" if pinned else "" if held else served.fault or "unloaded"
                state = "READY" if held else "UNAVAILABLE"
                rows.append({"name": name, "version": version, "state": state, "reason": reason})
        return [row for row in rows if row["state"] == "READY"] if ready else rows

    async def load(self, model: str, version: str | None = None, keep: Keep = KEPT) -> None:
        """Load what the repository has under this name by now, and keep it until it is unloaded if it is to be pinned.

        Raises UnknownModel, also where it is not of this stamp, NoRoom, or what vouching for it and loading raise.
        """
        await self.models.vouch(model, keep.provenance)
        await self.models.load(model, version, pin=keep.pin, stamp=keep.stamp)

    async def unload(self, model: str, version: str | None = None) -> None:
        """Answer what came before, then give the memory back; raises UnknownModel."""
        await self.models.unload(model, version)

    async def statistics(self, model: str | None = None, version: str | None = None) -> list[dict[str, Any]]:
        """The counters of a version, of all of a model's, or of all models that were asked for; raises UnknownModel."""
        models = self.models.all() if model is None else [await self.models.known(model)]
        if version is not None and version not in models[0].versions:
            raise UnknownModel(f"model {model} has no version {version:.80}; it has {', '.join(models[0].versions)}")
        return [
            served.tally.document(known.name, name, self._epoch)
            for known in models
            for name, served in known.versions.items()
            if version in (None, name)
        ]

    @property
    def ready(self) -> bool:
        """Whether requests are taken."""
        return not self.starting and not self.draining

    def server_metadata(self) -> dict[str, Any]:
        """The server's own."""
        return {"name": NAME, "version": self._version(), "extensions": list(EXTENSIONS)}

    async def close(self) -> None:
        """Take no more work, and let that which came end."""
        self.draining = self._closed = True
        if self._preparing:
            await asyncio.wait(self._preparing)
        await self._batcher.close()

    async def _infer_later(
        self, model: str, version: str | None, inputs: Inputs, ask: Ask, *, work: Work, done: Done
    ) -> None:
        held = self.models.holds(model, version)
        left_s = work.deadline - self.clock()
        late = Expired("its deadline passed before its model was loaded")
        timer = (
            None if left_s == math.inf else asyncio.get_running_loop().call_later(left_s, self._tell, work, late, done)
        )
        try:
            # Never cancelled: a load that is under way comes to its end, whoever has left.
            await self.models.vouch(model, ask.provenance)
            target = await self.models.target(model, version)
            if work not in self._coming:
                return
            target.served.check_stamp(ask.stamp)
            work.rows, work.form = target.signature.check(inputs)
            work.task, work.variant = target.task, target.variant
            self._coming.discard(work)
            told = _as_loaded(done) if not held and self.models.holds(model, version) else done
            self._batcher.submit(work, inputs, Call(target, work, self.clock, told))
        except RuntimeFault as fault:
            self._tell(work, fault, done)
        except Exception as fault:
            log.exception("%s: a request came to nothing", model)
            self._tell(work, Defect(f"{type(fault).__name__}: {fault}"), done)
        finally:
            if timer is not None:
                timer.cancel()

    def _tell(self, work: Work, fault: RuntimeFault, done: Done) -> None:
        """Tell what became of a work before it was submitted, unless its caller has left or was told."""
        if work in self._coming:
            self._coming.discard(work)
            done(fault)


def _as_loaded(done: Done) -> Done:
    """`done`, told that the model was loaded for its request: that was before the run, to learn what it takes."""

    def told(outcome: Outcome | RuntimeFault) -> None:
        done(outcome if isinstance(outcome, RuntimeFault) else outcome._replace(loaded=True))

    return told
