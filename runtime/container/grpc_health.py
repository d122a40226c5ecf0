"""gRPC's own health service, which load balancers and Kubernetes ask, in terms of a plane; never needs a connection.

Source: grpc/grpc-proto, `grpc/health/v1/health.proto`. Its messages are of one field each, and made here in a pool of
their own, as `inference_pb2` has it; a status is the number of the protocol's enum.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from runtime.container.plane import Plane
from runtime.errors import RuntimeFault, UnknownModel

HEALTH = "grpc.health.v1.Health"

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3

LOOK_S = 1.0
"""How stale what a watcher was told may be; looking costs microseconds."""


def _message(pool: Any, name: str, field: str, kind: int) -> Any:
    file = FileDescriptorProto(name=f"{name}.proto", package="grpc.health.v1", syntax="proto3")
    described = file.message_type.add(name=name)
    described.field.add(name=field, number=1, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(f"grpc.health.v1.{name}"))


_POOL = DescriptorPool()
HealthCheckRequest = _message(_POOL, "HealthCheckRequest", "service", FieldDescriptorProto.TYPE_STRING)
HealthCheckResponse = _message(_POOL, "HealthCheckResponse", "status", FieldDescriptorProto.TYPE_INT32)


async def checked(plane: Plane, service: str) -> int:
    """Whether requests are taken: by the server (no name), or by a model that is loaded; raises UnknownModel."""
    ready = not service or await plane.model_ready(service, None)
    return SERVING if ready and plane.ready else NOT_SERVING


async def watched(plane: Plane, service: str) -> AsyncIterator[int]:
    """Its status, and whenever that is another one, that; ends when the server is about to, which nothing must hold."""
    told = 0
    while True:
        # Before the status: while that is sent, the server may come to its end, which is to be told as well.
        last = plane.draining
        try:
            status = await checked(plane, service)
        except UnknownModel:
            status = SERVICE_UNKNOWN
        except RuntimeFault:
            status = NOT_SERVING
        if status != told:
            told = status
            yield status
        if last:
            return
        await asyncio.sleep(LOOK_S)
