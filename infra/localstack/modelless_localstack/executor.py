"""LocalStack's Lambda executor over gateway.environments: one environment each; which one runs what is LocalStack's.

LocalStack counts concurrency, assigns invocations and keeps what is idle; a pool of one brings an environment that
crashed or timed out up again. Two variables say what runs the functions, whatever runtime they name:
MODELLESS_RUNTIME_PYTHON, the interpreter, and MODELLESS_RUNTIME_PACKAGES, the folder with the runtime client.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from weakref import WeakSet

from localstack import config
from localstack.runtime import hooks
from localstack.services.lambda_.invocation.executor_endpoint import StatusErrorException
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

from gateway.environments.cpu_share import Shares
from gateway.environments.invocation import Call
from gateway.environments.pool import Pool
from gateway.environments.spec import FunctionSpec
from gateway.errors import BackendError
from modelless_localstack.loop import loop_thread
from modelless_localstack.outcomes import Outcome, answered, failed, log_of

HOST = "127.0.0.1"
FIRST = 100
"""Of shutdown hooks; LocalStack's own have priorities of 0 and below."""

NEVER_S = 1e9
"""LocalStack ends what is idle for too long (LAMBDA_KEEPALIVE_MS)."""


class EnvironmentExecutor(RuntimeExecutor):
    """One execution environment, as LocalStack drives it: from threads, one invocation at a time."""

    def __init__(self, id: str, function_version: FunctionVersion) -> None:  # noqa: A002 - LocalStack's name for it
        super().__init__(id=id, function_version=function_version)
        self._pool: Pool | None = None
        self._written = bytearray()
        self._init_ms = 0.0
        executors.add(self)

    def start(self, env_vars: dict[str, str]) -> None:
        """Run INIT. Raises StatusErrorException with the document that an invocation then answers."""
        loop_thread().run(self._open(spec_of(self.function_version, env_vars)))

    def stop(self) -> None:
        """End it, and what it is running."""
        if self._pool is not None:
            loop_thread().run(self._pool.close())

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        """Run the function once."""
        request_id = payload["invoke-id"]
        outcome = loop_thread().run(self._run(payload))
        written = self._written.decode("utf-8", "replace")
        self._written.clear()
        log = log_of(outcome, written, request_id, self.function_version.id.qualifier)
        return InvocationResult(request_id, outcome.payload, is_error=outcome.failed, logs=log)

    def get_logs(self) -> str:
        """What was written since the last invocation."""
        return self._written.decode("utf-8", "replace")

    def get_address(self) -> str:
        """Where the environment is."""
        return HOST

    def get_endpoint_from_executor(self) -> str:
        """Where LocalStack is, as functions see it."""
        return HOST

    def get_runtime_endpoint(self) -> str:
        """Where LocalStack's own Lambda init would report to; there is none here."""
        return f"http://{HOST}:{config.GATEWAY_LISTEN[0].port}/_localstack_lambda/{self.id}"

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        """Unzip the code."""
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """LocalStack removes the code when no version uses it any more."""

    async def _open(self, spec: FunctionSpec) -> None:
        pool = self._pool = Pool(spec, emit=lambda _: None, shares=shares(), output=self._written.extend)
        try:
            await pool.warm(1)
        except BackendError as fault:
            await pool.close()
            raise StatusErrorException(str(fault), failed(fault, "").payload) from fault
        self._init_ms = max(environment.init_ms for environment in pool.environments)

    async def _run(self, payload: dict[str, str]) -> Outcome:
        assert self._pool is not None
        request_id = payload["invoke-id"]
        call = Call(request_id, payload["invoked-function-arn"], payload["trace-id"])
        init_ms, self._init_ms = self._init_ms, 0.0
        try:
            answer = await self._pool.invoke(payload["payload"].encode(), call=call)
        except BackendError as fault:
            return failed(fault, request_id)
        return answered(
            answer, request_id, init_ms=answer.init_ms or init_ms, memory_mb=self.function_version.config.memory_size
        )


class EnvironmentExecutorPlugin(RuntimeExecutorPlugin):
    """What LocalStack loads for LAMBDA_RUNTIME_EXECUTOR=modelless."""

    name = "modelless"

    def load(self) -> type[RuntimeExecutor]:
        """The executor."""
        return EnvironmentExecutor


executors: WeakSet[EnvironmentExecutor] = WeakSet()


@functools.cache
def shares() -> Shares:
    """CPU shares and memory caps of all functions."""
    return Shares()


@hooks.on_infra_shutdown(priority=FIRST)
def end_environments() -> None:
    """End every environment and remove its control group, before whatever takes longer or does not end."""
    for executor in list(executors):
        executor.stop()
    shares().close()


def spec_of(version: FunctionVersion, variables: dict[str, str]) -> FunctionSpec:
    """A function's version as our environments take it; `variables` are those that LocalStack wants it to have."""
    code = Path(version.config.code.get_unzipped_code_location())
    packages = os.environ["MODELLESS_RUNTIME_PACKAGES"]
    own = {
        "LAMBDA_TASK_ROOT": str(code),
        "LAMBDA_RUNTIME_DIR": packages,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{version.config.runtime}",
    }
    return FunctionSpec(
        name=version.id.function_name,
        handler=version.config.handler,
        task_root=code,
        python_path=(str(code), packages),
        env={**{name: str(value) for name, value in variables.items()}, **own},
        memory_mb=version.config.memory_size,
        timeout_s=version.config.timeout,
        init_timeout_s=config.LAMBDA_RUNTIME_ENVIRONMENT_TIMEOUT,
        concurrency=1,
        idle_timeout_s=NEVER_S,
        python=os.environ["MODELLESS_RUNTIME_PYTHON"],
    )
