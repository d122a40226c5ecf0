"""How many of a function's environments are asked to be there, and asking for others; each call blocks.

A function on Lambda's own hosts has provisioned concurrency, by alias. One with an accelerator runs on managed
instances and has a scaling configuration instead, by version: at a minimum of zero its instances go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from gateway.backends.aws import code_of
from registry.model import Tier, TierKind

Target = Mapping[str, str]
"""FunctionName and Qualifier."""


class Control(Protocol):
    """What this needs of a Lambda client."""

    def get_provisioned_concurrency_config(self, **request: Any) -> Mapping[str, Any]:
        """Lambda's GetProvisionedConcurrencyConfig."""

    def put_provisioned_concurrency_config(self, **request: Any) -> Mapping[str, Any]:
        """Lambda's PutProvisionedConcurrencyConfig."""

    def delete_provisioned_concurrency_config(self, **request: Any) -> Mapping[str, Any]:
        """Lambda's DeleteProvisionedConcurrencyConfig."""

    def get_function_scaling_config(self, **request: Any) -> Mapping[str, Any]:
        """Lambda's GetFunctionScalingConfig."""

    def put_function_scaling_config(self, **request: Any) -> Mapping[str, Any]:
        """Lambda's PutFunctionScalingConfig."""


def asked_for(client: Control, tier: Tier, target: Target) -> int:
    """Environments that are asked for, whether they are there yet or not."""
    if tier.kind is TierKind.GPU:
        found = client.get_function_scaling_config(**target)
        # The one is told until it has become the other.
        config = found.get("RequestedFunctionScalingConfig") or found.get("AppliedFunctionScalingConfig") or {}
        return int(config.get("MinExecutionEnvironments", 0))
    return _provisioned(client, target)


def ask_for(client: Control, tier: Tier, target: Target, copies: int) -> None:
    """Have so many; beyond them managed instances add environments as they are used, up to the tier's concurrency."""
    if tier.kind is TierKind.GPU:
        config = {"MinExecutionEnvironments": copies, "MaxExecutionEnvironments": tier.concurrency}
        client.put_function_scaling_config(**target, FunctionScalingConfig=config)
    elif copies:
        client.put_provisioned_concurrency_config(**target, ProvisionedConcurrentExecutions=copies)
    else:
        client.delete_provisioned_concurrency_config(**target)


def _provisioned(client: Control, target: Target) -> int:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - imported already, with the client

    try:
        return int(client.get_provisioned_concurrency_config(**target)["RequestedProvisionedConcurrentExecutions"])
    except ClientError as error:
        if code_of(error.response) != "ProvisionedConcurrencyConfigNotFoundException":
            raise
        return 0
