"""The template's functions, each from its artefact under AWS's runtime client, over an emulator's account; on loopback.

What a function is told is what template.yaml says: handler, memory, timeout, variables. Only the endpoints of AWS are
added. CPU shares are left out, as they are not what is rehearsed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from benchmarks.deployed import deployed
from gateway.environments.cpu_share import Shares
from gateway.environments.pool import Pool
from gateway.environments.spec import FunctionSpec
from infra.rehearsal.invoke_api import Function, InvokeApi
from infra.rehearsal.resources import Names, Resources, make, of_type
from modelless_localstack.loop import LoopThread

INIT_LIMIT_S = 60.0
"""Six times Lambda's: what is rehearsed here shares a few cores with everything else that runs."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A stack as it would be deployed, and what runs it."""

    names: Names
    outputs: Mapping[str, str]
    endpoints: Mapping[str, str]
    """Variables with which boto3, wherever it runs, finds this account."""
    functions: Mapping[str, Function]
    """By logical id."""
    loop: LoopThread

    def written(self, function: str) -> str:
        """What a function's environments have written so far."""
        return self.functions[function].written.decode("utf-8", "replace")

    def forget(self, function: str) -> None:
        """End a function's environments, as an update of it would: the next invocation starts one."""
        self.loop.run(self.functions[function].pool.release(0))


@contextmanager
def rehearse(
    template: Path,
    artefacts: Path,
    runtime: Path,
    *,
    python: str,
    endpoint: str,
    clients: Mapping[str, Any],
    **parameters: str,
) -> Iterator[Rehearsal]:
    """The template's functions from `artefacts` (a folder for each handler's room), until the block ends.

    `runtime` is a folder with the runtime client, and `python` runs it. `endpoint` is the emulator's, for all services
    but Lambda; `clients` are boto3's on it.
    """
    what = deployed(template, **parameters)
    names = make(what["Resources"], clients)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Inherited by connections; asyncio does not see that these are TCP's, and 40 ms a call would be the kernel's.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        endpoints = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "rehearsal",
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
        }
        ground = _Ground(artefacts, runtime, python, endpoints)
        specs = list(_specs(what["Resources"], names, ground))
        loop = LoopThread()
        serving = _serving(specs, listener)
        functions = loop.run(serving.__aenter__())
        try:
            outputs = {name: str(names.resolved(output["Value"])) for name, output in _known(what["Outputs"], names)}
            yield Rehearsal(names, outputs, endpoints, functions, loop)
        finally:
            loop.run(serving.__aexit__(None, None, None))


def _known(outputs: Mapping[str, Any], names: Names) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The outputs of what is rehearsed; front doors and dashboards are not."""
    for name, output in outputs.items():
        try:
            names.resolved(output["Value"])
        except KeyError:
            continue
        yield name, output


@dataclass(frozen=True, slots=True)
class _Ground:
    """What every function stands on."""

    artefacts: Path
    runtime: Path
    python: str
    endpoints: Mapping[str, str]


def _specs(resources: Resources, names: Names, ground: _Ground) -> Iterator[FunctionSpec]:
    for name, resource in of_type(resources, "AWS::Lambda::Function"):
        properties = resource["Properties"]
        root = ground.artefacts / properties["Handler"].split(".")[1]
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: there is no artefact of {name}; `make aws-test` makes it")
        variables = names.resolved(properties["Environment"]["Variables"])
        yield FunctionSpec(
            name=name,
            handler=properties["Handler"],
            task_root=root,
            python_path=(str(root), str(ground.runtime)),
            env={**{key: str(value) for key, value in variables.items()}, **ground.endpoints},
            memory_mb=properties["MemorySize"],
            timeout_s=properties["Timeout"],
            init_timeout_s=INIT_LIMIT_S,
            concurrency=20,
            python=ground.python,
        )


@asynccontextmanager
async def _serving(specs: list[FunctionSpec], listener: socket.socket) -> AsyncIterator[dict[str, Function]]:
    shares = Shares("none")
    functions = {spec.name: _function(spec, shares) for spec in specs}
    api = InvokeApi(functions)
    server = uvicorn.Server(uvicorn.Config(api.app, log_level="warning", lifespan="off"))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield functions
    finally:
        await api.settle()
        server.should_exit = True
        await running
        await asyncio.gather(*(function.pool.close() for function in functions.values()))
        shares.close()


def _function(spec: FunctionSpec, shares: Shares) -> Function:
    written = bytearray()
    return Function(Pool(spec, emit=lambda _: None, shares=shares, output=written.extend), written)
