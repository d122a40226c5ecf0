"""The gateway's side of a template: keeps one initialised process per function and asks it for copies.

It never forks this process; a template that dies takes its copies with it and is started again by the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from gateway.environments.log_ring import LogRing
from gateway.environments.processes import Child, ExitWatch, OnExit, Spawned, spawn
from gateway.environments.spec import FunctionSpec, environ_of
from gateway.errors import NotReady

PROGRAM = Path(__file__).with_name("snapshot.py")
PACKET = 1 << 17


class Copy:
    """A restored copy: another process's child, watched through a pidfd of our own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._on_exit: OnExit | None = None
        self._gone = False
        self._watch = ExitWatch(loop, pidfd, self._ended)

    def watch(self, on_exit: OnExit) -> None:
        """See Child."""
        self._on_exit = on_exit

    def signal(self, number: int) -> None:
        """See Child."""
        if not self._gone:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def _ended(self) -> None:
        self._gone = True
        if self._on_exit is not None:
            self._on_exit(None)


class Template:
    """Starts environments as copies of an initialised process (a Starter)."""

    def __init__(self, spec: FunctionSpec) -> None:
        self._spec = spec
        self._session: _Session | None = None
        self._closed = False

    async def prepare(self) -> None:
        """Take the snapshot: run INIT and the before-snapshot hooks. Raises NotReady with the function's reason."""
        await self._live()

    async def start(self, environ: Mapping[str, str], log_fd: int) -> Child:
        """A restored copy. Raises NotReady."""
        session = await self._live()
        return await session.fork(environ, log_fd)

    async def close(self) -> None:
        """End the template, and so every copy."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    @property
    def pid(self) -> int | None:
        """The template's process, if one lives."""
        return self._session.pid if self._session is not None and self._session.alive else None

    async def _live(self) -> _Session:
        if self._closed:
            raise NotReady(f"{self._spec.name} is closed")
        if self._session is None or not self._session.alive:
            self._session = _Session(self._spec)
        session = self._session
        await session.ready()
        return session


class _Session:
    """One template process, from its start to its end."""

    def __init__(self, spec: FunctionSpec) -> None:
        self._spec = spec
        self._loop = loop = asyncio.get_running_loop()
        self._log = LogRing(loop)
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        self._ready: asyncio.Future[None] = loop.create_future()
        self._ready.add_done_callback(_retrieve)
        self._forks: deque[asyncio.Future[Copy]] = deque()
        self._ended = asyncio.Event()
        self.alive = True
        argv = [spec.python, *spec.python_flags, str(PROGRAM), str(os.getpid()), spec.handler, str(theirs.fileno())]
        # Unset, so that the address of one copy is never the address of another.
        self._environ = environ = environ_of(spec, "", "template")
        del environ["AWS_LAMBDA_RUNTIME_API"]
        try:
            self._child: Spawned = spawn(argv, environ, spec.task_root, self._log.write_fd, pass_fds=(theirs.fileno(),))
        except OSError as fault:
            self._log.close()
            self._channel.close()
            raise NotReady(f"{spec.name}: cannot start a template: {fault}") from fault
        finally:
            theirs.close()
        self._log.close_write_end()
        self._child.watch(self._exited)
        self._timer = loop.call_later(spec.init_timeout_s, self._init_timed_out)
        loop.add_reader(self._channel.fileno(), self._receive)

    @property
    def pid(self) -> int:
        """The process."""
        return self._child.pid

    async def ready(self) -> None:
        """Wait for the end of INIT. Raises NotReady."""
        await asyncio.shield(self._ready)

    async def fork(self, environ: Mapping[str, str], log_fd: int) -> Copy:
        """Ask for a copy. Raises NotReady."""
        copy: asyncio.Future[Copy] = self._loop.create_future()
        changes = {name: value for name, value in environ.items() if self._environ.get(name) != value}
        self._forks.append(copy)
        try:
            socket.send_fds(self._channel, [orjson.dumps({"environ": changes})], [log_fd])
        except OSError as fault:
            self._forks.pop()
            raise NotReady(f"{self._spec.name}: the template does not answer: {fault}") from fault
        return await copy

    async def close(self) -> None:
        """Kill it and wait for its end."""
        self._child.signal(signal.SIGKILL)
        await self._ended.wait()

    def _receive(self) -> None:
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._channel, PACKET, 1)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:  # the end of the process follows, and settles everything
                self._loop.remove_reader(self._channel.fileno())
                return
            self._take(orjson.loads(data), fds)

    def _take(self, message: dict[str, Any], fds: list[int]) -> None:
        if "exited" in message:
            return  # its pidfd has already told us
        if not self._ready.done():
            self._timer.cancel()
            if "error" in message:
                self._fail(f"INIT failed: {message['error']}")
            else:
                self._ready.set_result(None)
            return
        copy = self._forks.popleft()
        if "error" in message:
            copy.set_exception(NotReady(f"{self._spec.name}: {message['error']}"))
            return
        child = Copy(self._loop, int(message["pid"]), fds[0])
        if copy.cancelled():
            child.signal(signal.SIGKILL)
        else:
            copy.set_result(child)

    def _init_timed_out(self) -> None:
        self._fail(f"INIT of the template timed out after {self._spec.init_timeout_s:.2f} seconds")
        self._child.signal(signal.SIGKILL)

    def _fail(self, reason: str) -> None:
        self.alive = False
        fault = NotReady(f"{self._spec.name}: {reason}")
        if not self._ready.done():
            self._ready.set_exception(fault)
        while self._forks:
            copy = self._forks.popleft()
            if not copy.done():
                copy.set_exception(fault)

    def _exited(self, status: int | None) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._channel.fileno())
        self._channel.close()
        self._log.close()
        self._fail(f"the template ended with status {status}\n{self._log.tail()}".rstrip())
        self._ended.set()


def _retrieve(future: asyncio.Future[None]) -> None:
    """Mark a failure as seen: it is reported again to whoever asks next."""
    if not future.cancelled():
        future.exception()
