"""The API's routes over a service, as a Powertools resolver: each parses, calls the service once and renders."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestUnsupportedContentType, RequestValidationError
from aws_lambda_powertools.event_handler.openapi.params import Header, Path, Query
from pydantic import BaseModel

from functions.aws.feedback import Feedback
from functions.aws.inbox import Inbox
from functions.aws.replies import REPLY_LIMIT, fitted
from gateway import schemas
from gateway.auth import Principal
from gateway.bodies import LISTED
from gateway.documents import (
    decision_document,
    error_document,
    explanation_document,
    frontier_document,
    job_document,
    served_document,
    task_document,
)
from gateway.errors import BadRequest, DeadlineExceeded, GatewayError, TooLarge, Unavailable, UnknownTask, Unprocessable
from gateway.issuer import Issuer
from gateway.jobs.jobs import MOST_LISTED, Jobs
from gateway.quotas import Buckets, Quota
from gateway.refusals import as_gateway_error, refusal_headers
from gateway.service import Service
from registry.documents import to_document
from registry.errors import NotFound
from registry.errors import Unavailable as StoreUnavailable
from registry.generations import Generation, GenerationLog
from registry.model import OnInfeasible
from runtime.codecs.native_json import decode_inputs, encode_outputs
from runtime.codecs.text import dumps, loads, raw
from scheduler.frontier import Start

# At DEBUG, which POWERTOOLS_DEBUG sets, it would write every body it has validated to the log.
logging.getLogger("aws_lambda_powertools").setLevel(logging.INFO)

MARGIN_S = 0.5
"""Kept of the function's own time, so that a refusal still reaches the caller."""

GIVEN_UP_S = 0.5
"""Before that a tier is given up: twice what a dispatch leaves it to report (`gateway.dispatch.GRACE_S`)."""

AFTER_S = 0.75
"""How long after its deadline a request may still be refused for want of a catalogue: it is to hear within a second."""

OVER = "the answer is over what Lambda carries; send fewer rows"

NO_JSON = BadRequest("the body is not JSON in UTF-8; send it as application/json")

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
"""What curl says of any body, if it is not told otherwise, and what the resolver would read as such."""

PUBLIC = ("/healthz", "/openapi.json")
"""What anybody whom the front door lets in may ask for."""

OK, ACCEPTED = 200, 202

LATER = ("feedback", "submitJob")
"""What is accepted, and done afterwards."""

Answer = Response[str]
Name = Annotated[str, Path(description="The task's name.")]
Rows = Annotated[int, Query(ge=1, description="Rows of the batch.")]
From = Annotated[Start, Query(description="What the request finds: the variant resident, to be loaded, cold.")]
Limit = Annotated[int, Query(ge=1, le=MOST_LISTED, description="Most jobs that are listed.")]
Key = Annotated[str | None, Header(description="The same for each try of one submission.")]
On = Annotated[str | None, Query(description="Only the placements of one tier.")]


class Routes:
    """The endpoints of /v1.

    `identify` makes a principal of an event, or raises Unauthenticated; `refresh` is called before the service is, with
    how many seconds it has.
    """

    def __init__(
        self,
        service: Service,
        identify: Callable[[Mapping[str, Any]], Principal],
        *,
        refresh: Callable[[float], None] = lambda _: None,
        quota: Quota | None = None,
        issuer: Issuer | None = None,
        feedback: Feedback | None = None,
        jobs: Jobs | None = None,
        inbox: Inbox | None = None,
        generations: GenerationLog | None = None,
    ) -> None:
        """Without `issuer` answers have no receipts, without `feedback` nothing is judged, without `jobs` none are
        taken, without `inbox` all inputs are sent, and without `generations` there are none.
        """
        self._service = service
        self._quota = Buckets() if quota is None else quota
        self._document = ""
        self._identify = identify
        self._refresh = refresh
        self._issuer = issuer
        self._feedback = feedback
        self._taken = jobs
        self._inbox = inbox
        self._generations = generations
        self.app = app = APIGatewayHttpResolver(enable_validation=True, json_body_deserializer=_loads)
        app.configure_openapi(title="Modelless", description="Name a task, hint an SLO, get a prediction.")
        for method, path, name, endpoint, model in (
            ("POST", "/v1/tasks/<task>/predict", "predict", self.predict, schemas.PredictResponse),
            ("POST", "/v1/tasks/<task>/plan", "plan", self.plan, schemas.PlanResponse),
            ("POST", "/v1/tasks/<task>/feedback", "feedback", self.feedback, schemas.AcceptedResponse),
            ("POST", "/v1/tasks/<task>/jobs", "submitJob", self.submit, schemas.JobResponse),
            ("GET", "/v1/jobs/<job_id>", "getJob", self.job, schemas.JobResponse),
            ("GET", "/v1/jobs", "listJobs", self.jobs, schemas.JobsResponse),
            ("DELETE", "/v1/jobs/<job_id>", "cancelJob", self.cancel, schemas.JobResponse),
            ("GET", "/v1/tasks/<task>/frontier", "frontier", self.frontier, schemas.FrontierResponse),
            ("GET", "/v1/tasks/<task>", "getTask", self.task, schemas.TaskResponse),
            ("GET", "/v1/tasks", "listTasks", self.tasks, schemas.TasksResponse),
            ("POST", "/v1/inbox", "offerInbox", self.offer, schemas.InboxResponse),
            ("GET", "/v1/decisions/<decision_id>", "explain", self.decision, schemas.ExplainResponse),
            ("GET", "/v1/generations", "listGenerations", self.generations, schemas.GenerationsResponse),
            ("GET", "/v1/generations/<id_>", "getGeneration", self.generation, schemas.GenerationResponse),
        ):
            app.route(path, method, operation_id=name, responses=_responses(name, model))(endpoint)
        app.get("/healthz", operation_id="healthz")(self.healthz)
        app.get("/openapi.json", include_in_schema=False)(self.openapi)
        app.exception_handler(Exception)(_refused)
        app.not_found(_absent)

    async def answer(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """One payload 2.0 event to its answer. Who asks and its quota come first: a stranger's body is not parsed."""
        if event.get("rawPath") not in PUBLIC:
            try:
                with self._service.tracer.span("authenticate"):
                    caller = self._identify(event)
                    self._quota.take(caller)
            except GatewayError as error:
                return _built(_refused(error))
            self.app.context["caller"] = caller
        if _sends_a_form(event):
            return _built(_refused(NO_JSON))
        answer = await self.app.resolve_async(dict(event), context)
        return fitted(answer) or _built(_refused(TooLarge(OVER, limit_bytes=REPLY_LIMIT)))

    async def predict(self, task: Name, body: schemas.ReferringRequest) -> Answer:
        """Answer inputs under SLO hints."""
        arrived = self._service.clock()
        caller = self._caller(_worth_s(body.slo))
        known = self._service.task(caller, task)
        inputs = decode_inputs(known.inputs, await self._inputs(caller, body))
        key = self._issuer.begin(caller, known) if self._issuer else None
        try:
            left_s = self._time_left_s()
            async with asyncio.timeout(left_s):
                answer = await self._service.predict(
                    caller,
                    task,
                    inputs,
                    _hints(body.slo),
                    id=body.id,
                    arrived=arrived,
                    # Before that, so that it is told to whoever counts: what is cut off is no request that failed.
                    within_s=max(0.0, left_s - GIVEN_UP_S),
                )
        except TimeoutError:
            raise DeadlineExceeded("no answer came within this function's own time") from None
        answer = await self._issuer.signed(answer, key) if self._issuer else answer
        return _json(
            {
                "id": answer.id,
                "task": task,
                "outputs": encode_outputs(answer.outputs),
                "decision": served_document(answer.decision),
            },
            headers={"x-decision-id": answer.decision.decision_id},
        )

    async def _inputs(self, caller: Principal, body: schemas.ReferringRequest) -> Any:
        """The inputs that were sent, or those that were put into the caller's inbox."""
        _check_inputs(body)
        if body.inputs_ref is None:
            return body.inputs
        return loads(await asyncio.to_thread(self._has_inbox().read, caller, body.inputs_ref))

    def offer(self, body: schemas.InboxRequest) -> Answer:
        """Where to put inputs that are too large to send."""
        return _json(self._has_inbox().offer(self._caller(), body.bytes))

    def _has_inbox(self) -> Inbox:
        if self._inbox is None:
            raise UnknownTask("there is no inbox here; send inputs with the request")
        return self._inbox

    def plan(self, task: Name, body: schemas.PlanRequest) -> Answer:
        """What would be chosen now, without running."""
        return _json(decision_document(self._service.plan(self._caller(), task, _hints(body.slo), body.rows)))

    async def feedback(self, task: Name, body: schemas.FeedbackRequest) -> Answer:
        """Judge an answer by its receipt: accuracies follow."""
        caller = self._caller()
        if self._feedback is None:
            raise Unavailable("judgements are not taken here")
        size = len(self.app.current_event.body or "")
        decision_id = await self._feedback.accept(caller, task, body, size)
        return _json({"accepted": True, "decision_id": decision_id}, 202)

    def submit(self, task: Name, body: schemas.ReferringRequest, idempotency_key: Key = None) -> Answer:
        """Have a prediction made when there is room."""
        caller = self._caller()
        job = self._jobs.submit(caller, task, self._asked(caller, body), idempotency_key)
        return _json(job_document(job), ACCEPTED, {"location": f"/v1/jobs/{job.id}"})

    def job(self, job_id: str) -> Answer:
        """One job, with its result once it has one."""
        job, result = self._jobs.find(self._caller(), job_id)
        return _json(job_document(job) | ({} if result is None else {"result": raw(result)}))

    def jobs(self, limit: Limit = LISTED) -> Answer:
        """The caller's jobs, newest first, without their results."""
        return _json({"jobs": [job_document(job) for job in self._jobs.newest(self._caller(), limit)]})

    def cancel(self, job_id: str) -> Answer:
        """A job that has not ended, cancelled."""
        return _json(job_document(self._jobs.cancel(self._caller(), job_id)))

    @property
    def _jobs(self) -> Jobs:
        if self._taken is None:
            raise UnknownTask("no jobs are taken here; ask for predictions")
        return self._taken

    def _asked(self, caller: Principal, body: schemas.ReferringRequest) -> bytes:
        """The body as it came, as what is kept of it is what its caller sent; with the inputs that it refers to."""
        _check_inputs(body)
        sent = (self.app.current_event.decoded_body or "").encode()
        if "inputs_ref" not in body.model_fields_set:
            return sent
        given = loads(sent)
        if (reference := given.pop("inputs_ref")) is not None:
            inputs = self._has_inbox().read(caller, reference)
            loads(inputs)  # what is no JSON value by itself might be more than inputs
            given["inputs"] = raw(inputs)
        return dumps(given)

    def frontier(self, task: Name, rows: Rows = 1, start: From = Start.RESIDENT, tier: On = None) -> Answer:
        """The task's accuracy, latency and cost trade-off."""
        points, tried = self._service.frontier(self._caller(), task, rows=rows, start=start, tier=tier)
        return _json(frontier_document(task, points, tried))

    def tasks(self) -> Answer:
        """The caller's tasks."""
        return _json({"tasks": [task_document(task) for task in self._service.tasks(self._caller())]})

    def task(self, task: Name) -> Answer:
        """One task."""
        return _json(task_document(self._service.task(self._caller(), task)))

    def decision(self, decision_id: str) -> Answer:
        """A past decision of this environment, explained."""
        return _json(explanation_document(*self._service.explain(self._caller(), decision_id)))

    def generations(self) -> Answer:
        """The variants that are being made for the caller's tasks, and those that were, newest first."""
        owned = {task.name for task in self._service.tasks(self._caller())}
        return _json({"generations": [to_document(each) for each in self._generated() if each.task in owned]})

    def generation(self, id_: str) -> Answer:
        """One of them."""
        owned = {task.name for task in self._service.tasks(self._caller())}
        for found in self._generated(id_):
            if found.task in owned:
                return _json(to_document(found))
        raise UnknownTask(f"no generation {id_[:80]!r} is kept", generation=id_[:80])

    def healthz(self) -> Answer:
        """Whether the function answers."""
        return _json({"status": "ok"})

    def openapi(self) -> Answer:
        """This API's OpenAPI document."""
        if not self._document:
            self._document = self.app.get_openapi_json_schema()
        return Response(200, "application/json", self._document)

    def _caller(self, within_s: float = math.inf) -> Principal:
        """Who asks, as `answer` found out; the service is as fresh as the table from here on, or raises Unavailable."""
        caller: Principal = self.app.context["caller"]
        try:
            self._refresh(within_s)
        except StoreUnavailable:
            raise Unavailable("the catalogue cannot be read now") from None
        return caller

    def _generated(self, id_: str | None = None) -> tuple[Generation, ...]:
        """Whoever's generations, or the one of an id."""
        if self._generations is None:
            return ()
        try:
            return self._generations.generations() if id_ is None else (self._generations.generation(id_),)
        except NotFound:
            return ()
        except StoreUnavailable:
            raise Unavailable("generations cannot be read now") from None

    def _time_left_s(self) -> float:
        return max(0.0, self.app.lambda_context.get_remaining_time_in_millis() / 1000 - MARGIN_S)


def _responses(name: str, model: type[BaseModel]) -> dict[int, Any]:
    done = ACCEPTED if name in LATER else OK
    content = {
        status: {"application/json": {"model": m}} for status, m in ((done, model), (422, schemas.ErrorResponse))
    }
    return {
        done: {"description": "Done.", "content": content[done]},
        422: {"description": "A field has an impossible value.", "content": content[422]},
    }


def _hints(hints: schemas.Hints | None) -> Mapping[str, Any] | None:
    """The hints that were given: null lifts a bound, absence keeps the task's."""
    return None if hints is None else hints.model_dump(exclude_unset=True)


def _worth_s(hints: schemas.Hints | None) -> float:
    """For how many seconds a refusal is worth waiting for, by what its caller says; what its task says is not known."""
    if hints is None or hints.latency_ms is None or hints.on_infeasible is not OnInfeasible.STRICT:
        return math.inf
    return hints.latency_ms / 1000 + AFTER_S


def _check_inputs(body: schemas.ReferringRequest) -> None:
    if (body.inputs is None) == (body.inputs_ref is None):
        raise Unprocessable("inputs: give the task's tensors, or inputs_ref in their place", field="inputs")


def _loads(text: str) -> Any:
    return loads(text.encode())


def _sends_a_form(event: Mapping[str, Any]) -> bool:
    types = [
        str(value).lower() for name, value in (event.get("headers") or {}).items() if name.lower() == "content-type"
    ]
    return bool(event.get("body")) and any(each.startswith(FORMS) for each in types)


def _refused(error: Exception) -> Answer:
    match error:
        case RequestValidationError():
            refused = _of_validation(error)
        case RequestUnsupportedContentType() | UnicodeError():
            refused = NO_JSON
        case _:
            refused = as_gateway_error(error)
    return _json({"error": error_document(refused)}, refused.status, refusal_headers(refused))


def _built(answer: Answer) -> dict[str, Any]:
    """An answer as Lambda returns it."""
    headers = {"Content-Type": answer.content_type, **answer.headers}
    return {"statusCode": answer.status_code, "headers": headers, "body": answer.body, "isBase64Encoded": False}


def _absent(error: Exception) -> Answer:
    return _refused(UnknownTask("there is nothing at this path"))


def _of_validation(error: RequestValidationError) -> GatewayError:
    """The first fault that pydantic found, in this API's own form."""
    fault = error.errors()[0]
    field = ".".join(str(part)[:80] for part in fault["loc"] if part != "body") or "body"
    return Unprocessable(f"{field}: {fault['msg']}", field=field)


def _json(document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Response(status, "application/json", dumps(document).decode(), dict(headers or {}))
