"""A container's place: a child that is started again whenever it ends, with reasons meanwhile; without sockets."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.backends.container_child import Child, command_of
from gateway.backends.container_place import Local, Remote, Watcher
from gateway.errors import NotReady
from registry.model import TierKind
from registry.prices import gpu_tier, local_tiers

LISTENS = """
import os, signal, sys
with open(sys.argv[1], "a") as pids:
    print(os.getpid(), file=pids)
print("listening on http://127.0.0.1:9", flush=True)
signal.pause()
"""
DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("listening on http://x", flush=True)
signal.pause()
"""
SILENT = "import signal; signal.pause()"
FAILS = "import sys; print('error: no such home', file=sys.stderr); sys.exit(2)"
PATIENCE_S = 20.0


@dataclass
class Life:
    """What a watcher was told."""

    told: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, what: str) -> None:
        self.told.append(what)
        self.changed.set()

    @property
    def watcher(self) -> Watcher:
        tell = self.tell
        return Watcher(lambda: tell("starts"), lambda: tell("came"), lambda reason: tell(f"went: {reason}"))

    async def until(self, count: int) -> None:
        """Wait until so much was told."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.told) < count:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def local(program: str, *arguments: str) -> AsyncIterator[tuple[Local, Life]]:
    life = Life()
    place = Local([sys.executable, "-c", program, *arguments], life.watcher)
    try:
        yield place, life
    finally:
        await place.close()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_nothing_starts_before_it_is_asked_for_and_then_once(tmp_path: Path) -> None:
    async with local(LISTENS, str(tmp_path / "pids")) as (place, life):
        assert life.told == []
        reached = await asyncio.gather(place.reach(), place.reach())
        assert {connections.url for connections in reached} == {"http://127.0.0.1:9"}
        assert life.told == ["starts", "came"]
        pid = int((tmp_path / "pids").read_text())
    assert gone(pid)
    with pytest.raises(NotReady, match="closed"):
        await place.reach()


async def test_one_that_dies_is_not_ready_with_a_reason_and_is_started_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with local(LISTENS, str(tmp_path / "pids")) as (place, life):
        await place.reach()
        os.kill(int((tmp_path / "pids").read_text()), signal.SIGKILL)
        await life.until(3)
        assert life.told[2].startswith("went: the container ended with status -9")
        assert "ended with status -9" in caplog.text
        with pytest.raises(NotReady, match="-9") as refused:
            await place.reach()
        assert 0 < refused.value.retry_after_s < PATIENCE_S
        await life.until(5)
        assert life.told[3:] == ["starts", "came"]
        assert (place.reason, (await place.reach()).url) == ("", "http://127.0.0.1:9")
    assert all(gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())


async def test_one_that_never_starts_says_why_and_is_tried_less_and_less_often() -> None:
    async with local(FAILS) as (place, life):
        pauses = []
        with pytest.raises(NotReady, match="error: no such home"):
            await place.reach()
        for died in (2, 4, 6):
            await life.until(died)
            with pytest.raises(NotReady) as refused:
                await place.reach()
            pauses.append(refused.value.retry_after_s)
        assert pauses == sorted(pauses)
        assert pauses[2] > 2 * pauses[0]
        assert "came" not in life.told


async def test_a_program_that_is_not_there_is_a_reason_too() -> None:
    life = Life()
    place = Local(["/no/such/program"], life.watcher)
    with pytest.raises(NotReady, match="cannot be started"):
        await place.reach()
    await place.close()


async def test_closing_while_it_starts_leaves_nothing_behind() -> None:
    async with local(SILENT) as (place, life):
        reaching = asyncio.ensure_future(place.reach())
        await life.until(1)
    with pytest.raises(NotReady):
        await reaching


async def test_what_does_not_end_when_asked_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.backends.container_child.DRAIN_S", 0.05)
    child = Child([sys.executable, "-c", DEAF])
    assert await child.listening() == "http://x"
    await child.stop()
    assert await child.ended() == -signal.SIGKILL


async def test_one_that_is_dead_before_it_is_listened_to_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.backends.container_child.START_S", PATIENCE_S / 4)
    for _ in range(3):
        child = Child([sys.executable, "-c", FAILS])
        # The loop must not look before it is dead.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
        with pytest.raises(NotReady, match="did not start: error: no such home"):
            await child.listening()


async def test_output_without_end_is_no_address() -> None:
    child = Child([sys.executable, "-c", "print('x' * 1_000_000, flush=True)"])
    with pytest.raises(NotReady, match="output cannot be read"):
        await child.listening()


async def test_one_that_cannot_be_watched_is_not_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def pidfd_open(pid: int) -> int:
        started.append(pid)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("os.pidfd_open", pidfd_open)
    with pytest.raises(NotReady, match=r"cannot be started: .*Too many open files"):
        Child([sys.executable, "-c", SILENT])
    assert gone(started[0])


async def test_one_that_does_not_listen_in_time_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.backends.container_child.START_S", 0.05)
    child = Child([sys.executable, "-c", SILENT])
    with pytest.raises(NotReady, match="did not listen"):
        await child.listening()
    assert await child.ended() == -signal.SIGTERM


def test_the_command_says_how_much_of_the_machine_the_tier_is(tmp_path: Path) -> None:
    cpu = next(tier for tier in local_tiers() if tier.kind is TierKind.CONTAINER)
    command = command_of(cpu, tmp_path)
    options = dict(zip(command[5::2], command[6::2], strict=True))
    assert (options["--cores"], options["--memory-mb"], options["--tier"]) == ("2", "4096", cpu.name)
    assert (options["--providers"], options["--host"], options["--port"]) == ("CPU", "127.0.0.1", "0")
    assert command_of(gpu_tier(), tmp_path)[command.index("--providers") + 1] == "CUDA,CPU"


def test_a_container_s_own_settings_are_not_the_child_s(monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.backends.container_child import _environ

    monkeypatch.setenv("MODELLESS_CONTAINER_MODELS", "/models")
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "80")
    monkeypatch.setenv("MODELLESS_HOME", "/home")
    environ = _environ()
    assert environ["MODELLESS_HOME"] == "/home"
    assert not {"MODELLESS_CONTAINER_MODELS", "SAGEMAKER_BIND_TO_PORT"} & set(environ)


async def test_at_rest_it_runs_no_more_until_it_is_reached_for(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    async with local(LISTENS, str(pids)) as (place, life):
        assert await place.rest() is False
        await place.reach()
        resting = asyncio.create_task(place.rest())
        await asyncio.sleep(0)
        # Who comes while it ends gets the next one.
        await place.reach()
        assert await resting is True
        assert life.told == ["starts", "came", "went: at zero copies", "starts", "came"]
        assert await place.rest() is True
        assert place.reason == ""
        assert all(gone(int(pid)) for pid in pids.read_text().split())


async def test_what_somebody_else_keeps_is_not_put_to_rest() -> None:
    place = Remote("http://127.0.0.1:9", Life().watcher)
    with pytest.raises(NotReady, match="kept by somebody else"):
        await place.rest()
    await place.close()
