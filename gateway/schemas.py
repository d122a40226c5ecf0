"""The JSON API's bodies as pydantic models, for OpenAPI and small bodies; tensors never pass through them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict

from gateway.capacity.carry_out import Result
from registry.generations import GenerationState
from registry.jobs import JobState
from registry.lineage import Outcome
from registry.model import Objective, OnInfeasible
from scheduler.frontier import Start

Number = Annotated[float, Strict()]
"""A number of JSON's; neither text that reads like one nor true, which would be 1."""

Whole = Annotated[int, Strict()]
"""A whole number, likewise."""


class Document(BaseModel):
    """A body whose validator is built when it is first used: a cold start uses one of them."""

    model_config = ConfigDict(defer_build=True)


class Body(Document):
    """A body that refuses fields it does not know."""

    model_config = ConfigDict(extra="forbid")


class Hints(Body):
    """SLO hints; one left out keeps the task's default, null lifts the bound."""

    latency_ms: Number | None = Field(None, gt=0, le=900_000, description="Most milliseconds from arrival to answer.")
    percentile: Number | None = Field(None, ge=1, le=99.9, description="The percentile at which latency_ms must hold.")
    min_accuracy: Number | None = Field(None, ge=0, le=1, description="Least accuracy of the variant, as measured.")
    max_cost_usd: Number | None = Field(None, ge=0, le=1e6, description="Most dollars for this one request.")
    objective: Objective | None = Field(None, description="What to optimise among placements that hold every bound.")
    on_infeasible: OnInfeasible | None = Field(
        None, description="best_effort serves and flags what broke; strict refuses, and ends at the latency bound."
    )


class Asked(Body):
    """What any request for a prediction may say."""

    slo: Hints | None = None
    id: str | None = Field(None, max_length=128, pattern=r"^[A-Za-z0-9\-_.:/]+$")


class PredictRequest(Asked):
    """Inputs of a task, and hints."""

    inputs: dict[str, Any] | list[Any] = Field(
        description="Tensors by name as nested lists, rows first; or the one tensor itself where the task has one "
        'input. Images: {"image_b64": ...}.',
    )


class ReferringRequest(Asked):
    """Inputs of a task, here or in the tenant's inbox, and hints."""

    inputs: dict[str, Any] | list[Any] | None = Field(None, description="As for a prediction; or inputs_ref.")
    inputs_ref: str | None = Field(
        None, pattern=r"^[0-9a-f]{32}$", description="What POST /v1/inbox gave for inputs that were put there."
    )


class InboxRequest(Body):
    """Inputs to put into the tenant's inbox, as JSON."""

    bytes: Whole = Field(ge=1, description="Their length, exactly.")


class InboxResponse(Document):
    """Where to put inputs, within the time, and what to call them in a request."""

    inputs_ref: str
    method: Literal["PUT"]
    url: str
    headers: dict[str, str]
    expires_at: float = Field(description="Seconds since the epoch.")


class PlanRequest(Body):
    """What would be chosen for so many rows under these hints?"""

    slo: Hints | None = None
    rows: Whole = Field(1, ge=1)


class Attempted(Document):
    """One placement that was tried."""

    placement: str
    tier: str
    error: str = Field(description="Empty when it answered.")
    ms: float


class MadeBy(Document):
    """How a variant is made."""

    generator: str
    parent: str | None
    parameters: list[tuple[str, str]]


class Generating(Document):
    """A generation that is to make what would hold the SLO; see GET /v1/generations."""

    generation: str
    recipe: MadeBy


class GenerationResponse(Document):
    """A variant that is made because callers asked for what nothing held."""

    id: str
    task: str
    variant: str
    recipe: MadeBy
    suffix: str
    basis: str
    state: GenerationState
    queued_at: str
    started_at: str | None
    ended_at: str | None
    restarts: int
    reason: str
    tier: str
    rows: int
    passing: bool = Field(description="Whether it failed of something that passes: it is tried again when asked for.")


class GenerationsResponse(Document):
    """Generations for the caller's tasks, newest first."""

    generations: list[GenerationResponse]


class ServedBy(Document):
    """How a request was answered."""

    decision_id: str
    task: str
    variant: str
    tier: str
    placement: str
    predicted_latency_ms: float
    latency_ms: float
    run_ms: float
    accuracy: float
    cost_usd: float
    cold_start: bool
    loaded: bool
    slo_met: bool
    broken: list[str]
    reason: str
    attempts: list[Attempted]
    generating: Generating | None = None
    receipt: str | None = Field(
        None, description="What to judge this answer with, within seven days; null where its decision_id will do."
    )


class PredictResponse(Document):
    """Outputs, and the decision that gave them."""

    id: str
    task: str
    outputs: dict[str, Any]
    decision: ServedBy


class JobFailure(Document):
    """Why a job failed, or is to be tried again."""

    code: str
    message: str


class JobResponse(Document):
    """A prediction that nobody waits for; times in ISO 8601, UTC."""

    id: str
    task: str
    state: JobState
    submitted_at: str
    started_at: str | None = Field(description="When it was last begun.")
    ended_at: str | None
    expires_at: str = Field(description="When it is forgotten, a day after its end.")
    result: PredictResponse | None = Field(
        description="Once it has succeeded; null in lists, and in the answer to a submission."
    )
    error: JobFailure | None = Field(description="Why it failed; of one that waits, why its last run came to nothing.")


class JobsResponse(Document):
    """The caller's jobs, newest first."""

    jobs: list[JobResponse]


class JobsQuery(Body):
    """How many to list."""

    limit: int = Field(50, ge=1, le=200, description="Most jobs that are listed.")


class Candidate(Document):
    """A placement and what is expected of it."""

    placement: str
    variant: str
    tier: str
    threads: int
    predicted_latency_ms: float
    p50_ms: float
    wait_ms: float
    on_time: float
    accuracy: float
    effective_accuracy: float
    cost_usd: float
    cold: bool
    load: bool
    broken: list[str]


class FullSlo(Document):
    """An SLO with every field; null is no bound."""

    latency_ms: float | None
    percentile: float
    min_accuracy: float | None
    max_cost_usd: float | None
    objective: Objective
    on_infeasible: OnInfeasible


class Expected(Document):
    """What is expected of a task in the next minute."""

    task: str
    probability: float
    """That it is asked for."""
    rate_per_s: float
    """Requests per second while it is."""
    rows: int
    slo: FullSlo


class Acted(Document):
    """What is to be so, and what came of it."""

    action: Literal["warm", "unload", "shrink", "provision"]
    tier: str
    placement: str | None
    copies: int | None
    reason: str
    result: Result
    why: str


class CapacityResponse(Document):
    """The last plan of what is kept warm; nulls before the first, and for a budget without bound."""

    budget_usd_per_h: float | None
    at: float | None
    usd_per_h: float | None
    """What the plan costs, beyond what is paid anyway."""
    gain_usd_per_h: float | None
    """What it is expected to be worth beyond that."""
    residency: dict[str, list[str]]
    """Tier to the placements that live on it together."""
    demands: list[Expected]
    actions: list[Acted]


class PlanResponse(Document):
    """A decision, with the next best and why each other placement was not chosen."""

    task: str
    rows: int
    slo: FullSlo
    catalogue_version: int
    feasible: bool
    broken: list[str]
    nearest: FullSlo | None
    reason: str
    chosen: Candidate | None
    ranked: list[Candidate]
    why_not: dict[str, str]


class ErrorBody(Document):
    """What went wrong; further fields name the tensor, field or placements concerned."""

    model_config = ConfigDict(extra="allow")
    code: str
    message: str


class ExplainResponse(PlanResponse):
    """A past decision, and what came of it."""

    decision_id: str
    at: float = Field(description="Seconds since the epoch.")
    served: ServedBy | None
    error: ErrorBody | None


class Tensor(Document):
    """A tensor of a signature; -1 is any extent, axis 0 is the batch."""

    name: str
    datatype: str
    shape: list[int]
    finite: bool


class TaskResponse(Document):
    """What callers name."""

    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    metric: str
    default_slo: FullSlo
    owner: str
    classes: list[str]
    description: str
    judged: str = Field(description="The output that the metric and feedback judge; empty where it is not known.")


class TasksResponse(Document):
    """The caller's tasks."""

    tasks: list[TaskResponse]


class FeedbackRequest(Body):
    """The right answers of a decision's rows; it is named by its receipt where answers come with one."""

    decision_id: str | None = Field(
        None, description="Of a recent answer to the caller's tenant, not judged before.", max_length=128
    )
    receipt: str | None = Field(None, description="That came with the answer, at most seven days ago.")
    expected: list[Any] = Field(description="What the task's judged output should have been, one entry for each row.")


class MeasuredAccuracy(Document):
    """An accuracy with its 95 % interval."""

    value: float
    low: float
    high: float
    rows: int
    method: str


class FeedbackResponse(Document):
    """What was judged, and how accurate the variant that answered is taken to be from now on."""

    decision_id: str
    task: str
    variant: str
    rows: int = Field(description="Rows judged now.")
    right: int | None = Field(description="How many of them were right; null where the metric does not say of one row.")
    accuracy: MeasuredAccuracy
    drifted: bool = Field(description="Whether judged rows contradict the evaluation, and count alone.")
    judged_rows: int = Field(description="Judged rows of the variant that count now.")


class AcceptedResponse(Document):
    """A judgement that is kept, and will be weighed."""

    accepted: bool
    decision_id: str


class FrontierQuery(Body):
    """Which race the placements run."""

    rows: int = Field(1, ge=1, description="Rows of the batch.")
    start: Start = Field(
        Start.RESIDENT, description="What the request finds: the variant resident, to be loaded, cold."
    )
    tier: str | None = Field(None, description="Only the placements of one tier.")


class FrontierEntry(Document):
    """One placement of a task: measured accuracy, 95th percentile latency and cost of a request."""

    placement: str
    variant: str
    tier: str
    accuracy: float
    accuracy_low: float = Field(description="Limits of the 95 % interval.")
    accuracy_high: float
    latency_ms: float
    cost_usd: float
    load_ms: float = Field(description="Median of a load.")
    memory_mb: float = Field(description="Private memory of a resident copy.")
    dominated_by: str | None = Field(description="Placements no worse in all three and better in one, or null.")
    reason: str
    stale: bool = Field(description="Whether it was measured on other hardware than serves it.")


class TriedEntry(Document):
    """A variant that was tried and is not one of the task's."""

    name: str
    generator: str
    parent: str | None
    parameters: dict[str, str]
    outcome: Outcome
    reason: str
    numbers: dict[str, float] = Field(description="What was measured, by name with the unit at its end.")


class FrontierResponse(Document):
    """The task's trade-off, and what was tried and dropped or failed."""

    task: str
    frontier: list[FrontierEntry]
    tried: list[TriedEntry]


class ErrorResponse(Document):
    """A refusal."""

    error: ErrorBody
