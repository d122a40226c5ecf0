"""Right answers as callers give them, held against a task: who may judge, and what can be right; it moves nothing."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from gateway.auth import Principal
from gateway.errors import Forbidden, Unprocessable
from optimizer.evidence import pack
from registry.judgements import Observation
from registry.model import Task, TensorSpec, Variant
from runtime.codecs.nested import from_nested
from runtime.codecs.tensors import check_inputs
from runtime.errors import InvalidTensor

FIELD = "expected"


def check_judge(principal: Principal, task: Task) -> None:
    """Raise Forbidden unless the principal may judge the task, and Unprocessable where nothing of it is judged.

    Only the tenant that owns a task judges it, a public one the public tenant: what one says moves the choices of all.
    """
    if principal.tenant != task.owner:
        raise Forbidden(f"task {task.name!r} is judged by its owner, tenant {task.owner!r}, alone", task=task.name)
    if not task.judged:
        raise Unprocessable(
            f"task {task.name!r} does not say which output is judged; register it again", task=task.name
        )


def right_answers(task: Task, expected: Any, given: NDArray[Any]) -> NDArray[Any]:
    """The right answers, nested lists as in JSON, as an array like the given ones; raises Unprocessable naming them.

    Where a row has one element, it may be given without its list.
    """
    output = next(output for output in task.outputs if output.name == task.judged)
    spec = TensorSpec(FIELD, output.datatype, (-1, *given.shape[1:]))
    try:
        right = from_nested(FIELD, spec.datatype, expected)
        if right.ndim == 1 and given.size == len(given):
            right = right.reshape(-1, *given.shape[1:])
        if len(right) != len(given):
            raise InvalidTensor(FIELD, f"it has {len(right)} rows", f"{len(given)}, one for each row that was answered")
        check_inputs([spec], {FIELD: right})
    except InvalidTensor as error:
        raise Unprocessable(str(error), field=FIELD, problem=error.problem, fix=f"give {error.expected}") from None
    return right


def observation(
    task: Task, variant: Variant, given: NDArray[Any], right: NDArray[Any], *, decision_id: str, at: float
) -> Observation:
    """What is kept of a decision's answer that was judged; `at` is when it was decided, in seconds since the epoch."""
    evidence = pack(task.metric, given, right)
    return Observation(decision_id, variant.id, variant.artifact, int(at * 1000), len(right), evidence)
