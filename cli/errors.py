"""What a command can end in; never a traceback for something a person can mend.

CliError           exit
├── BadInput       the caller's: an argument, a file or a request that cannot be    2
└── Failed         ours: the platform, the store or the network did not do it       1
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import click


class CliError(click.ClickException):
    """Root of what a command ends in; its message says what to do next."""


class BadInput(CliError):
    """An argument, a file or a request cannot be; nothing was changed."""

    exit_code = 2


class Failed(CliError):
    """The platform, the store or the network did not do what was asked."""

    exit_code = 1


def unknown(kind: str, name: str, known: Iterable[str]) -> BadInput:
    """The error for a name that nothing has, with the nearest names that exist."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return BadInput(f"no {kind} {name!r}; did you mean {' or '.join(map(repr, near))}?")
    listed = f"there are {', '.join(names)}" if names else f"there is no {kind} yet"
    return BadInput(f"no {kind} {name!r}; {listed}")


@contextmanager
def needs_aws() -> Iterator[None]:
    """Turn an AWS SDK that is not installed into a message."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("boto3", "botocore"):
            raise
        raise Failed("AWS needs its SDK; install it with: pip install 'modelless[aws]'") from error


@contextmanager
def told() -> Iterator[None]:
    """Turn what registering or measuring raises into a message and an exit code; main knows the registry's errors."""
    from gateway.errors import BackendError
    from optimizer.errors import InvalidEvaluation, ModelRefused, NotConvertible, OptimizerError

    try:
        yield
    except (InvalidEvaluation, ModelRefused, NotConvertible) as error:
        raise BadInput(str(error)) from error
    except (OptimizerError, BackendError) as error:
        raise Failed(str(error)) from error
