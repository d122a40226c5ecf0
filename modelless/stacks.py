"""A deployed stack as its outputs tell it: which table, bucket and workers; it only asks, and opens what they name."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gateway.backends.components import Component, components_of
from registry.aws import failures
from registry.errors import InvalidValue, NotFound
from registry.model import Tier
from registry.prices import lambda_tiers, sagemaker_tiers
from registry.provenance import BoundBlobs
from registry.store import Store
from registry.tenants import tenant_hash

if TYPE_CHECKING:
    from gateway.backends.lambda_ import Client, LambdaBackend
    from gateway.backends.sagemaker import SageMakerBackend
    from registry.signing import KmsSigner

PREFIX = "blobs/"
"""Of the bucket's keys, as template.yaml tells the workers."""

ISOLATES = "IsolatesTenants"
"""The output that a stack has whose workers run each tenant's tasks in environments of its own."""

SIGNING_KEY = "SigningKeyArn"
"""The output that names the key which artifacts must be signed with, where there is one."""

GPUS = "Gpus"
"""The output that a stack with a GPU has: each tier, and its inference component."""

OUTPUTS = {"table": "TableName", "bucket": "BucketName", "workers": "Workers"}
"""What of a stack is asked for, by the name of its output."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Where a deployed platform keeps its facts and blobs, and what runs its variants."""

    name: str
    table: str
    bucket: str
    workers: Mapping[str, str]
    """Tier name to the ARN (with alias) of its worker function."""
    signing_key: str = ""
    """ARN of the key of KMS that its workers want artifacts signed with; empty where they do not ask."""
    isolated: bool = False
    """Whether its workers run each tenant's tasks in environments of its own."""
    gpus: Mapping[str, Component] = field(default_factory=dict)
    """Tier name to the inference component that carries it out."""

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The tiers that it has workers or a component for; raises InvalidValue for one that nothing is known of."""
        known = {tier.name: tier for tier in (*lambda_tiers(), *sagemaker_tiers())}
        names = (*self.workers, *self.gpus)
        for name in names:
            if name not in known:
                fix = f"known are {', '.join(known)}; deploy and push with the same version of modelless"
                raise InvalidValue(f"{self.name}: Workers", f"{name!r} is no tier", fix)
        return tuple(known[name] for name in names)

    def only(self, tiers: Collection[str]) -> Stack:
        """The stack with these tiers only, or with all that have workers where none is named; raises InvalidValue.

        One on a GPU must be named: it is paid for by the second while it is measured, and before that somebody has to
        ask for a copy.
        """
        names = (*self.workers, *self.gpus)
        for name in tiers:
            if name not in names:
                raise InvalidValue("tier", f"{self.name} has no {name!r}", f"it has {', '.join(names)}")
        if not tiers:
            return replace(self, gpus={})
        workers = {name: arn for name, arn in self.workers.items() if name in tiers}
        return replace(self, workers=workers, gpus={name: gpu for name, gpu in self.gpus.items() if name in tiers})

    def store(self) -> Store:
        """Its catalogue."""
        from registry.stores.dynamodb import DynamoStore  # noqa: PLC0415 - botocore, for those who have a stack

        return DynamoStore(self.table)

    def signer(self) -> KmsSigner | None:
        """What signs artifacts for it, where they must be signed."""
        from registry.signing import KmsSigner  # noqa: PLC0415 - as above

        return KmsSigner(self.signing_key) if self.signing_key else None

    @contextmanager
    def blobs(self) -> Iterator[BoundBlobs]:
        """Its blobs, with a folder for what is read that is removed afterwards."""
        from registry.blobs.s3 import S3Blobs  # noqa: PLC0415 - as above

        with tempfile.TemporaryDirectory(prefix="modelless-") as cache:
            yield S3Blobs(self.bucket, cache, prefix=PREFIX)

    def backends(
        self,
        *,
        make_client: Callable[[int], Client] | None = None,
        clock: Callable[[], float] = time.monotonic,
        owners: Mapping[str, str] | None = None,
    ) -> dict[str, LambdaBackend | SageMakerBackend]:
        """What measures through its workers and components, by tier name; whoever opens them closes them.

        `owners` are those of the tasks to measure, which workers that isolate tenants need to be told.
        """
        from gateway.backends.lambda_ import LambdaBackend  # noqa: PLC0415 - as above

        def open_(tier: Tier) -> LambdaBackend | SageMakerBackend:
            if tier.name in self.gpus:
                from gateway.backends.sagemaker import SageMakerBackend  # noqa: PLC0415 - few stacks have one

                return SageMakerBackend(tier, emit=lambda _: None, component=self.gpus[tier.name], clock=clock)
            function = self.workers[tier.name]
            return LambdaBackend(
                tier,
                emit=lambda _: None,
                function=function,
                make_client=make_client,
                clock=clock,
                tenant_of=tenant_of if self.isolated else None,
            )

        def tenant_of(task: str) -> str:
            return tenant_hash((owners or {})[task])

        return {tier.name: open_(tier) for tier in self.tiers}


def find_stack(name: str, client: Any = None) -> Stack:
    """The stack of this name; raises NotFound, InvalidValue where an output is missing, and Unavailable.

    `client` is a CloudFormation client, made from the environment's credentials and region if not given.
    """
    with failures("CloudFormation"):
        outputs = _outputs(name, client or _client())
    missing = [output for output in OUTPUTS.values() if not outputs.get(output)]
    if missing:
        raise InvalidValue(
            f"stack {name}",
            f"has no output {', '.join(missing)}",
            "deploy it with this version's template.yaml, or say where things are with --table, --bucket and --workers",
        )
    table, bucket, workers = (outputs[output] for output in OUTPUTS.values())
    return Stack(
        name,
        table,
        bucket,
        workers_of(workers, f"stack {name}: Workers"),
        outputs.get(SIGNING_KEY, ""),
        ISOLATES in outputs,
        components_of(outputs, GPUS),
    )


def workers_of(text: str, where: str) -> dict[str, str]:
    """Workers by tier, from their JSON; raises InvalidValue naming `where` it stood."""
    try:
        workers = json.loads(text)
    except ValueError:
        workers = None
    if not isinstance(workers, dict) or not workers or not all(isinstance(arn, str) for arn in workers.values()):
        fix = 'give {"lambda-1769": "arn:aws:lambda:…:live"}'
        raise InvalidValue(where, f"{text!r:.200} is no JSON object of tiers to function ARNs", fix)
    return workers


def _outputs(name: str, client: Any) -> dict[str, str]:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - imported already, with the client

    try:
        (stack,) = client.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            raise NotFound("stack", name) from None
        raise
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}


def _client() -> Any:
    import botocore.session  # noqa: PLC0415 - as above
    from botocore.config import Config  # noqa: PLC0415

    config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 4})
    return botocore.session.get_session().create_client("cloudformation", config=config)
