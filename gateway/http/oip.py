"""The Open Inference Protocol v2 under /v2: every task is a model, hints are flat parameters; knows no variants.

Source: kserve/open-inference-protocol, `specification/protocol/inference_rest.md`; the repository index is Triton's
`extension_model_repository.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.decisions import Served
from gateway.errors import BadRequest, UnknownTask, Unprocessable
from gateway.http.errors import oip_refusal
from gateway.http.face import Face, off_loop, size_of
from registry.model import Slo, Task
from runtime.codecs.text import dumps
from runtime.codecs.v2 import InferRequest, Parameters, check_outputs, parse_request, render_response

NAME = "modelless"
VERSION = "1"
"""A task has one version for its callers: variants come and go beneath it."""

LENGTH_HEADER = "inference-header-content-length"
LENGTH_DIGITS = 18
HINTS = frozenset(field.name for field in fields(Slo))
OTHERS = frozenset(
    {"sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers", "binary_data_output"}
)
"""Parameters that clients of other servers send and that are no hints (Triton, `extension_parameters.md`)."""


class Oip:
    """The endpoints of /v2."""

    def __init__(self, face: Face, *, version: str) -> None:
        self._face = face
        self._service = face.service
        self._version = version

    def routes(self) -> list[Route]:
        """The busiest first: routes are matched in order."""
        table = []
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            table += [
                (f"{model}/infer", self.infer, "POST"),
                (f"{model}/ready", self.model_ready, "GET"),
                (model, self.model, "GET"),
            ]
        table += [
            ("/v2/health/live", self.live, "GET"),
            ("/v2/health/ready", self.ready, "GET"),
            ("/v2/repository/index", self.index, "POST"),
            ("/v2/", self.server, "GET"),
            ("/v2", self.server, "GET"),
        ]
        public = (self.live, self.ready, self.server)
        return [
            Route(path, self._face.guarded(endpoint, oip_refusal, public=endpoint in public), methods=[method])
            for path, endpoint, method in table
        ]

    async def infer(self, request: Request) -> Response:
        """Tensors to tensors, in JSON, binary or both."""
        arrived = self._face.clock()
        task = self._task(request)
        length = _header_length(request)
        body = await self._face.body(request)
        infer = await off_loop(len(body), lambda: parse_request(body, length))
        check_outputs(task.outputs, infer)
        answer = await self._service.predict(
            self._face.principal(request), task.name, infer.inputs, _hints(infer), id=infer.id, arrived=arrived
        )
        parameters = _parameters(answer.decision)
        rendered, header_length = await off_loop(
            size_of(answer.outputs),
            lambda: render_response(task.name, answer.outputs, infer, version=VERSION, parameters=parameters),
        )
        headers = {"x-decision-id": answer.decision.decision_id}
        if header_length is None:
            return Response(rendered, 200, headers, "application/json")
        headers[LENGTH_HEADER] = str(header_length)
        return Response(rendered, 200, headers, "application/octet-stream")

    async def model(self, request: Request) -> Response:
        """A task's metadata."""
        task = self._task(request)
        document = {
            "name": task.name,
            "versions": [VERSION],
            "platform": "onnx_onnxv1",
            "inputs": [_tensor(spec.name, spec.datatype, spec.shape) for spec in task.inputs],
            "outputs": [_tensor(spec.name, spec.datatype, spec.shape) for spec in task.outputs],
        }
        return _json(document)

    async def model_ready(self, request: Request) -> Response:
        """Whether any placement of the task can run now."""
        task = self._task(request)
        decision = self._service.plan(self._face.principal(request), task.name, {"on_infeasible": "best_effort"})
        ready = bool(decision.ranked)
        return _json({"name": task.name, "ready": ready}, 200 if ready else 503)

    async def server(self, request: Request) -> Response:
        """The server's metadata."""
        extensions = ["binary_tensor_data", "slo_hints"]
        return _json({"name": NAME, "version": self._version, "extensions": extensions})

    async def live(self, request: Request) -> Response:
        """Whether the server answers."""
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether it takes requests: it listens only once it does."""
        return _json({"ready": True})

    async def index(self, request: Request) -> Response:
        """The caller's tasks as a model repository."""
        tasks = self._service.tasks(self._face.principal(request))
        return _json([{"name": t.name, "version": VERSION, "state": "READY", "reason": ""} for t in tasks])

    def _task(self, request: Request) -> Task:
        version = request.path_params.get("version", VERSION)
        task = self._service.task(self._face.principal(request), request.path_params["model"])
        if version != VERSION:
            raise UnknownTask(f"model {task.name!r} has version {VERSION} only", task=task.name)
        return task


def _header_length(request: Request) -> int | None:
    given = request.headers.get(LENGTH_HEADER)
    if given is None:
        return None
    # A longer number is more than any body has, and more digits than int() reads.
    if not given.isdecimal() or len(given) > LENGTH_DIGITS:
        raise BadRequest(f"Inference-Header-Content-Length is {given[:40]!r}, not a number of bytes")
    return int(given)


def _hints(infer: InferRequest) -> dict[str, Any]:
    for name in infer.parameters:
        if name not in HINTS and name not in OTHERS and not name.startswith("triton_"):
            raise Unprocessable(
                f"parameters.{name[:80]}: is not a hint; use {', '.join(sorted(HINTS))}", field=name[:80]
            )
    return {name: value for name, value in infer.parameters.items() if name in HINTS}


def _parameters(served: Served) -> Parameters:
    """The decision as the protocol's flat parameters."""
    return {
        "decision_id": served.decision_id,
        "variant": served.variant,
        "tier": served.tier,
        "predicted_latency_ms": served.predicted_latency_ms,
        "latency_ms": served.latency_ms,
        "accuracy": served.accuracy,
        "cost_usd": served.cost_usd,
        "cold_start": served.cold_start,
        "slo_met": served.slo_met,
        "broken": ",".join(served.broken),
    }


def _tensor(name: str, datatype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape)}


def _json(document: Mapping[str, Any] | list[Any], status: int = 200) -> Response:
    return Response(dumps(document), status, media_type="application/json")
