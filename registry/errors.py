"""What can be wrong with facts: one root, classes by whose fault it is.

RegistryError
├── InvalidValue        the caller's: a field has a value that cannot be (names field, problem, fix)
├── InvalidManifest     the caller's: every fault of a manifest at once
├── NotFound            the caller's: no such task, variant, version or blob
├── KeyReused           the caller's: an idempotency key that stands for another submission
├── JobEnded            the caller's: a job that has ended cannot be cancelled
├── TooManyJobs         the caller's: as many jobs wait or run as one tenant may have
├── ClaimLost           nobody's: a job was cancelled, or is somebody else's by now
├── Conflict            nobody's: another publisher was first; reload and try again
├── DigestMismatch      the storage's: bytes are not what their digest says
├── InvalidSignature    the publisher's: an artifact is not signed by the key that all must be signed by
└── Unavailable         the storage's: it cannot be reached, read or written; nothing was written
"""

from __future__ import annotations

from collections.abc import Sequence


class RegistryError(Exception):
    """Root of every error that the registry raises."""


class InvalidValue(RegistryError, ValueError):
    """A field's value is impossible; carries the field, the problem and the fix."""

    def __init__(self, field: str, problem: str, fix: str) -> None:
        super().__init__(f"{field}: {problem}; {fix}")
        self.field = field
        self.problem = problem
        self.fix = fix


class InvalidManifest(RegistryError, ValueError):
    """A manifest has faults; `faults` holds every one of them, each with file and field."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class NotFound(RegistryError, LookupError):
    """Nothing is registered under this name, version or digest."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"no {kind} {name!r}")
        self.kind = kind
        self.name = name


class KeyReused(RegistryError):
    """An idempotency key stands for another submission; nothing was written."""

    def __init__(self, job: str) -> None:
        super().__init__(f"this idempotency key was used for another submission, job {job}; use a new key")
        self.job = job


class JobEnded(RegistryError):
    """A job has ended, and stays as it is."""

    def __init__(self, job: str, state: str) -> None:
        super().__init__(f"job {job} has {state} and cannot be cancelled")
        self.job = job
        self.state = state


class TooManyJobs(RegistryError):
    """A tenant has as many jobs that wait or run as it may have; nothing was written."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} jobs wait or run, and no more may; try again when some have ended")
        self.most = most


class ClaimLost(RegistryError):
    """Whoever holds a job no longer does: it was cancelled, or its lease ran out and somebody else claimed it."""

    def __init__(self, job: str, state: str) -> None:
        super().__init__(f"job {job} is {state}, and not held by who reports of it")
        self.job = job
        self.state = state


class Conflict(RegistryError):
    """The catalogue moved on since it was read; nothing was written."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"catalogue is at version {actual}, not {expected}; reload it and publish again")
        self.expected = expected
        self.actual = actual


class DigestMismatch(RegistryError):
    """Stored bytes do not hash to the digest that names them; they must not be used."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"blob {expected} holds bytes of digest {actual}")
        self.expected = expected
        self.actual = actual


class InvalidSignature(RegistryError):
    """An artifact was not signed by the key that it must be signed by."""

    def __init__(self, artifact: str, problem: str) -> None:
        super().__init__(f"artifact {artifact}: {problem}; push it with the stack's signing key")
        self.artifact = artifact


class Unavailable(RegistryError):
    """A store or blob store cannot do its work now: missing, locked, full, unreachable or not ours."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem
