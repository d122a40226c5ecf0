"""Open Inference Protocol v2 and health over gRPC: a shell over the data plane; never looks into a tensor, nor decides.

Imported only when gRPC is asked for: grpcio is an extra, and takes longer to import than a small model to load.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

from registry.errors import InvalidValue
from runtime.batcher import Outcome
from runtime.codecs.v2 import InferRequest
from runtime.container import inference_pb2 as pb
from runtime.container.errors import foreseen, message, told
from runtime.container.grpc_health import HEALTH, HealthCheckRequest, HealthCheckResponse, checked, watched
from runtime.container.messages import parse_message, parse_parameters, render_message
from runtime.container.plane import Plane, ask_of, keep_of
from runtime.container.quick import parameters_of
from runtime.errors import InvalidBody, Refused, RuntimeFault, UnknownModel

if TYPE_CHECKING:
    from registry.tracing import RequestTracer

log = logging.getLogger(__name__)

SERVICE = "GRPCInferenceService"

DONE = ("ModelInfer", "RepositoryModelLoad", "RepositoryModelUnload")
"""The methods that do something; others look."""

MAX_DETAILS = 2000
"""Most bytes of an error's text: it travels in a header, of which clients take 8 KiB, and what is not ASCII triples."""

M = TypeVar("M")

Answer = Callable[[Any, Any], Awaitable[Any]]
"""Answers a request's message, given the call's context."""


class GrpcServer:
    """A server that listens on `port`."""

    def __init__(self, server: Any, port: int) -> None:
        self._server = server
        self.port = port

    async def stop(self, grace_s: float = 30.0) -> None:
        """Take no more calls, and give those under way so many seconds before they are cancelled."""
        await self._server.stop(grace_s)


async def serve_grpc(
    plane: Plane,
    host: str,
    port: int,
    *,
    max_message_bytes: int,
    max_calls: int,
    tracer: RequestTracer | None = None,
) -> GrpcServer:
    """A server of this plane that listens when this returns; port 0 takes a free one.

    A larger message is answered RESOURCE_EXHAUSTED before it is read, and so is a call beyond so many. Raises
    InvalidValue when the address is not to be had.
    """
    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", -1),
            # A second server on the same port must fail, not take half of the calls.
            ("grpc.so_reuseport", 0),
        ),
        maximum_concurrent_rpcs=max_calls,
    )
    answers = _answers(plane) if tracer is None else _traced(_answers(plane), tracer)
    server.add_generic_rpc_handlers((_handlers(answers), _health(plane)))
    bound = _bound(server, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    await server.start()
    return GrpcServer(server, bound)


def _bound(server: Any, address: str) -> int:
    try:
        return int(server.add_insecure_port(address))
    except RuntimeError as fault:
        raise InvalidValue(
            "grpc_port", f"cannot listen on {address}: {fault}", "choose another; 0 takes a free one"
        ) from None


def _traced(answers: Mapping[str, Answer], tracer: RequestTracer) -> dict[str, Answer]:
    """What answers each method, as spans where something is done."""
    from runtime.container.traced import traced  # noqa: PLC0415 - most containers are not traced

    return {name: traced(tracer, name, answer) if name in DONE else answer for name, answer in answers.items()}


def _handlers(answers: Mapping[str, Answer]) -> Any:
    service = pb.DESCRIPTOR.services_by_name[SERVICE]
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(
            _guarded(getattr(pb, method.input_type.name), answers[method.name])
        )
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _health(plane: Plane) -> Any:
    async def check(request: Any, _context: Any) -> Any:
        return HealthCheckResponse(status=await checked(plane, request.service))

    async def watch(data: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            service = _decoded(HealthCheckRequest, data).service
        except InvalidBody as fault:
            await context.abort(grpc.StatusCode[told(fault).code], _details(fault))
        async for status in watched(plane, service):
            yield HealthCheckResponse(status=status).SerializeToString()

    handlers = {
        "Check": grpc.unary_unary_rpc_method_handler(_guarded(HealthCheckRequest, check)),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
    }
    return grpc.method_handlers_generic_handler(HEALTH, handlers)


def _guarded(kind: Any, answer: Answer) -> Callable[[bytes, Any], Awaitable[bytes]]:
    """Bytes in, bytes out; what goes wrong becomes the status that the table of faults says."""

    async def guarded(data: bytes, context: Any) -> bytes:
        try:
            reply: bytes = (await answer(_decoded(kind, data), context)).SerializeToString()
        except Exception as fault:
            # The outermost handler: whatever it was, the caller must be told.
            if not foreseen(fault):
                log.exception("a call failed: %s", kind.__name__)
            await context.abort(grpc.StatusCode[told(fault).code], _details(fault), _pushback(fault))
        return reply

    return guarded


def _decoded(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise InvalidBody(f"these {len(data)} bytes are no {kind.__name__}") from None


def _details(fault: Exception) -> str:
    return message(fault).encode("utf-8", "replace")[:MAX_DETAILS].decode("utf-8", "ignore")


def _pushback(fault: Exception) -> tuple[tuple[str, str], ...]:
    """When a client may try again, as gRPC's retry policies read it (gRFC A6)."""
    if not isinstance(fault, Refused):
        return ()
    return (("grpc-retry-pushback-ms", str(math.ceil(fault.retry_after_s * 1e3))),)


def _answers(plane: Plane) -> dict[str, Answer]:
    """What answers each method."""

    async def live(_request: pb.ServerLiveRequest, _context: Any) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def ready(_request: pb.ServerReadyRequest, _context: Any) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=plane.ready)

    async def model_ready(request: pb.ModelReadyRequest, _context: Any) -> pb.ModelReadyResponse:
        try:
            return pb.ModelReadyResponse(ready=await plane.model_ready(request.name, request.version or None))
        except UnknownModel:
            # As Triton has it: its client's is_model_ready is asked in a loop until a model has come.
            return pb.ModelReadyResponse(ready=False)

    async def metadata(_request: pb.ServerMetadataRequest, _context: Any) -> pb.ServerMetadataResponse:
        return _filled(pb.ServerMetadataResponse(), plane.server_metadata())

    async def model_metadata(request: pb.ModelMetadataRequest, _context: Any) -> pb.ModelMetadataResponse:
        described = await asyncio.shield(plane.describe(request.name, request.version or None))
        return _filled(pb.ModelMetadataResponse(), described)

    async def infer(request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        parsed = parse_message(request)
        outcome = await _outcome(plane, request, parsed, context)
        return render_message(
            request.model_name, outcome.outputs, parsed, version=outcome.variant, parameters=parameters_of(outcome)
        )

    async def statistics(request: pb.ModelStatisticsRequest, _context: Any) -> pb.ModelStatisticsResponse:
        found = await plane.statistics(request.name or None, request.version or None)
        return _filled(pb.ModelStatisticsResponse(), {"model_stats": found})

    async def index(request: pb.RepositoryIndexRequest, _context: Any) -> pb.RepositoryIndexResponse:
        return _filled(pb.RepositoryIndexResponse(), {"models": await plane.index(ready=request.ready)})

    async def load(request: pb.RepositoryModelLoadRequest, _context: Any) -> pb.RepositoryModelLoadResponse:
        keep = keep_of(parse_parameters(request.parameters, "the request"))
        # Shielded: a change that is under way comes to its end though its caller leaves.
        await asyncio.shield(plane.load(request.model_name, None, keep))
        return pb.RepositoryModelLoadResponse()

    async def unload(request: pb.RepositoryModelUnloadRequest, _context: Any) -> pb.RepositoryModelUnloadResponse:
        await asyncio.shield(plane.unload(request.model_name))
        return pb.RepositoryModelUnloadResponse()

    return {
        "ServerLive": live,
        "ServerReady": ready,
        "ModelReady": model_ready,
        "ServerMetadata": metadata,
        "ModelMetadata": model_metadata,
        "ModelInfer": infer,
        "ModelStatistics": statistics,
        "RepositoryIndex": index,
        "RepositoryModelLoad": load,
        "RepositoryModelUnload": unload,
    }


def _filled(message: M, document: Mapping[str, Any]) -> M:
    """A message with what a document of the plane's says; what only other transports tell is left out."""
    ParseDict(document, message, ignore_unknown_fields=True)
    return message


async def _outcome(plane: Plane, request: pb.ModelInferRequest, parsed: InferRequest, context: Any) -> Outcome:
    """What came of an inference; raises its fault. A caller that leaves takes its work along."""
    ask = ask_of(parsed.parameters, plane.clock())
    left_s = context.time_remaining()
    if left_s is not None:
        ask.deadline_s = left_s if ask.deadline_s is None else min(left_s, ask.deadline_s)
    answered: asyncio.Future[Outcome | RuntimeFault] = asyncio.get_running_loop().create_future()
    work = plane.infer(
        request.model_name,
        request.model_version or None,
        parsed.inputs,
        ask,
        # A call that was cancelled while its run was under way is told all the same.
        lambda outcome: None if answered.done() else answered.set_result(outcome),
    )
    try:
        outcome = await answered
    except asyncio.CancelledError:
        plane.cancel(work)
        raise
    if isinstance(outcome, RuntimeFault):
        raise outcome
    return outcome
