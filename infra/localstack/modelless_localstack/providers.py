"""DynamoDB for LocalStack without its download of a jar: the moto that it brings, one operation at a time."""

from __future__ import annotations

import threading

from localstack.aws.api import RequestContext, ServiceRequest, ServiceResponse
from localstack.aws.skeleton import Skeleton
from localstack.aws.spec import load_service
from localstack.services.moto import call_moto
from localstack.services.plugins import Service, aws_provider


@aws_provider(api="dynamodb", name="modelless")
def dynamodb() -> Service:
    """The service; PROVIDER_OVERRIDE_DYNAMODB=modelless chooses it."""
    lock = threading.Lock()
    description = load_service("dynamodb")

    def one_at_a_time(context: RequestContext, request: ServiceRequest) -> ServiceResponse:
        # moto reads, changes and writes items without a lock: two threads at once lose updates.
        with lock:
            return call_moto(context)

    operations = dict.fromkeys(description.operation_names, one_at_a_time)
    return Service(name="dynamodb", skeleton=Skeleton(description, operations))
