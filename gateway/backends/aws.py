"""botocore as backends use it: a client for each read timeout, and its errors as ours; never retries, hides no error.

botocore is imported when the first client is made. Its calls block, so they belong on threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from gateway.errors import BackendError, EnvironmentLost, NotReady, TimedOut

THREADS = 32
"""Calls at once; each thread only waits on a socket."""

CONNECT_TIMEOUT_S = 1.0

NOT_READY_S = 5.0
"""When to ask what is not ready again, where the service gives no hint."""

THROTTLED_S = 0.5
"""When to ask again after 429 without a Retry-After: Lambda adds environments every few hundred milliseconds."""

C = TypeVar("C")


class Clients(Generic[C]):
    """Clients of one service, one for each read timeout: botocore fixes it per client. Safe for threads."""

    def __init__(self, make: Callable[[int], C]) -> None:
        """`make` makes a client whose reads time out after so many seconds."""
        self._make = make
        self._made: dict[int, C] = {}
        self._making = threading.Lock()

    def within(self, seconds: float) -> C:
        """One whose reads take `seconds` at most, rounded up so that there are few."""
        return self.exactly(rounded_up(seconds))

    def exactly(self, timeout_s: int) -> C:
        """One whose reads time out after so many seconds."""
        with self._making:
            if timeout_s not in self._made:
                self._made[timeout_s] = self._make(timeout_s)
            return self._made[timeout_s]


def rounded_up(seconds: float) -> int:
    """The power of two that a client's time is rounded up to, one second at least."""
    return int(2 ** max(0, math.ceil(math.log2(seconds))))


def make_client(service: str, timeout_s: int) -> Any:
    """A client from the environment's credentials and region."""
    import botocore.session  # noqa: PLC0415 - only a gateway with tiers on AWS pays for it
    from botocore.config import Config  # noqa: PLC0415

    # A retry would run the work twice and spend a deadline that the next placement could use.
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=timeout_s,
        retries={"total_max_attempts": 1},
        max_pool_connections=THREADS,
        tcp_keepalive=True,
    )
    return botocore.session.get_session().create_client(service, config=config)


def faults() -> tuple[type[Exception], ...]:
    """What botocore raises."""
    from botocore import exceptions as aws  # noqa: PLC0415 - imported already, by whoever raised

    return aws.BotoCoreError, aws.ClientError


def translated(error: Exception, refusal: Callable[[Mapping[str, Any]], BackendError]) -> BackendError:
    """The protocol's error for one of botocore's; `refusal` says what a response of the service's own means."""
    from botocore import exceptions as aws  # noqa: PLC0415 - see above

    match error:
        case aws.ReadTimeoutError():
            return TimedOut(str(error))
        case aws.ConnectionClosedError():
            return EnvironmentLost(str(error))
        case aws.ClientError():
            return refusal(error.response)
    # Unreachable, unauthenticated or misconfigured: nothing was run.
    return NotReady(str(error), NOT_READY_S)


def code_of(response: Mapping[str, Any]) -> str:
    """The name of a service's error."""
    return str(response.get("Error", {}).get("Code", ""))


def said(response: Mapping[str, Any]) -> str:
    """A service's error in words, with its name."""
    return f"{code_of(response)}: {response.get('Error', {}).get('Message', '')}"


def retry_after_s(response: Mapping[str, Any]) -> float:
    """When a service that throttles wants to be asked again."""
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return float(headers.get("retry-after", THROTTLED_S))
