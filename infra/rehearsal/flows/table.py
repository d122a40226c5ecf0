"""What publishers, callers, queues and schedules do with a deployed stack, each as a check of what came of it.

A flow begins with what it needs made so, renews the environments that would remember, and raises NotDone where what it
is for is not done, or where anybody is denied anything. Each may run any number of times, in any order, after `push`.
"""

from __future__ import annotations

from collections.abc import Mapping

from infra.rehearsal.flows import callers, capacity, jobs, judgements, publishers
from infra.rehearsal.stage import Flow

FLOWS: Mapping[str, Flow] = {
    flow.__name__: flow
    for flow in (
        publishers.push,
        publishers.roll_back,
        publishers.lose_a_race,
        callers.predict,
        callers.plan,
        callers.explain,
        callers.be_counted,
        callers.be_seen,
        callers.put_inputs,
        jobs.answer_later,
        jobs.cancel,
        jobs.take_over,
        judgements.judge,
        capacity.warm,
        capacity.unload,
        callers.predict_from_what_is_left,
    )
}
"""In the order of a first day."""
