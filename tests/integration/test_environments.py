"""Execution environments under AWS's own runtime client: real processes, real signals, real sockets."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.environments.cpu_share import Shares
from gateway.environments.environment import IllegalTransition, State
from gateway.environments.invocation import Answer, Call, Job
from gateway.environments.pool import Pool
from gateway.environments.runtime_api import PAYLOAD_LIMIT
from gateway.environments.spec import FunctionSpec, import_roots
from gateway.environments.template import Template
from gateway.errors import EnvironmentLost, ExecutionFailed, InitFailed, NotReady, Throttled, TimedOut
from registry.model import StartMode
from scheduler.events import EnvironmentBusy, EnvironmentGone, EnvironmentReady, EnvironmentStarting, Event

WAIT_S = 20.0

HANDLER = """
import os, random, signal, subprocess, sys, threading, time, uuid
from snapshot_restore_py import register_after_restore, register_before_snapshot

if os.environ.get("INIT") == "raise":
    raise KeyError("no such setting")
if os.environ.get("INIT") == "exit":
    print("leaving early", flush=True)
    os._exit(7)
if os.environ.get("INIT") == "hang":
    threading.Event().wait()
if os.environ.get("INIT") == "thread":
    threading.Thread(target=threading.Event().wait, daemon=True).start()

HOOKS = []
SEED = random.random()
register_before_snapshot(HOOKS.append, "before 1")
register_before_snapshot(HOOKS.append, "before 2")
register_after_restore(HOOKS.append, "after")
if os.environ.get("INIT") == "restore-raises":
    register_after_restore(lambda: 1 / 0)

def echo(event, context):
    return {"event": event, "remaining": context.get_remaining_time_in_millis(), "arn": context.invoked_function_arn,
            "id": context.aws_request_id, "memory": context.memory_limit_in_mb}

def who(event, context):
    return {"pid": os.getpid(), "group": os.getpgid(0), "random": random.random(), "uuid": str(uuid.uuid4()),
            "hooks": HOOKS, "seed": SEED, "variables": dict(os.environ)}

def fail(event, context):
    raise ValueError(event["text"])

def say(event, context):
    print(event["text"])
    return {"trace": os.environ.get("_X_AMZN_TRACE_ID")}

def leave(event, context):
    print(event.get("text", ""), flush=True)
    os._exit(event.get("status", 3))

def die(event, context):
    os.kill(os.getpid(), signal.SIGKILL)

def hang(event, context):
    open(event["touch"], "w").close()
    threading.Event().wait()

def meet(event, context):
    open(event["touch"], "w").close()
    while not os.path.exists(event["until"]):
        time.sleep(0.001)
    return {"pid": os.getpid()}

def eat(event, context):
    kept = []
    while True:
        kept.append(b"x" * (1 << 20))

def burn(event, context):
    wall, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < event["cpu_s"]:
        pass
    return {"wall_s": time.perf_counter() - wall}

def large(event, context):
    return "x" * event["bytes"]

def child(event, context):
    return {"pid": subprocess.Popen([sys.executable, "-S", "-c", "import threading; threading.Event().wait()"]).pid}

def handler(event, context):
    return globals()[event["do"]](event, context)
"""


class Watch:
    """Every scheduler event, and a way to wait for one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not met():
                self._news.clear()
                await self._news.wait()

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "fn.py").write_text(HANDLER)
    return tmp_path


MakeSpec = Callable[..., FunctionSpec]


@pytest.fixture
def spec(code: Path) -> MakeSpec:
    def make(**changes: Any) -> FunctionSpec:
        fields: dict[str, Any] = {
            "name": "fn",
            "handler": "fn.handler",
            "task_root": code,
            "python_path": (str(code), *import_roots("awslambdaric")),
            "env": {},
        }
        return FunctionSpec(**{**fields, **changes})

    return make


@asynccontextmanager
async def opened(spec: FunctionSpec, **options: Any) -> AsyncIterator[tuple[Pool, Watch]]:
    watch = Watch()
    pool = Pool(spec, emit=watch, **options)
    try:
        yield pool, watch
    finally:
        await pool.close()
        assert pool.environments == ()
        assert _processes_in(spec.task_root) == []


def _processes_in(task_root: Path) -> list[int]:
    """Processes that run this function: none may outlive its pool, not even as a zombie."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"LAMBDA_TASK_ROOT={task_root}".encode() in environ:
                found.append(int(entry.name))
    return found


async def ended(pid: int) -> None:
    """Wait for the end of a process that need not be our child."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        assert await asyncio.to_thread(poll.poll, WAIT_S * 1000), f"process {pid} still runs"
    finally:
        os.close(pidfd)


async def call(pool: Pool, do: str, **event: Any) -> Answer:
    async with asyncio.timeout(WAIT_S):
        return await pool.invoke(orjson.dumps({"do": do, **event}))


async def value(pool: Pool, do: str, **event: Any) -> Any:
    answer = await call(pool, do, **event)
    assert answer.error is None, answer.error
    return orjson.loads(answer.payload)


BOTH = pytest.mark.parametrize("mode", [StartMode.ONDEMAND, StartMode.SNAPSTART])


# ---------------------------------------------------------------------- the programming model


@BOTH
async def test_a_function_sees_what_lambda_shows_it(spec: MakeSpec, mode: StartMode) -> None:
    function = spec(start_mode=mode, memory_mb=512, timeout_s=9.0, env={"MINE": "yes"})
    async with opened(function) as (pool, watch):
        answer = await call(pool, "echo", text="grüß dich")
        seen = orjson.loads(answer.payload)
        variables = (await value(pool, "who"))["variables"]
        assert seen["event"] == {"do": "echo", "text": "grüß dich"}
        assert 8000 < seen["remaining"] <= 9000
        assert seen["arn"] == function.arn
        assert seen["memory"] == "512"
        assert variables["MINE"] == "yes"
        assert variables["_HANDLER"] == "fn.handler"
        assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
        assert variables["AWS_LAMBDA_INITIALIZATION_TYPE"] == (
            "snap-start" if mode is StartMode.SNAPSTART else "on-demand"
        )
        assert "HOME" not in variables
        first, *_ = watch.events
        assert isinstance(first, EnvironmentStarting)
        assert [type(e) for e in watch.events[1:4]] == [EnvironmentReady, EnvironmentBusy, EnvironmentReady]


@BOTH
async def test_a_function_is_told_what_its_caller_says_of_the_call(spec: MakeSpec, mode: StartMode) -> None:
    told = Call("request-1", "arn:aws:lambda:us-east-1:000000000000:function:fn:live", "Root=1-2-3;Sampled=1")
    async with opened(spec(start_mode=mode)) as (pool, _), asyncio.timeout(WAIT_S):
        seen = orjson.loads((await pool.invoke(b'{"do": "echo"}', call=told)).payload)
        traced = orjson.loads((await pool.invoke(b'{"do": "say", "text": ""}', call=told)).payload)
    assert (seen["id"], seen["arn"]) == (told.id, told.arn)
    assert traced == {"trace": told.trace}


@BOTH
async def test_what_a_function_writes_is_heard_before_what_comes_of_it(spec: MakeSpec, mode: StartMode) -> None:
    heard = bytearray()
    async with opened(spec(start_mode=mode), output=heard.extend) as (pool, _):
        await call(pool, "say", text="an answer comes")
        assert heard.decode() == "an answer comes\n"
        with pytest.raises(EnvironmentLost) as lost:
            await call(pool, "leave", text="none comes")
        assert heard.decode() == "an answer comes\nnone comes\n"
    if mode is StartMode.ONDEMAND:
        assert lost.value.reason == "Runtime exited with status 3"


@BOTH
async def test_environments_are_started_ahead_of_requests(spec: MakeSpec, mode: StartMode) -> None:
    async with opened(spec(start_mode=mode, concurrency=2)) as (pool, watch), asyncio.timeout(WAIT_S):
        await pool.warm(2)
        await pool.warm(1)
        assert pool.status().idle == 2
        assert not (await call(pool, "echo")).cold
        with pytest.raises(Throttled):
            await pool.warm(3)
    assert len(watch.of(EnvironmentStarting)) == 2


async def test_an_environment_that_cannot_start_ahead_says_why_in_the_client_s_words(spec: MakeSpec) -> None:
    async with opened(spec(env={"INIT": "raise"})) as (pool, _), asyncio.timeout(WAIT_S):
        with pytest.raises(InitFailed) as failed:
            await pool.warm(1)
    assert orjson.loads(failed.value.document)["errorType"] == "KeyError"


@BOTH
async def test_the_first_invocation_is_cold_and_the_next_is_warm(spec: MakeSpec, mode: StartMode) -> None:
    async with opened(spec(start_mode=mode)) as (pool, _):
        cold, warm = await call(pool, "echo"), await call(pool, "echo")
        assert cold.cold
        assert cold.init_ms > 0
        assert not warm.cold
        assert warm.init_ms == 0
        assert cold.environment == warm.environment
        assert warm.billed_ms >= warm.duration_ms > 0
        assert warm.billed_ms == int(warm.billed_ms)
        assert 5 < warm.peak_mb < 200


async def test_a_handlers_error_is_an_answer_and_the_environment_lives_on(spec: MakeSpec) -> None:
    async with opened(spec()) as (pool, _):
        failed = await call(pool, "fail", text="not today")
        after = await call(pool, "echo")
        assert failed.error is not None
        assert (failed.error.kind, failed.error.message) == ("ValueError", "not today")
        assert "fn.py" in failed.error.stack[-1]
        assert after.error is None
        assert after.environment == failed.environment


async def test_payloads_up_to_the_limit_pass_and_larger_ones_are_refused(spec: MakeSpec) -> None:
    async with opened(spec()) as (pool, watch):
        size = PAYLOAD_LIMIT - 2
        answer = await call(pool, "large", bytes=size)
        assert answer.payload == b'"' + b"x" * size + b'"'
        text = "y" * (PAYLOAD_LIMIT - 1000)
        assert (await value(pool, "echo", text=text))["event"]["text"] == text
        with pytest.raises(ExecutionFailed, match="over Lambda's limit"):
            await pool.invoke(b'"' + b"z" * PAYLOAD_LIMIT + b'"')
        over = await call(pool, "large", bytes=PAYLOAD_LIMIT)
        assert over.error is not None
        assert over.error.kind == "Function.ResponseSizeTooLarge"
        # The runtime client cannot survive a refused response; the next request gets a new environment.
        await watch.until(lambda: len(watch.of(EnvironmentGone)) == 1)
        assert (await call(pool, "echo")).cold


async def test_the_runtime_api_refuses_what_does_not_fit_the_state(spec: MakeSpec) -> None:
    async with opened(spec()) as (pool, _):
        await call(pool, "echo")
        (environment,) = pool.environments
        job = Job(b"{}", asyncio.get_running_loop().create_future())
        environment.kill("test")
        with pytest.raises(IllegalTransition, match="gone"):
            environment.run(job)
        assert environment.state is State.GONE


# ---------------------------------------------------------------------- ends


@BOTH
async def test_a_crash_is_known_at_once_with_the_functions_last_words(spec: MakeSpec, mode: StartMode) -> None:
    async with opened(spec(start_mode=mode, timeout_s=900)) as (pool, watch):
        with pytest.raises(EnvironmentLost, match="my last words"):
            await call(pool, "leave", text="my last words")
        with pytest.raises(EnvironmentLost):
            await call(pool, "die")
        assert [event.environment for event in watch.of(EnvironmentGone)] == [
            event.environment for event in watch.of(EnvironmentStarting)
        ]
        assert (await value(pool, "echo"))["event"] == {"do": "echo"}


async def test_an_environment_killed_from_outside_while_idle_is_not_used_again(spec: MakeSpec) -> None:
    async with opened(spec()) as (pool, watch):
        pid = (await value(pool, "who"))["pid"]
        os.kill(pid, signal.SIGKILL)
        await watch.until(lambda: len(watch.of(EnvironmentGone)) == 1)
        assert watch.of(EnvironmentGone)[0].reason == "killed by SIGKILL"
        assert (await value(pool, "who"))["pid"] != pid


@BOTH
async def test_a_timeout_kills_the_environment_and_says_so(spec: MakeSpec, mode: StartMode, code: Path) -> None:
    async with opened(spec(start_mode=mode, timeout_s=0.3)) as (pool, watch):
        with pytest.raises(TimedOut, match=r"Task timed out after 0\.30 seconds"):
            await call(pool, "hang", touch=str(code / "hung"))
        assert watch.of(EnvironmentGone)[0].reason == "timed out"
        assert (await call(pool, "echo")).cold


@BOTH
async def test_a_failing_init_is_reported_with_its_reason(spec: MakeSpec, mode: StartMode) -> None:
    async with opened(spec(start_mode=mode, env={"INIT": "raise"})) as (pool, _):
        with pytest.raises(NotReady, match=r"KeyError.*no such setting"):
            await call(pool, "echo")
        with pytest.raises(NotReady, match="KeyError"):
            await call(pool, "echo")


async def test_a_missing_handler_is_reported_as_lambda_does(spec: MakeSpec) -> None:
    async with opened(spec(handler="nowhere.handler")) as (pool, _):
        with pytest.raises(NotReady, match=r"Runtime\.ImportModuleError: Unable to import module 'nowhere'"):
            await call(pool, "echo")


@BOTH
async def test_an_init_that_leaves_is_reported_with_its_log(spec: MakeSpec, mode: StartMode) -> None:
    async with opened(spec(start_mode=mode, env={"INIT": "exit"})) as (pool, _):
        with pytest.raises(NotReady, match="status 7\nleaving early"):
            await call(pool, "echo")


@BOTH
async def test_an_init_that_hangs_is_ended_at_the_limit(spec: MakeSpec, mode: StartMode) -> None:
    async with opened(spec(start_mode=mode, env={"INIT": "hang"}, init_timeout_s=0.3)) as (pool, _):
        with pytest.raises(NotReady, match=r"timed out after 0\.30 seconds"):
            await call(pool, "echo")


async def test_processes_that_a_function_leaves_behind_end_with_it(spec: MakeSpec) -> None:
    async with opened(spec()) as (pool, _):
        grandchild = (await value(pool, "child"))["pid"]
        with pytest.raises(EnvironmentLost):
            await call(pool, "die")
        await ended(grandchild)


@BOTH
def test_environments_die_with_the_gateway(spec: MakeSpec, mode: StartMode, code: Path) -> None:
    program = code / "gateway_program.py"
    program.write_text(
        textwrap.dedent(f"""
        import asyncio, json
        from pathlib import Path
        from gateway.environments.pool import Pool
        from gateway.environments.spec import FunctionSpec, import_roots
        from registry.model import StartMode

        async def main():
            spec = FunctionSpec(name="fn", handler="fn.handler", task_root=Path({str(code)!r}),
                                python_path=({str(code)!r}, *import_roots("awslambdaric")),
                                start_mode=StartMode({mode.value!r}))
            pool = Pool(spec, emit=lambda event: None)
            answer = await pool.invoke(b'{{"do": "who"}}')
            print(json.loads(answer.payload)["pid"], flush=True)
            await asyncio.Event().wait()

        asyncio.run(main())
        """)
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(import_roots("gateway"))}
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, env=environ) as gateway:
        assert gateway.stdout is not None
        pid = int(gateway.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        gateway.kill()
    asyncio.run(ended(pid))
    Shares().close()  # the next gateway removes what this one left


# ---------------------------------------------------------------------- the pool


async def _hold(pool: Pool, watch: Watch, code: Path, name: str) -> tuple[asyncio.Task[Answer], Path]:
    """An invocation that runs until its gate file exists; returns once it runs."""
    busy = len(watch.of(EnvironmentBusy))
    gate = code / f"{name}.gate"
    payload = orjson.dumps({"do": "meet", "touch": str(code / f"{name}.in"), "until": str(gate)})
    task = asyncio.create_task(pool.invoke(payload))
    await watch.until(lambda: len(watch.of(EnvironmentBusy)) == busy + 1)
    return task, gate


async def test_one_request_at_a_time_and_no_more_environments_than_allowed(spec: MakeSpec, code: Path) -> None:
    async with opened(spec(concurrency=2)) as (pool, watch):
        first, gate_1 = await _hold(pool, watch, code, "1")
        second, gate_2 = await _hold(pool, watch, code, "2")
        assert (pool.status().busy, pool.status().idle) == (2, 0)
        with pytest.raises(Throttled, match="all 2 environments are busy"):
            await call(pool, "echo")
        gate_1.touch()
        gate_2.touch()
        answers = await asyncio.gather(first, second)
        assert answers[0].environment != answers[1].environment
        assert len(watch.of(EnvironmentStarting)) == 2


async def test_a_queue_takes_in_what_finds_every_environment_busy(spec: MakeSpec, code: Path) -> None:
    async with opened(spec(concurrency=1, queue=2)) as (pool, watch):
        first, gate = await _hold(pool, watch, code, "1")
        waiting = [asyncio.create_task(call(pool, "echo")) for _ in range(2)]
        await asyncio.sleep(0)
        assert pool.status().waiting == 2
        with pytest.raises(Throttled, match="all 1 environments are busy"):
            await call(pool, "echo")
        waiting[1].cancel()
        await asyncio.sleep(0)
        assert pool.status().waiting == 1
        gate.touch()
        answers = await asyncio.gather(first, waiting[0])
        assert len({answer.environment for answer in answers}) == 1
        assert not answers[1].cold
        assert len(watch.of(EnvironmentStarting)) == 1


async def test_a_request_that_waits_for_a_start_takes_whichever_environment_is_free_first(
    spec: MakeSpec, code: Path
) -> None:
    async with opened(spec(concurrency=2)) as (pool, watch):
        busy, gate = await _hold(pool, watch, code, "1")
        gate.touch()
        waiting = asyncio.create_task(call(pool, "echo"))
        old, new = await asyncio.gather(busy, waiting)
        await watch.until(lambda: pool.status().starting == 0)
        # It was answered once, by the old environment if that was free first; the other one is idle and not lost.
        assert new.cold == (new.environment != old.environment)
        await watch.until(lambda: pool.status().busy == 0)
        assert pool.status().idle == len(pool.environments)


async def test_the_most_recently_used_environment_is_taken_unless_another_holds_what_is_wanted(
    spec: MakeSpec, code: Path
) -> None:
    async with opened(spec()) as (pool, watch):
        holds = [await _hold(pool, watch, code, str(n)) for n in range(3)]
        order = []
        for task, gate in holds:
            gate.touch()
            order.append((await task).environment)
            await watch.until(lambda: pool.status().idle == len(order))
        by_id = {environment.id: environment for environment in pool.environments}
        by_id[order[0]].resident = frozenset({"digits/mlp"})
        assert (await call(pool, "echo")).environment == order[2]
        await watch.until(lambda: pool.status().idle == 3)
        wanted = await pool.invoke(b'{"do": "echo"}', want="digits/mlp")
        assert wanted.environment == order[0]
        assert pool.status().resident == {"digits/mlp": 1}


async def test_idle_environments_expire_by_the_clock(spec: MakeSpec) -> None:
    clock = Clock()
    async with opened(spec(idle_timeout_s=300.0), clock=clock) as (pool, watch):
        await call(pool, "echo")
        await watch.until(lambda: pool.status().idle == 1)
        clock.now += 299.0
        assert pool.expire() == 0
        clock.now += 1.0
        assert pool.expire() == 1
        assert watch.of(EnvironmentGone)[0].reason == "idle too long"
        assert pool.environments == ()


async def test_the_pool_expires_idle_environments_by_itself(spec: MakeSpec) -> None:
    async with opened(spec(idle_timeout_s=0.1)) as (pool, watch):
        await call(pool, "echo")
        await watch.until(lambda: len(watch.of(EnvironmentGone)) == 1)
        assert watch.of(EnvironmentGone)[0].reason == "idle too long"


async def test_a_caller_that_goes_away_leaks_nothing(spec: MakeSpec, code: Path) -> None:
    async with opened(spec(concurrency=1)) as (pool, watch):
        running, gate = await _hold(pool, watch, code, "1")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert pool.status().busy == 1
        gate.touch()
        await watch.until(lambda: pool.status().idle == 1)
        assert (await value(pool, "echo"))["event"] == {"do": "echo"}


async def test_a_caller_that_goes_away_while_waiting_gives_up_its_place(spec: MakeSpec) -> None:
    async with opened(spec(concurrency=1)) as (pool, watch):
        waiting = asyncio.create_task(pool.invoke(b'{"do": "echo"}'))
        await watch.until(lambda: pool.status().waiting == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert pool.status().waiting == 0
        await watch.until(lambda: pool.status().idle == 1)
        assert watch.of(EnvironmentBusy) == []
        assert (await call(pool, "echo")).cold is False


async def test_ensure_warms_exactly_what_is_missing_and_release_shrinks(spec: MakeSpec) -> None:
    def holds(answer: Answer) -> frozenset[str]:
        return frozenset({"digits/mlp"})

    async with opened(spec(concurrency=3)) as (pool, watch):
        assert len(await pool.ensure("digits/mlp", 2, b'{"do": "echo"}', observe=holds)) == 2
        assert await pool.ensure("digits/mlp", 2, b'{"do": "echo"}', observe=holds) == []
        await watch.until(lambda: pool.status().idle == 2)
        assert pool.status().resident == {"digits/mlp": 2}
        assert watch.of(EnvironmentReady)[-1].resident == ("digits/mlp",)
        with pytest.raises(Throttled, match="4 copies exceed the limit of 3"):
            await pool.ensure("digits/mlp", 4, b'{"do": "echo"}', observe=holds)
        await pool.release(1)
        assert pool.status().idle == 1


@BOTH
async def test_new_code_runs_from_the_next_start_on_and_busy_environments_finish(
    spec: MakeSpec, mode: StartMode, code: Path
) -> None:
    function = spec(start_mode=mode, env={"VERSION": "1"})
    async with opened(function) as (pool, watch):
        running, gate = await _hold(pool, watch, code, "1")
        idle = await value(pool, "who")
        await pool.update(spec(start_mode=mode, env={"VERSION": "2"}))
        assert (await value(pool, "who"))["variables"]["VERSION"] == "2"
        await ended(idle["pid"])
        gate.touch()
        assert (await running).error is None
        await watch.until(lambda: [e.reason for e in watch.of(EnvironmentGone)] == ["replaced", "replaced"])
        assert (await value(pool, "who"))["variables"]["VERSION"] == "2"


async def test_new_code_that_cannot_be_prepared_changes_nothing(spec: MakeSpec) -> None:
    async with opened(spec(start_mode=StartMode.SNAPSTART)) as (pool, _):
        before = await value(pool, "who")
        with pytest.raises(NotReady, match="KeyError"):
            await pool.update(spec(start_mode=StartMode.SNAPSTART, env={"INIT": "raise"}))
        assert (await value(pool, "who"))["pid"] == before["pid"]


async def test_closing_settles_every_request(spec: MakeSpec, code: Path) -> None:
    async with opened(spec(concurrency=2)) as (pool, watch):
        running, _ = await _hold(pool, watch, code, "1")
        waiting = asyncio.create_task(pool.invoke(b'{"do": "echo"}'))
        await watch.until(lambda: pool.status().waiting == 1)
        await pool.close()
        outcomes = await asyncio.gather(running, waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [EnvironmentLost, EnvironmentLost]
        with pytest.raises(NotReady, match="closed"):
            await call(pool, "echo")


async def test_many_requests_with_crashes_between_them_each_have_one_outcome(spec: MakeSpec) -> None:
    async with opened(spec(concurrency=3)) as (pool, watch):
        outcomes: list[str] = []
        deaths = [(number, turn) for number in range(3) for turn in range(12) if (number + turn) % 4 == 0]

        async def client(number: int) -> None:
            for turn in range(12):
                try:
                    seen = await value(pool, "die" if (number, turn) in deaths else "echo", n=[number, turn])
                    assert seen["event"]["n"] == [number, turn]
                    outcomes.append("answered")
                except EnvironmentLost:
                    outcomes.append("lost")

        await asyncio.gather(*(client(number) for number in range(3)))
        assert len(outcomes) == 36
        assert outcomes.count("lost") == len(deaths) == 9
        assert len(watch.of(EnvironmentGone)) == 9


# ---------------------------------------------------------------------- freeze, CPU share, memory cap


async def stopped(pid: int) -> None:
    """Wait until a child of ours is stopped by a signal."""

    def wait() -> int:
        seen = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return seen.si_status if seen is not None else 0

    async with asyncio.timeout(WAIT_S):
        assert await asyncio.to_thread(wait) == signal.SIGSTOP


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("kind", ["best", "duty-cycle"])
async def test_an_idle_environment_is_frozen_and_a_busy_one_is_not(spec: MakeSpec, kind: str) -> None:
    shares = Shares(None if kind == "best" else kind)
    async with opened(spec(), shares=shares) as (pool, watch):
        pid = (await value(pool, "who"))["pid"]
        await watch.until(lambda: pool.status().idle == 1)
        await stopped(pid)
        assert _state(pid) == "T"
        assert (await value(pool, "who"))["pid"] == pid
    shares.close()


async def test_freezing_can_be_turned_off(spec: MakeSpec) -> None:
    async with opened(spec(freeze=False)) as (pool, watch):
        pid = (await value(pool, "who"))["pid"]
        await watch.until(lambda: pool.status().idle == 1)
        assert _state(pid) != "T"


@pytest.mark.parametrize("kind", ["best", "duty-cycle"])
async def test_a_quarter_of_a_vcpu_takes_about_four_times_as_long(spec: MakeSpec, kind: str) -> None:
    shares = Shares(None if kind == "best" else kind)
    async with opened(spec(memory_mb=442), shares=shares) as (pool, _):
        await call(pool, "echo")
        slow = (await value(pool, "burn", cpu_s=0.15))["wall_s"]
        assert 2.4 < slow / 0.15 < 8.0
    shares.close()


@pytest.mark.parametrize("kind", ["best", "duty-cycle", "none"])
async def test_memory_over_the_size_ends_the_environment(spec: MakeSpec, kind: str) -> None:
    shares = Shares(None if kind == "best" else kind)
    async with opened(spec(memory_mb=128), shares=shares) as (pool, _):
        with pytest.raises(EnvironmentLost, match="out of memory at 128 MB"):
            await call(pool, "eat")
        assert (await call(pool, "echo")).cold
    shares.close()


# ---------------------------------------------------------------------- snapshots


async def test_copies_of_a_snapshot_share_init_and_differ_in_everything_random(spec: MakeSpec, code: Path) -> None:
    async with opened(spec(start_mode=StartMode.SNAPSTART, concurrency=2)) as (pool, _):
        await pool.prepare()
        first = await value(pool, "who")
        await pool.release()
        second = await value(pool, "who")
        assert first["pid"] != second["pid"]
        assert first["group"] == first["pid"]
        assert first["seed"] == second["seed"]
        assert first["random"] != second["random"]
        assert first["uuid"] != second["uuid"]
        assert first["hooks"] == second["hooks"] == ["before 2", "before 1", "after"]
        apis = {seen["variables"]["AWS_LAMBDA_RUNTIME_API"] for seen in (first, second)}
        assert len(apis) == 2


async def test_a_template_that_dies_takes_its_copies_along_and_is_started_again(spec: MakeSpec) -> None:
    function = spec(start_mode=StartMode.SNAPSTART)
    template = Template(function)
    async with opened(function, starter=template) as (pool, watch):
        before = (await value(pool, "who"))["pid"]
        assert template.pid is not None
        os.kill(template.pid, signal.SIGKILL)
        await watch.until(lambda: len(watch.of(EnvironmentGone)) == 1)
        await ended(before)
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    after = (await value(pool, "who"))["pid"]
                    break
                except NotReady:  # asked before the end of the template was known
                    continue
        assert after != before


async def test_a_template_with_threads_refuses_to_fork(spec: MakeSpec) -> None:
    async with opened(spec(start_mode=StartMode.SNAPSTART, env={"INIT": "thread"})) as (pool, _):
        with pytest.raises(NotReady, match="the template has 2 threads after INIT"):
            await call(pool, "echo")


async def test_a_failing_restore_hook_is_reported(spec: MakeSpec) -> None:
    async with opened(spec(start_mode=StartMode.SNAPSTART, env={"INIT": "restore-raises"})) as (pool, _):
        with pytest.raises(NotReady, match="restore failed: ZeroDivisionError"):
            await call(pool, "echo")


async def test_starting_is_quick_to_refuse_a_missing_interpreter(spec: MakeSpec) -> None:
    started = time.monotonic()
    async with opened(spec(python="/nowhere/python")) as (pool, _):
        with pytest.raises(NotReady, match="/nowhere/python"):
            await call(pool, "echo")
    assert time.monotonic() - started < WAIT_S
