"""This platform's own JSON API under /v1; parses, calls the service once, and renders."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.bodies import answer_body, hints_of, id_of, limit_of, object_of, predict_request
from gateway.capacity.keeper import Keeper
from gateway.capacity.report import capacity_document
from gateway.documents import (
    decision_document,
    explanation_document,
    frontier_document,
    job_document,
    judgement_document,
    task_document,
)
from gateway.errors import UnknownTask, Unprocessable
from gateway.http.errors import native_refusal
from gateway.http.face import Face, off_loop, size_of
from gateway.jobs.jobs import Jobs
from gateway.judgements import Judgements
from registry.documents import to_document
from registry.errors import NotFound
from registry.stores.generations import SqliteGenerations
from runtime.codecs.text import dumps, raw
from scheduler.frontier import Start

ROWS_DIGITS = 9
"""Of the largest batch that anybody may ask about; no placement takes more than registry.model.MAX_BATCH."""

BYTES_EACH = 300
"""Of a demand or an action in the report on capacity, as JSON."""


class Native:
    """The endpoints of /v1."""

    def __init__(
        self,
        face: Face,
        judgements: Judgements,
        generations: SqliteGenerations | None = None,
        keeper: Keeper | None = None,
        jobs: Jobs | None = None,
    ) -> None:
        self._face = face
        self._service = face.service
        self._judgements = judgements
        self._generations = generations
        self._keeper = keeper
        self._taken = jobs

    def routes(self) -> list[Route]:
        """The busiest first: routes are matched in order."""
        table = [
            ("/v1/tasks/{task}/predict", self.predict, "POST"),
            ("/v1/jobs/{id}", self.job, "GET"),
            ("/v1/tasks/{task}/jobs", self.submit, "POST"),
            ("/v1/tasks/{task}/plan", self.plan, "POST"),
            ("/v1/tasks/{task}/feedback", self.feedback, "POST"),
            ("/v1/tasks/{task}/frontier", self.frontier, "GET"),
            ("/v1/tasks/{task}", self.task, "GET"),
            ("/v1/tasks", self.tasks, "GET"),
            ("/v1/decisions/{id}", self.decision, "GET"),
            ("/v1/generations/{id}", self.generation, "GET"),
            ("/v1/generations", self.generations, "GET"),
            ("/v1/capacity", self.capacity, "GET"),
            ("/v1/jobs/{id}", self.cancel, "DELETE"),
            ("/v1/jobs", self.jobs, "GET"),
        ]
        return [
            Route(path, self._face.guarded(endpoint, native_refusal), methods=[method])
            for path, endpoint, method in table
        ]

    async def predict(self, request: Request) -> Response:
        """Inputs and hints to outputs and the decision that gave them."""
        arrived = self._face.clock()
        principal = self._face.principal(request)
        # The signature comes before the body: an unknown or foreign task costs nobody a parse.
        task = self._service.task(principal, request.path_params["task"])
        body = await self._face.body(request)
        given, inputs = await off_loop(len(body), lambda: predict_request(body, task))
        answer = await self._service.predict(
            principal,
            task.name,
            inputs,
            hints_of(given),
            id=id_of(request.headers.get("x-request-id") or given.get("id")),
            arrived=arrived,
        )
        rendered = await off_loop(size_of(answer.outputs), lambda: answer_body(answer))
        headers = {"x-request-id": answer.id, "x-decision-id": answer.decision.decision_id}
        return Response(rendered, 200, headers, "application/json")

    async def plan(self, request: Request) -> Response:
        """What would be chosen now, without running."""
        principal = self._face.principal(request)
        task = self._service.task(principal, request.path_params["task"])
        body = await self._face.body(request) or b"{}"
        given = await off_loop(len(body), lambda: object_of(body, {"slo", "rows"}))
        rows = given.get("rows", 1)
        if type(rows) is not int:
            raise Unprocessable("rows: is not a whole number; give 1 or more", field="rows")
        return _json(decision_document(self._service.plan(principal, task.name, hints_of(given), rows)))

    async def feedback(self, request: Request) -> Response:
        """The right answers of a decision's rows to the accuracy that follows from them."""
        principal = self._face.principal(request)
        task = self._service.task(principal, request.path_params["task"])
        body = await self._face.body(request)
        given = await off_loop(len(body), lambda: object_of(body, {"decision_id", "receipt", "expected"}))
        decision_id = given.get("decision_id")
        if given.get("receipt") is not None:
            raise Unprocessable("receipt: answers here come without one; give their decision_id", field="receipt")
        if not isinstance(decision_id, str):
            raise Unprocessable("decision_id: is not text; give the id of a recent answer", field="decision_id")
        if "expected" not in given:
            raise Unprocessable("expected: is missing; give one right answer for each row", field="expected")
        judgement = await self._judgements.judge(principal, task.name, decision_id, given["expected"])
        return _json(judgement_document(judgement))

    async def frontier(self, request: Request) -> Response:
        """The task's accuracy, latency and cost trade-off."""
        principal, task = self._face.principal(request), request.path_params["task"]
        race = _race(request.query_params)
        # On a thread: many placements of a snapshot that nobody has looked at yet take tens of milliseconds.
        points, tried = await asyncio.to_thread(self._service.frontier, principal, task, **race)
        return _json(frontier_document(task, points, tried, self._service.stale()))

    async def tasks(self, request: Request) -> Response:
        """The caller's tasks."""
        tasks = self._service.tasks(self._face.principal(request))
        return _json({"tasks": [task_document(task) for task in tasks]})

    async def task(self, request: Request) -> Response:
        """One task."""
        return _json(task_document(self._service.task(self._face.principal(request), request.path_params["task"])))

    async def decision(self, request: Request) -> Response:
        """One past decision, explained."""
        return _json(
            explanation_document(*self._service.explain(self._face.principal(request), request.path_params["id"]))
        )

    async def submit(self, request: Request) -> Response:
        """Inputs and hints to a job, which is made when there is room."""
        principal = self._face.principal(request)
        task = self._service.task(principal, request.path_params["task"])
        body = await self._face.body(request)
        key = request.headers.get("idempotency-key")
        job = await asyncio.to_thread(self._jobs.submit, principal, task.name, body, key)
        return Response(dumps(job_document(job)), 202, {"location": f"/v1/jobs/{job.id}"}, "application/json")

    async def job(self, request: Request) -> Response:
        """One job, with its result once it has one."""
        principal = self._face.principal(request)
        job, result = await asyncio.to_thread(self._jobs.find, principal, request.path_params["id"])
        return _json(job_document(job) | ({} if result is None else {"result": raw(result)}))

    async def jobs(self, request: Request) -> Response:
        """The caller's jobs, newest first, without their results."""
        principal = self._face.principal(request)
        found = await asyncio.to_thread(self._jobs.newest, principal, limit_of(request.query_params))
        return _json({"jobs": [job_document(job) for job in found]})

    async def cancel(self, request: Request) -> Response:
        """A job that has not ended, cancelled."""
        principal = self._face.principal(request)
        return _json(job_document(await asyncio.to_thread(self._jobs.cancel, principal, request.path_params["id"])))

    @property
    def _jobs(self) -> Jobs:
        if self._taken is None:
            raise UnknownTask("no jobs are taken here; ask for predictions")
        return self._taken

    async def generations(self, request: Request) -> Response:
        """The variants that are being made for the caller's tasks, and those that were, newest first."""
        owned = {task.name for task in self._service.tasks(self._face.principal(request))}
        found = await asyncio.to_thread(self._generations.generations) if self._generations else ()
        return _json({"generations": [to_document(generation) for generation in found if generation.task in owned]})

    async def capacity(self, request: Request) -> Response:
        """What is kept warm ahead of requests, and why."""
        owned = {task.name for task in self._service.tasks(self._face.principal(request))} | {""}
        report, budget = (self._keeper.last, self._keeper.budget_usd_per_h) if self._keeper else (None, 0.0)
        size = BYTES_EACH * (len(report.demands) + len(report.outcomes)) if report else 0
        return Response(
            await off_loop(size, lambda: dumps(capacity_document(report, budget, owned.__contains__))),
            media_type="application/json",
        )

    async def generation(self, request: Request) -> Response:
        """One of them."""
        owned = {task.name for task in self._service.tasks(self._face.principal(request))}
        id_ = request.path_params["id"]
        try:
            found = await asyncio.to_thread(self._generations.generation, id_) if self._generations else None
        except NotFound:
            found = None
        if found is None or found.task not in owned:
            raise UnknownTask(f"no generation {id_[:80]!r} is kept", generation=id_[:80])
        return _json(to_document(found))


def _race(given: Mapping[str, str]) -> dict[str, Any]:
    """The query of a frontier: over how many rows, from which start, on which tier."""
    for name in given:
        if name not in ("rows", "start", "tier"):
            raise Unprocessable(f"{name[:80]}: is not a parameter; use rows, start or tier", field=name[:80])
    rows, start = given.get("rows", "1"), given.get("start", Start.RESIDENT)
    if not rows.isascii() or not rows.isdecimal() or not 1 <= len(rows) <= ROWS_DIGITS:
        raise Unprocessable("rows: is not a whole number; give 1 or more", field="rows")
    if start not in tuple(Start):
        raise Unprocessable(f"start: {start[:80]!r} is unknown; use one of {[s.value for s in Start]}", field="start")
    return {"rows": int(rows), "start": Start(start), "tier": given.get("tier")}


def _json(document: Mapping[str, Any]) -> Response:
    return Response(dumps(document), media_type="application/json")
