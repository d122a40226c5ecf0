"""A child process whose end the loop learns of at once; it never interprets what the child does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from gateway.environments.spec import FunctionSpec

LAUNCH = Path(__file__).with_name("launch.py")

OnExit = Callable[[int | None], None]
"""Called once with the exit status as `subprocess` gives it (negative: a signal), or None when nobody could tell."""


class Child(Protocol):
    """A process group led by `pid`."""

    pid: int

    def watch(self, on_exit: OnExit) -> None:
        """Call `on_exit` once from the loop when the leader has ended; at most one watcher."""

    def signal(self, number: int) -> None:
        """Signal the whole group; nothing happens when it is gone."""


class ExitWatch:
    """A pidfd in the loop: no polling, no SIGCHLD handler, and it works for other processes' children too."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pidfd: int, on_exit: Callable[[], None]) -> None:
        self._loop, self._pidfd, self._on_exit = loop, pidfd, on_exit
        loop.add_reader(pidfd, self._ended)

    def _ended(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._on_exit()


class Spawned:
    """A child of this process, reaped here: until then its pid, and so its group, cannot be anybody else's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, popen: subprocess.Popen[bytes]) -> None:
        self.pid = popen.pid
        self._popen = popen
        self._on_exit: OnExit | None = None
        self._watch = ExitWatch(loop, os.pidfd_open(popen.pid), self._ended)

    def watch(self, on_exit: OnExit) -> None:
        """See Child."""
        self._on_exit = on_exit

    def signal(self, number: int) -> None:
        """See Child."""
        if self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def _ended(self) -> None:
        # The zombie still holds the group's number, so what it left behind can be killed safely before it is reaped.
        self.signal(signal.SIGKILL)
        status = self._popen.wait()
        if self._on_exit is not None:
            self._on_exit(status)


def spawn(
    argv: list[str],
    environ: Mapping[str, str],
    cwd: Path,
    log_fd: int,
    *,
    pass_fds: tuple[int, ...] = (),
) -> Spawned:
    """Start `argv` as the leader of its own group, output to `log_fd`. Raises OSError.

    The caller's thread must outlive the child: children ask the kernel to be ended when that thread ends.
    """
    popen = subprocess.Popen(  # noqa: S603 - the command is ours
        argv,
        env=dict(environ),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=log_fd,
        stderr=log_fd,
        process_group=0,
        pass_fds=pass_fds,
    )
    try:
        return Spawned(asyncio.get_running_loop(), popen)
    except OSError:  # no descriptor left to watch it with
        popen.kill()
        popen.wait()
        raise


class Ondemand:
    """Starts environments as fresh interpreters."""

    def __init__(self, spec: FunctionSpec) -> None:
        self._argv = [spec.python, *spec.python_flags, str(LAUNCH), str(os.getpid()), spec.handler]
        self._cwd = spec.task_root

    async def prepare(self) -> None:
        """Nothing is shared between fresh interpreters."""

    async def start(self, environ: Mapping[str, str], log_fd: int) -> Child:
        """A new process running the runtime client. Raises OSError."""
        return spawn(self._argv, environ, self._cwd, log_fd)

    async def close(self) -> None:
        """Nothing is shared between fresh interpreters."""


class Starter(Protocol):
    """How environments come to life."""

    async def prepare(self) -> None:
        """Do beforehand what no start should wait for. Raises NotReady."""

    async def start(self, environ: Mapping[str, str], log_fd: int) -> Child:
        """A new process running the runtime client. Raises OSError or NotReady."""

    async def close(self) -> None:
        """Stop what `prepare` started."""
