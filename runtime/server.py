"""The container's program: models from a folder or a home behind the Open Inference Protocol and SageMaker's contract.

One process owns the accelerator, and one loop everything but the runs. What a first answer does not need is imported
after it: a container that starts from nothing answers within a second.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING

from registry.errors import InvalidValue, RegistryError
from runtime.batcher import Batcher
from runtime.container.connection import Limits
from runtime.container.exchange import Exchange
from runtime.container.http import Begin, Http
from runtime.container.listening import Listening
from runtime.container.metrics import CONTENT_TYPE, exposition
from runtime.container.models import Models
from runtime.container.oip import Oip
from runtime.container.plane import Plane
from runtime.container.repository import Folder, Repository
from runtime.container.router import Route
from runtime.container.sagemaker import SageMaker
from runtime.container.same_site import SameSite
from runtime.container.settings import MEANINGS, PREFIX, SAGEMAKER_MODEL, SAGEMAKER_MODELS, Settings
from runtime.errors import RuntimeFault
from runtime.heap import share_one_arena
from runtime.listener import listen, url_of
from runtime.ort import check_providers
from scheduler.station import Station

if TYPE_CHECKING:
    from registry.tracing import RequestTracer

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

SERVE = "serve"
"""What SageMaker runs a container with, to tell serving from training."""

TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""The variable that asks for traces (`registry.tracers`); without it nothing of theirs is imported."""

VARIABLES = f"Each can be set as {PREFIX}NAME too, as {PREFIX}GRPC_PORT; an option counts more."

NO_MODEL = f"put model.onnx into {SAGEMAKER_MODEL}, or give --models DIR, --home DIR or --blobs PLACE"

CACHE = "/tmp/modelless-blobs"  # noqa: S108 - each file is hashed before every use, whoever wrote it
"""Where blobs that come from elsewhere are kept: the one place where the image's user may write."""

SWITCH_S = 0.0001
"""How long a thread may keep the GIL when another wants it: a run that ends waits that long, and so does the next. With
Python's 5 ms that is longer than many runs, and with 0.5 still 0.3 ms of each run while requests come."""

FOLLOW_S = 1.0
"""How stale a home's catalogue may be; looking costs some 20 µs."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a container that takes requests is reached."""

    url: str
    grpc: str | None = None

    def __str__(self) -> str:
        return self.url if self.grpc is None else f"{self.url} and gRPC on {self.grpc}"


class Patience:
    """How long what is under way may take at the end, over all transports together."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until: float | None = None

    def left_s(self) -> float:
        """Seconds that are left; they begin to pass when this is asked first."""
        if self._until is None:
            self._until = self._clock() + self._seconds
        return max(0.0, self._until - self._clock())


Ready = Callable[[Address], None]


def run(settings: Settings, *, ready: Ready = lambda _: None) -> None:
    """Serve until SIGINT or SIGTERM, then answer what is under way; `ready` is told where once requests are taken.

    Raises InvalidValue for an impossible setting, NoProvider, or what loading the models raises.
    """
    import uvloop  # noqa: PLC0415 - tests serve on a loop of their own

    share_one_arena()
    sys.setswitchinterval(SWITCH_S)
    uvloop.run(_until_stopped(settings, ready))


async def _until_stopped(settings: Settings, ready: Ready) -> None:
    this, stop = asyncio.current_task(), asyncio.Event()
    assert this is not None, "a coroutine runs in a task"
    # What is told to stop while it starts has nothing to answer first.
    _when_told_to_stop(this.cancel)
    with suppress(asyncio.CancelledError), _tracing(os.environ) as tracer:
        async with serving(settings, tracer) as address:
            _when_told_to_stop(stop.set)
            ready(address)
            await stop.wait()


def _tracing(variables: Mapping[str, str]) -> AbstractContextManager[RequestTracer | None]:
    if not variables.get(TRACES):
        return nullcontext()
    from registry.tracers import tracing_requests  # noqa: PLC0415 - most containers are not traced

    return tracing_requests(variables, "modelless-container")


def _when_told_to_stop(act: Callable[[], object]) -> None:
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, act)


@asynccontextmanager
async def serving(settings: Settings, tracer: RequestTracer | None = None) -> AsyncIterator[Address]:
    """Serve on the running loop, telling `tracer` of requests; yields once they are taken, and drains at the end."""
    check_providers(settings.providers)
    clock, cores = time.monotonic, settings.usable_cores
    station = Station(cores)
    models = Models(_repository(settings), station, budget_mb=settings.budget_mb, clock=clock)
    batcher = Batcher(station, models, cores=cores, clock=clock)
    plane = Plane(models, batcher, version=_version, clock=clock)
    patience = Patience(settings.drain_s, clock)
    try:
        with listen(settings.host, settings.port) as listener:
            async with _http(settings, plane, batcher, patience, listener, begin=_begin(tracer)) as listening:
                await _load(models, ("none",) if settings.multi_model else settings.load)
                _check_served(settings, models)
                async with _grpc(settings, plane, patience, tracer) as grpc, _following(models):
                    # What is there by now stays; a full collection then looks at requests only.
                    gc.freeze()
                    plane.starting = False
                    yield Address(url_of(listener), grpc)
                    plane.draining = True
                    await listening.drain()
    finally:
        await models.close()


def _begin(tracer: RequestTracer | None) -> Begin | None:
    if tracer is None:
        return None
    from runtime.container.traced import begun  # noqa: PLC0415 - most containers are not traced

    return functools.partial(begun, tracer)


@asynccontextmanager
async def _http(
    settings: Settings,
    plane: Plane,
    batcher: Batcher,
    patience: Patience,
    listener: socket,
    *,
    begin: Begin | None,
) -> AsyncIterator[Listening]:
    """Answer over HTTP, at first that the server is starting; at the end what is under way is answered first."""
    folder = Folder(settings.models or SAGEMAKER_MODELS, providers=settings.providers)
    metrics = Route("GET", "/metrics", lambda exchange, _: show(exchange))
    site = SameSite(settings.host, listener.getsockname()[0])
    sagemaker = SageMaker(plane, folder, signed=bool(settings.signing_key))
    http = Http([*Oip(plane).routes(), *sagemaker.routes(), metrics], check=site.check, begin=begin)
    bodies_bytes = settings.bodies_bytes
    listening = Listening(
        http,
        Limits(body_bytes=min(settings.body_limit, bodies_bytes)),
        bodies_bytes=bodies_bytes,
        connections=settings.most_connections,
    )

    def show(exchange: Exchange) -> None:
        exchange.answer(200, exposition(plane.models, batcher, listening.connections), CONTENT_TYPE)

    await listening.start(listener)
    try:
        yield listening
    finally:
        # Whatever still waits when its connection is closed is cancelled, so that the plane comes to its end.
        await asyncio.gather(plane.close(), listening.close(patience.left_s()))
        await http.close()


@asynccontextmanager
async def _following(models: Models) -> AsyncIterator[None]:
    """Keep what is served at the repository's head."""
    following = asyncio.create_task(_follow(models))
    try:
        yield
    finally:
        following.cancel()


@asynccontextmanager
async def _grpc(
    settings: Settings, plane: Plane, patience: Patience, tracer: RequestTracer | None
) -> AsyncIterator[str | None]:
    """Serve gRPC too, if it is asked for; yields where it listens."""
    if settings.grpc_port is None:
        yield None
        return
    try:
        from runtime.container.grpc_ import serve_grpc  # noqa: PLC0415 - grpcio is an extra, and slow to import
    except ImportError as fault:
        raise InvalidValue(
            "grpc_port", f"gRPC is not installed ({fault})", "pip install 'modelless[grpc]', or leave it out"
        ) from fault
    server = await serve_grpc(
        plane,
        settings.host,
        settings.grpc_port,
        max_message_bytes=settings.body_limit,
        max_calls=settings.most_connections,
        tracer=tracer,
    )
    try:
        yield f"[{settings.host}]:{server.port}" if ":" in settings.host else f"{settings.host}:{server.port}"
    finally:
        # HTTP drains after it, in what is left of the time; what came that way goes on meanwhile.
        await server.stop(patience.left_s())


async def _load(models: Models, load: Sequence[str]) -> None:
    """Load what is to be loaded before requests are taken.

    What is named is kept, and raises where it cannot be loaded. With `all` that is said and left to whoever asks, and
    so is what would only take the place of what is loaded already.
    """
    if load not in (("all",), ("none",)):
        for name in load:
            await models.load(name)
    for name in await models.names() if load == ("all",) else ():
        before = models.loaded
        try:
            await models.load(name, pin=False)
        except RuntimeFault as fault:
            log.warning("%s", fault)
        else:
            # What requests had loaded meanwhile takes the place of nothing.
            if not before <= models.loaded:
                return


def _check_served(settings: Settings, models: Models) -> None:
    """SageMaker sends requests to whatever answers its ping, and restarts what ends: better so without its one model.

    Raises InvalidValue where that was to be loaded, and could not be.
    """
    if _one_model(settings) and settings.load == ("all",) and not models.loaded:
        raise InvalidValue("models", f"no model in {SAGEMAKER_MODEL} could be loaded", NO_MODEL)


def _one_model(settings: Settings) -> bool:
    """Whether it is SageMaker's container of one model, as it is where nothing else is said."""
    return not (settings.models or settings.home or settings.blobs or settings.multi_model)


async def _follow(models: Models) -> None:
    """Look at the repository again and again; what cannot be read is tried again."""
    head: Hashable = None  # what came while models were loaded is looked at, too
    while True:
        await asyncio.sleep(FOLLOW_S)
        try:
            newest = await asyncio.to_thread(models.repository.head)
            if newest != head:
                await models.refresh()
                head = newest
        except RuntimeFault as fault:
            log.warning("the repository cannot be read: %s", fault)
        except Exception:
            # The loop's outermost handler: whatever it was, what comes later must be seen.
            log.exception("the repository was not followed")


def _repository(settings: Settings) -> Repository:
    if settings.signing_key and not settings.blobs:
        # Better to say so than to serve, unsigned, what somebody believes to be held to a key.
        raise InvalidValue("signing_key", "only artifacts have signatures", "give --blobs with it, or leave it out")
    if settings.models is not None:
        if not settings.models.is_dir():
            raise InvalidValue("models", f"{settings.models} is no folder", "give one with models in it")
        return Folder(settings.models, providers=settings.providers)
    if settings.home is not None:
        return _home(settings.home, settings)
    if settings.blobs:
        return _artifacts(settings.blobs, settings)
    if _one_model(settings) and not SAGEMAKER_MODEL.is_dir():
        raise InvalidValue("models", f"none are given, and {SAGEMAKER_MODEL} is no folder", NO_MODEL)
    return Folder(SAGEMAKER_MODELS if settings.multi_model else SAGEMAKER_MODEL, providers=settings.providers)


def _home(home: Path, settings: Settings) -> Repository:
    # A folder's first answer does without the catalogue's imports.
    from registry.blobs.files import Files  # noqa: PLC0415
    from runtime.container.artifacts import Artifacts  # noqa: PLC0415
    from runtime.container.home import BLOBS, Home  # noqa: PLC0415

    if not home.is_dir():
        raise InvalidValue("home", f"{home} is no folder", "register a model there first")
    tasks = Home(home, settings.tier, providers=settings.providers)
    return Artifacts(Files(home / BLOBS), tasks, providers=settings.providers, fits=tasks.fits)


def _artifacts(place: str, settings: Settings) -> Repository:
    from registry.blobs.files import Files  # noqa: PLC0415 - see above
    from registry.blobs.s3 import S3Blobs  # noqa: PLC0415
    from runtime.container.artifacts import Artifacts, Nothing  # noqa: PLC0415

    if not place.startswith("s3://"):
        if not Path(place).is_dir():
            raise InvalidValue("blobs", f"{place} is no folder", "give one that a home has its blobs in")
        return Artifacts(Files(Path(place)), Nothing(), providers=settings.providers, verify=_verifier(settings))
    bucket, _, prefix = place.removeprefix("s3://").strip("/").partition("/")
    blobs = S3Blobs(bucket, CACHE, prefix=f"{prefix}/" if prefix else "")
    return Artifacts(blobs, Nothing(), providers=settings.providers, verify=_verifier(settings))


def _verifier(settings: Settings) -> Callable[[str, str], None] | None:
    """What refuses an artifact that the key has not signed; None where no key is named."""
    if not settings.signing_key:
        return None
    from registry.signing import KmsSigner  # noqa: PLC0415 - see above

    return KmsSigner(settings.signing_key).verify


@functools.cache
def _version() -> str:
    import importlib.metadata  # noqa: PLC0415 - asked for once, if ever: it reads files for 0.3 ms

    try:
        return importlib.metadata.version("modelless")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def main(argv: Sequence[str] | None = None, variables: Mapping[str, str] | None = None) -> int:
    """`python -m runtime.server --models DIR --port N …`: each setting is an option; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if "--help" in words:
        print(usage())
        return 0
    try:
        settings = settings_of(words, os.environ if variables is None else variables)
        run(settings, ready=lambda address: print(f"listening on {address}", flush=True))
    except (InvalidValue, RegistryError, RuntimeFault) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    return 0


def usage() -> str:
    """What `--help` prints."""
    options = (f"  --{_dashed(name) + ' VALUE':<21}{meaning}" for name, meaning in MEANINGS.items())
    return "\n".join(("usage: python -m runtime.server [--NAME VALUE ...]", "", *options, "", VARIABLES))


def settings_of(argv: Sequence[str], variables: Mapping[str, str]) -> Settings:
    """What the variables say, and over them the command line; SageMaker's argument `serve` says nothing.

    Raises InvalidValue naming the variable or the option.
    """
    options = _options(argv[1:] if list(argv[:1]) == [SERVE] else argv)
    return Settings.read(variables).given(options, lambda name: "--" + _dashed(name))


def _options(argv: Sequence[str]) -> dict[str, str]:
    """`--name value` pairs; argparse would be the slowest import of a start."""
    options: dict[str, str] = {}
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            raise InvalidValue(word, "is no option", "options are --name value")
        given = value if equals else next(words, None)
        if given is None:
            raise InvalidValue(name, "has no value", f"give {name} VALUE")
        options[name[2:].replace("-", "_")] = given
    return options


def _dashed(name: str) -> str:
    return name.replace("_", "-")


if __name__ == "__main__":
    sys.exit(main())
