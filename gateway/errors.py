"""What can go wrong between arrival and answer; one table maps each class to its HTTP status.

GatewayError
├── BadRequest            the caller's: the body cannot be parsed                     400
├── Unauthenticated       the caller's: no or unknown credential                      401
├── Forbidden             the caller's: a task that it may use, and not judge         403
├── UnknownTask           the caller's: no such task, decision or job, or not its own 404
├── TooSlow               the caller's: the body did not arrive in time               408
├── AlreadyJudged         the caller's: the answer has been judged before             409
├── KeyConflict           the caller's: a key that stands for another submission      409
├── JobOver               the caller's: a job that has ended cannot be cancelled      409
├── TooLarge              the caller's: the body is over the limit                    413
├── Unprocessable         the caller's: a field or tensor has an impossible value     422
├── Infeasible            nobody's: no placement holds a strict SLO                   422
├── QuotaExceeded         the caller's: over its tenant's requests per second         429
├── Overloaded            ours: no capacity in time; try again after `retry_after_s`  429
│   └── TooManyJobs       the caller's: as many jobs are open as a tenant may have    429
└── Unavailable           ours: every candidate failed                                503
    └── DeadlineExceeded  ours: no answer in time                                     504

BackendError              raised by backends to the service, never to callers
├── NotReady              the tier cannot serve now (a GPU at zero copies)            next candidate
│   └── InitFailed        the function's own INIT went wrong                          next candidate
├── Throttled             the tier refuses more work now                              next candidate
├── EnvironmentLost       the environment crashed or was killed mid-request           next candidate
├── ExecutionFailed       the variant itself failed on these inputs                   next candidate
├── CorruptArtifact       the variant's bytes do not match their digest               quarantine, next candidate
└── TimedOut              the invocation's deadline passed                            504
"""

from __future__ import annotations

from typing import Any


class GatewayError(Exception):
    """Root of every error that a caller may see; `details` is JSON-able."""

    status = 500
    code = "internal"
    """What programs match on; stays the same when messages change."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


class BadRequest(GatewayError):
    """The body cannot be parsed."""

    status = 400
    code = "bad_request"


class Unauthenticated(GatewayError):
    """There is no credential, or nobody knows it."""

    status = 401
    code = "unauthenticated"


class Forbidden(GatewayError):
    """The caller may use the task, and not do this with it."""

    status = 403
    code = "forbidden"


class UnknownTask(GatewayError):
    """There is no task, decision or job of this name, or it is another tenant's: nobody learns which."""

    status = 404
    code = "not_found"


class TooSlow(GatewayError):
    """The body did not arrive in time."""

    status = 408
    code = "too_slow"


class AlreadyJudged(GatewayError):
    """An answer is judged once; what was said first stands."""

    status = 409
    code = "already_judged"


class KeyConflict(GatewayError):
    """An idempotency key stands for another submission."""

    status = 409
    code = "idempotency_key_reused"


class JobOver(GatewayError):
    """A job has ended, and stays as it is."""

    status = 409
    code = "job_ended"


class TooLarge(GatewayError):
    """The body is over the limit."""

    status = 413
    code = "too_large"


class Unprocessable(GatewayError):
    """A field or tensor has an impossible value; details name it and what was expected."""

    status = 422
    code = "unprocessable"


class Infeasible(GatewayError):
    """No placement holds a strict SLO; details carry the nearest feasible one."""

    status = 422
    code = "infeasible"


class QuotaExceeded(GatewayError):
    """The tenant has sent its share for now; details carry `retry_after_s`."""

    status = 429
    code = "quota_exceeded"


class Overloaded(GatewayError):
    """There is no capacity in time; details carry `retry_after_s`."""

    status = 429
    code = "overloaded"


class TooManyJobs(Overloaded):
    """As many of the caller's jobs wait or run as may."""

    code = "too_many_jobs"


class Unavailable(GatewayError):
    """Every candidate failed; details name each and why."""

    status = 503
    code = "unavailable"


class DeadlineExceeded(Unavailable):
    """No answer came in time."""

    status = 504
    code = "deadline_exceeded"


class BackendError(Exception):
    """Root of what a backend may raise to the service."""


class NotReady(BackendError):
    """The tier cannot serve now; `retry_after_s` says when it may."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class InitFailed(NotReady):
    """The function's INIT went wrong; `document` is the runtime client's word on it, JSON."""

    def __init__(self, message: str, document: bytes) -> None:
        super().__init__(message)
        self.document = document


class Throttled(BackendError):
    """The tier refuses more work now; `retry_after_s` says when it may."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EnvironmentLost(BackendError):
    """The environment crashed or was killed before it answered; `reason` says how in a few words."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


class ExecutionFailed(BackendError):
    """The variant failed on these inputs."""


class CorruptArtifact(BackendError):
    """The variant's bytes do not match their digest."""


class TimedOut(BackendError):
    """The invocation's deadline passed before the answer."""
