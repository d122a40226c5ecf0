"""Listens: one process, one loop, one platform; never beyond loopback unless API keys are configured.

uvicorn with uvloop and httptools carries it: it runs inside our own loop, where the environments live, and on the
same application it answered in 0.70 ms where granian took 0.94 ms (`python -m benchmarks.servers`).
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import uvicorn
import uvloop

from gateway.app import create_app
from gateway.auth import check_binding
from gateway.capacity.local import keeping_warm
from gateway.generation.on_demand import on_demand
from gateway.hardware import warn_of_stale
from gateway.http.connection import Connection
from gateway.jobs.local import taking_jobs
from gateway.lines import writing_lines
from gateway.local import Platform
from gateway.quotas import Buckets
from gateway.settings import Settings
from registry.tracers import tracing
from runtime.heap import map_large_blocks
from runtime.listener import listen, url_of

KEEP_ALIVE_S = 75
"""How long an idle connection stays open, as nginx has it: longer than load balancers keep theirs (60 s), so that none
sends a request into a connection that is being closed."""

DRAIN_S = 10.0
"""How long requests under way may take to end after a stop; then their connections are closed."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(
    settings: Settings,
    *,
    ready: Callable[[str], None] = lambda _: None,
    generate: Sequence[str] | None = None,
    lines: Callable[[str], object] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is told the URL once requests are taken.

    `generate` is the command that makes the variants that callers ask for in vain; None: they are not made. `lines` is
    given a line of JSON for each request that was decided. Raises InvalidValue for an impossible setting, before
    anything is opened.
    """
    map_large_blocks()
    uvloop.run(serve(settings, ready=ready, generate=generate, lines=lines))


async def serve(
    settings: Settings,
    *,
    ready: Callable[[str], None] = lambda _: None,
    generate: Sequence[str] | None = None,
    lines: Callable[[str], object] | None = None,
) -> None:
    """What `run` does, in the running loop."""
    keyring = settings.keyring()
    check_binding(settings.host, keyring)
    with listen(settings.host, settings.port) as listener, tracing(os.environ) as tracer:
        async with (
            Platform.open(
                settings.home, functions=settings.functions, containers=settings.containers, gpus=settings.gpus
            ) as platform,
            on_demand(platform, generate) as generations,
            _prepared(platform),
            taking_jobs(platform, settings.jobs_at_once, most_open=settings.most_jobs) as jobs,
            keeping_warm(platform, settings.warm_budget, period_s=settings.warm_period_s) as keeper,
        ):
            app = create_app(
                platform.service,
                metrics=platform.metrics,
                keyring=keyring,
                body_limit=settings.body_limit,
                judgements=platform.judgements,
                generations=generations,
                keeper=keeper,
                quota=Buckets(settings.requests_per_s, keyring.quotas),
                jobs=jobs,
            )
            platform.service.trace_with(tracer)
            if lines is not None:
                platform.service.watch_with(writing_lines(lines))
            warn_of_stale(platform.snapshots.view()[0])
            server = _Server(_config(app))
            # What is there by now stays; a full collection then looks at requests only (30 ms down to a few).
            gc.freeze()
            ready(url_of(listener))
            await server.serve(sockets=[listener])


@asynccontextmanager
async def _prepared(platform: Platform) -> AsyncIterator[None]:
    """Every tier prepared first: nothing is to be warmed in environments that did not start from their snapshot."""
    await platform.prepare(preload=True)
    yield


class _Server(uvicorn.Server):
    """uvicorn's server, without its habit of raising a signal again: the platform must still be closed after it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # Only the main thread may watch signals; whoever embeds the server cancels it.
            return
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)


def _config(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="none",
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,  # its entries go where the others go, in their format
        log_level="error",  # a line for each request that is none would let anybody fill the log
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(DRAIN_S),
    )
