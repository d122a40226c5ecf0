"""The container program as a child of this process, from its start to its end; never what is asked of it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

from gateway.environments.log_ring import LogRing
from gateway.environments.processes import Spawned
from gateway.errors import NotReady
from registry.model import Tier, TierKind

START_S = 30.0
"""Longest until it listens: a fraction of a second on a machine that is not busy."""

DRAIN_S = 5.0
"""Longest that it may take to end what is under way before it is killed."""

PROGRAM = (
    "import sys; from gateway.environments.launch import die_with; die_with(int(sys.argv.pop(1)));"
    " from runtime.server import main; sys.exit(main())"
)
"""It is killed when this process ends in whatever way."""


def command_of(tier: Tier, home: os.PathLike[str]) -> list[str]:
    """The command that serves a home's variants as this tier, on a free port of this machine."""
    providers = "CUDA,CPU" if tier.kind is TierKind.GPU else "CPU"
    options = {
        "--home": os.fspath(home),
        "--tier": tier.name,
        "--host": "127.0.0.1",
        "--port": "0",
        "--cores": str(max(1, int(tier.vcpus))),
        "--memory-mb": str(tier.memory_mb),
        "--providers": providers,
        "--load": "none",
    }
    pairs = [part for option in options.items() for part in option]
    return [sys.executable, "-P", "-c", PROGRAM, str(os.getpid()), *pairs]


LISTENING = re.compile(r"listening on (\S+)")
"""Its first line."""

OWN = ("MODELLESS_CONTAINER_", "SAGEMAKER_")
"""Variables that set up a container that is started by itself."""


class Child:
    """One process of the program; made in the running loop, by the thread that must outlive it."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it. Raises NotReady when it cannot be started."""
        loop = asyncio.get_running_loop()
        self._log = LogRing(loop)
        self._ended: asyncio.Future[int | None] = loop.create_future()
        try:
            popen = subprocess.Popen(  # noqa: S603 - the command is ours
                command,
                env=_environ(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._log.write_fd,
                process_group=0,
            )
            try:
                self._process = Spawned(loop, popen)
            except OSError:  # no descriptor left to watch it with
                with popen:
                    popen.kill()
                raise
        except OSError as error:
            self._log.close()
            raise NotReady(f"the container cannot be started: {error}") from error
        self._log.close_write_end()
        assert popen.stdout is not None
        self._stdout: IO[bytes] = popen.stdout
        self._process.watch(self._on_exit)

    @property
    def pid(self) -> int:
        """The process, which leads a group of its own."""
        return self._process.pid

    async def listening(self) -> str:
        """Its URL, once it listens. Raises NotReady with the end of its log when it does not."""
        try:
            async with asyncio.timeout(START_S):
                line = await self._line()
        except TimeoutError:
            await self.stop()
            raise NotReady(f"the container did not listen within {START_S:g} s") from None
        except (OSError, ValueError) as error:
            await self.stop()
            raise NotReady(f"the container's output cannot be read: {error}") from error
        listening = LISTENING.match(line.decode("utf-8", "replace"))
        if listening is None:
            await self.stop()
            raise NotReady(f"the container did not start: {self.last_words()}")
        return listening[1]

    async def ended(self) -> int | None:
        """Wait until it has ended; its exit status, negative for a signal."""
        return await asyncio.shield(self._ended)

    async def stop(self) -> None:
        """Ask it to end, and kill it when it has not done so in time."""
        self._process.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.ended()
        except TimeoutError:
            self._process.signal(signal.SIGKILL)
            await self.ended()

    def last_words(self) -> str:
        """The last line of its log, or its exit status where it wrote none."""
        tail = self._log.tail(1).strip()
        status = self._ended.result() if self._ended.done() else None
        return tail or ("it wrote nothing" if status is None else f"exit status {status}")

    async def _line(self) -> bytes:
        """The first line of its output; empty when it ended without one."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._stdout
        )
        try:
            return await reader.readline()
        finally:
            # It says nothing more on its output. The pipe is the transport's: closed by anybody else while that reads,
            # the end of a child that fails at once went unseen, or with uvloop ended this process.
            transport.close()

    def _on_exit(self, status: int | None) -> None:
        self._log.close()
        if not self._ended.done():
            self._ended.set_result(status)


def _environ() -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    return {"ORT_DISABLE_TELEMETRY": "1", **environ}
