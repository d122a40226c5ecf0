"""One execution environment: a process that answers one request at a time, from INIT to its end; never a choice.

It is driven by three sources, all of them callbacks of one loop: the runtime client's calls (Host), the end of the
process, and timers. Whatever comes first settles the request; everything after that finds it settled.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from enum import StrEnum

from gateway.environments.cpu_share import Share, Shares
from gateway.environments.invocation import Answer, FunctionError, Job, parse_error
from gateway.environments.log_ring import LogRing, Output
from gateway.environments.processes import Child, Starter
from gateway.environments.runtime_api import PAYLOAD_LIMIT, Connection, Verdict
from gateway.environments.spec import FunctionSpec, environ_of
from gateway.errors import BackendError, EnvironmentLost, InitFailed, NotReady, TimedOut


class State(StrEnum):
    """Where an environment is in its life."""

    STARTING = "starting"
    IDLE = "idle"
    """Asked for work and got none; frozen if the function is to be."""
    BUSY = "busy"
    """Has a request, or has answered it and not yet asked for the next."""
    GONE = "gone"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.STARTING: frozenset({State.IDLE, State.GONE}),
    State.IDLE: frozenset({State.BUSY, State.GONE}),
    State.BUSY: frozenset({State.IDLE, State.GONE}),
    State.GONE: frozenset(),
}


class IllegalTransition(RuntimeError):
    """An environment was asked for something that its state does not allow; nothing changed."""


class Environment:
    """A process, the Runtime API on its own loopback port, and where it is in its life."""

    def __init__(
        self,
        spec: FunctionSpec,
        starter: Starter,
        shares: Shares,
        *,
        on_change: Callable[[Environment, str], None],
        output: Output | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_change(environment, reason)` is called after every change of state.

        `output` hears what the function writes: all that it wrote before it answered, before the answer is given.
        """
        self.spec = spec
        self.id = uuid.uuid4().hex
        self.state = State.STARTING
        self.resident: frozenset[str] = frozenset()
        self.init_ms = 0.0
        self.invocations = 0
        self.idle_since = math.inf
        self.started = False
        """Whether it has ever been ready."""
        self.starter = starter
        self._shares, self._on_change, self._clock = shares, on_change, clock
        self._share: Share | None = None
        self._frozen = False
        self._loop = asyncio.get_running_loop()
        self._tells = output is not None
        self.log = LogRing(self._loop, output)
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._next: Connection | None = None
        self._child: Child | None = None
        self._job: Job | None = None
        self._answered = False
        self._sent_at = self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._status_fd = -1
        self._begun, self._ended = asyncio.Event(), asyncio.Event()
        self._fault: BackendError | None = None

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Open the port and start the process; INIT goes on by itself. Never raises: a failure ends the environment."""
        self._began = self._clock()
        self._timer = self._loop.call_later(self.spec.init_timeout_s, self._init_timed_out)
        try:
            share = self._share = self._shares.share(self.spec.vcpus, self.spec.memory_mb)
            listener = socket.create_server(("127.0.0.1", 0))
            host, port = listener.getsockname()
            self._server = await self._loop.create_server(self._accept, sock=listener)
            stream = time.strftime("%Y/%m/%d/[$LATEST]") + self.id
            child = await self.starter.start(environ_of(self.spec, f"{host}:{port}", stream), self.log.write_fd)
        except (OSError, BackendError) as fault:
            self._end(NotReady(f"{self.spec.name}: cannot start an environment: {fault}"), "start failed")
            self._exited(None)
            return
        self.log.close_write_end()
        self._child = child
        child.watch(self._exited)
        share.attach(child)
        if self.state is State.GONE:
            child.signal(signal.SIGKILL)

    def run(self, job: Job) -> None:
        """Give an idle environment its next request. Raises IllegalTransition unless it is idle."""
        connection = self._next
        if self.state is not State.IDLE or connection is None:
            raise IllegalTransition(f"environment {self.id} is {self.state}, not idle")
        self._job, self._answered, self._next = job, False, None
        self._become(State.BUSY, "")
        self._sent_at = self._clock()
        self._timer = self._loop.call_later(self.spec.timeout_s, self._timed_out)
        self._thaw()
        connection.send_invocation(
            job.id,
            job.payload,
            deadline_ms=int((time.time() + self.spec.timeout_s) * 1e3),
            arn=job.call.arn or self.spec.arn,
            trace=job.call.trace or f"Root=1-{int(time.time()):08x}-{job.id.replace('-', '')[:24]};Sampled=0",
        )

    def kill(self, reason: str, fault: BackendError | None = None) -> None:
        """End it now; a request that it holds fails with `fault`, else with EnvironmentLost."""
        self._end(fault or EnvironmentLost(f"environment {self.id} was ended: {reason}"), reason)
        if self._child is not None:
            self._child.signal(signal.SIGKILL)

    async def begun(self) -> None:
        """Wait until INIT is over, however it ended."""
        await self._begun.wait()

    async def closed(self) -> None:
        """Wait until the process has ended and nothing of it is left."""
        await self._ended.wait()

    def _become(self, state: State, reason: str) -> None:
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"environment {self.id} cannot go from {self.state} to {state}")
        self.state = state
        self._begun.set()
        self._on_change(self, reason)

    def _end(self, fault: BackendError, reason: str) -> None:
        """Gone, as far as anybody can see; the process may still have to die."""
        if self.state is State.GONE:
            return
        self._stop_timer()
        self._tell()
        job, self._job = self._job, None
        self._fault = fault
        self._become(State.GONE, reason)
        if job is not None:
            job.fail(fault)

    @property
    def freeing(self) -> bool:
        """Whether it will be idle without anybody's doing: it starts, or has answered and not yet asked for more."""
        return self.state is State.STARTING or (self.state is State.BUSY and self._answered)

    @property
    def fault(self) -> BackendError | None:
        """Why it is gone."""
        return self._fault

    def _exited(self, status: int | None) -> None:
        """The process has ended, expected or not: settle what is open and leave nothing behind."""
        self.log.close()
        if self.state is not State.GONE:
            reason = self._describe(status)
            message = f"environment {self.id}: {reason}\n{self.log.tail()}".rstrip()
            self._end(EnvironmentLost(message, reason) if self.started else NotReady(message), reason)
        for connection in self._connections:
            connection.close()
        if self._server is not None:
            self._server.close()
        if self._status_fd >= 0:
            os.close(self._status_fd)
            self._status_fd = -1
        if self._share is not None:
            self._share.close()
        self._ended.set()

    def _describe(self, status: int | None) -> str:
        if self._share is not None and self._share.oom_killed():
            return f"out of memory at {self.spec.memory_mb} MB"
        if status is None:
            return "the process ended"
        if status < 0:
            return f"killed by {signal.Signals(-status).name}"
        return f"Runtime exited with status {status}"

    # ------------------------------------------------------------------ timers

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _init_timed_out(self) -> None:
        limit = self.spec.init_timeout_s
        self.kill("INIT timed out", NotReady(f"{self.spec.name}: INIT timed out after {limit:.2f} seconds"))

    def _timed_out(self) -> None:
        job = self._job
        prefix = f"{job.id} " if job is not None else ""
        self.kill("timed out", TimedOut(f"{prefix}Task timed out after {self.spec.timeout_s:.2f} seconds"))

    # ------------------------------------------------------------------ Host

    def _accept(self) -> Connection:
        connection = Connection(self)
        self._connections.add(connection)
        return connection

    def on_next(self, connection: Connection) -> None:
        """The runtime is idle: INIT is over, or the last request is."""
        if self.state is State.GONE:
            return
        if self.state is State.IDLE or (self.state is State.BUSY and not self._answered):
            connection.refuse(Verdict.INVALID_TRANSITION)
            return
        self._stop_timer()
        if self.state is State.STARTING:
            self.started = True
            self.resident = self.spec.resident
            self.init_ms = (self._clock() - self._began) * 1e3
        self._next, self._job = connection, None
        self.idle_since = self._clock()
        self._become(State.IDLE, "")
        self._freeze()

    def _freeze(self) -> None:
        # Whoever heard that it is idle may have given it work already.
        if self.state is State.IDLE and self.spec.freeze and self._share is not None:
            self._share.freeze()
            self._frozen = True

    def _thaw(self) -> None:
        if self._frozen and self._share is not None:
            self._share.thaw()
            self._frozen = False

    def on_response(self, request_id: str, body: bytes | None) -> Verdict:
        """The handler returned."""
        job = self._expected(request_id)
        if isinstance(job, Verdict):
            return job
        if body is None:
            message = f"Response payload size exceeded maximum allowed payload size ({PAYLOAD_LIMIT} bytes)."
            self._settle(job, b"", FunctionError("Function.ResponseSizeTooLarge", message))
            return Verdict.TOO_LARGE
        self._settle(job, body, None)
        return Verdict.ACCEPTED

    def on_error(self, request_id: str, body: bytes, kind: str) -> Verdict:
        """The handler raised."""
        job = self._expected(request_id)
        if isinstance(job, Verdict):
            return job
        self._settle(job, body, parse_error(body, kind))
        return Verdict.ACCEPTED

    def on_init_error(self, body: bytes, kind: str) -> Verdict:
        """INIT failed; the process ends by itself, and is ended in case it does not."""
        return self._failed_to_start("INIT failed", body, kind)

    def on_restore_next(self, connection: Connection) -> None:
        """The template took the snapshot before this process was; so it is restored by now."""
        connection.send_restored()

    def on_restore_error(self, body: bytes, kind: str) -> Verdict:
        """An after-restore hook failed."""
        return self._failed_to_start("restore failed", body, kind)

    def _failed_to_start(self, what: str, body: bytes, kind: str) -> Verdict:
        if self.state is not State.STARTING:
            return Verdict.INVALID_TRANSITION
        error = parse_error(body, kind)
        self._end(InitFailed(f"{self.spec.name}: {what}: {error.kind}: {error.message}", body), what)
        # Killed a moment later, so that the client has its answer and says the rest to the log.
        self._loop.call_later(0.05, self.kill, what)
        return Verdict.ACCEPTED

    def _expected(self, request_id: str) -> Job | Verdict:
        if self.state is not State.BUSY or self._job is None or self._answered:
            return Verdict.INVALID_TRANSITION
        return self._job if request_id == self._job.id else Verdict.INVALID_REQUEST_ID

    def _tell(self) -> None:
        """Whoever hears what the function writes has heard it before what comes of it."""
        if self._tells:
            self.log.drain()

    def _settle(self, job: Job, body: bytes, error: FunctionError | None) -> None:
        self._tell()
        self._answered = True
        self.invocations += 1
        first = self.invocations == 1
        answer = Answer(
            payload=body,
            error=error,
            environment=self.id,
            cold=job.cold and first,
            init_ms=self.init_ms if job.cold and first else 0.0,
            duration_ms=(self._clock() - self._sent_at) * 1e3,
            peak_mb=self._peak_mb(),
            wait_ms=0.0 if job.queued_at is None else (self._sent_at - job.queued_at) * 1e3,
        )
        if job.observe is not None:
            resident = job.observe(answer)
            if resident is not None:
                self.resident = resident
        job.succeed(answer)

    def _peak_mb(self) -> float:
        """The process's high-water mark (VmHWM), read through a descriptor that is opened once."""
        if self._child is None:
            return 0.0
        try:
            if self._status_fd < 0:
                self._status_fd = os.open(f"/proc/{self._child.pid}/status", os.O_RDONLY | os.O_CLOEXEC)
            text = os.pread(self._status_fd, 4096, 0)
        except OSError:
            return 0.0
        at = text.find(b"VmHWM:")
        return int(text[at + 6 : text.index(b"kB", at)]) / 1024 if at >= 0 else 0.0
