"""The OpenAPI 3.1 document of the HTTP faces, made from the schemas; it never imports a handler."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway import schemas

REFUSALS: Mapping[int, str] = {
    400: "The body cannot be parsed.",
    401: "No credential, or an unknown one.",
    403: "The task may be used, and not judged, by this tenant.",
    404: "No such task, decision or job, or it is another tenant's.",
    408: "The body did not arrive in time.",
    409: "What was done before stands: the answer is judged, the key used, the job ended.",
    413: "The body is over the limit.",
    422: "A field or tensor has an impossible value, or no placement holds a strict SLO.",
    429: "Over the tenant's quota, or no capacity in time; try again after Retry-After seconds.",
    503: "Every placement failed, and the error names each; or what is kept cannot be reached now.",
    504: "No answer came in time.",
}


class Operation(NamedTuple):
    """One operation of the API."""

    method: str
    path: str
    name: str
    summary: str
    answer: type[BaseModel] | None
    body: type[BaseModel] | None = None
    refusals: tuple[int, ...] = (401, 404)
    """Besides 429, which whoever has to say who they are may be answered always."""
    query: type[BaseModel] | None = None
    status: int = 200
    headers: tuple[str, ...] = ()
    """Optional ones of the request."""


PREDICT_REFUSALS = tuple(status for status in REFUSALS if status not in (403, 409))
SMALL_REFUSALS = (400, 401, 404, 408, 413, 422)

OPERATIONS: tuple[Operation, ...] = (
    Operation("get", "/v1/tasks", "listTasks", "The caller's tasks", schemas.TasksResponse, None, (401,)),
    Operation("get", "/v1/tasks/{task}", "getTask", "One task", schemas.TaskResponse),
    Operation(
        "post",
        "/v1/tasks/{task}/predict",
        "predict",
        "Answer inputs under SLO hints",
        schemas.PredictResponse,
        schemas.PredictRequest,
        PREDICT_REFUSALS,
    ),
    Operation(
        "post",
        "/v1/tasks/{task}/plan",
        "plan",
        "What would be chosen now, without running",
        schemas.PlanResponse,
        schemas.PlanRequest,
        SMALL_REFUSALS,
    ),
    Operation(
        "post",
        "/v1/tasks/{task}/feedback",
        "feedback",
        "Judge an answer: accuracies follow",
        schemas.FeedbackResponse,
        schemas.FeedbackRequest,
        (*SMALL_REFUSALS, 403, 409, 503),
    ),
    Operation(
        "get",
        "/v1/tasks/{task}/frontier",
        "frontier",
        "The task's trade-off",
        schemas.FrontierResponse,
        refusals=(401, 404, 422),
        query=schemas.FrontierQuery,
    ),
    Operation(
        "get", "/v1/decisions/{id}", "explain", "A past decision, explained", schemas.ExplainResponse, None, (401, 404)
    ),
    Operation(
        "post",
        "/v1/tasks/{task}/jobs",
        "submitJob",
        "Have a prediction made when there is room",
        schemas.JobResponse,
        schemas.PredictRequest,
        (*SMALL_REFUSALS, 409, 503),
        status=202,
        headers=("Idempotency-Key",),
    ),
    Operation("get", "/v1/jobs/{id}", "getJob", "One job, and its result", schemas.JobResponse, None, (401, 404, 503)),
    Operation(
        "get",
        "/v1/jobs",
        "listJobs",
        "The caller's jobs, newest first",
        schemas.JobsResponse,
        refusals=(401, 404, 422, 503),
        query=schemas.JobsQuery,
    ),
    Operation("delete", "/v1/jobs/{id}", "cancelJob", "Cancel a job", schemas.JobResponse, None, (401, 404, 409, 503)),
    Operation(
        "get",
        "/v1/generations",
        "listGenerations",
        "Variants made on demand",
        schemas.GenerationsResponse,
        None,
        (401, 503),
    ),
    Operation("get", "/v1/capacity", "capacity", "What is kept warm", schemas.CapacityResponse, None, (401,)),
    Operation(
        "get", "/v1/generations/{id}", "getGeneration", "One of them", schemas.GenerationResponse, None, (401, 404, 503)
    ),
    Operation("get", "/v2", "serverMetadata", "Open Inference Protocol: server", None, None, ()),
    Operation("get", "/v2/health/live", "serverLive", "Open Inference Protocol: live", None, None, ()),
    Operation("get", "/v2/health/ready", "serverReady", "Open Inference Protocol: ready", None, None, ()),
    Operation("get", "/v2/models/{model}", "modelMetadata", "Open Inference Protocol: a task's signature", None),
    Operation("get", "/v2/models/{model}/ready", "modelReady", "Open Inference Protocol: task ready", None),
    Operation(
        "post",
        "/v2/models/{model}/infer",
        "infer",
        "Open Inference Protocol: infer, JSON and binary; hints as parameters",
        None,
        None,
        PREDICT_REFUSALS,
    ),
    Operation("post", "/v2/repository/index", "repositoryIndex", "The caller's tasks as models", None, None, (401,)),
    Operation("get", "/metrics", "metrics", "Prometheus metrics", None, None, (401,)),
    Operation("get", "/healthz", "healthz", "Whether the gateway answers", None, None, ()),
)


@cache
def document(version: str) -> Mapping[str, Any]:
    """The whole document; made once."""
    models = {m for o in OPERATIONS for m in (o.answer, o.body) if m is not None} | {schemas.ErrorResponse}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, components = models_json_schema(
        [(model, "validation") for model in ordered], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Modelless",
            "version": version,
            "description": "Name a task, hint an SLO, get a prediction.",
        },
        "paths": paths,
        "components": {
            "schemas": components["$defs"],
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{}, {"bearer": []}, {"apiKey": []}],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "Done."}
    if operation.answer is not None:
        answer["content"] = _json(operation.answer)
    responses = {str(operation.status): answer} | {
        str(status): {"description": REFUSALS[status]}
        | ({"content": _json(schemas.ErrorResponse)} if operation.path.startswith("/v1") else {})
        for status in sorted({*operation.refusals, *((429,) if 401 in operation.refusals else ())})
    }
    parameters = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in operation.path.split("/")
        if part.startswith("{")
    ]
    parameters += [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}} for name in operation.headers
    ]
    if operation.query is not None:
        parameters += _query(operation.query)
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses,
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _json(operation.body)}
    return described


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The fields of a model as optional query parameters; what they refer to is written out."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    found = []
    for name, field in schema["properties"].items():
        described = {**definitions.get(field.get("$ref", "").rpartition("/")[2], {}), **field}
        described.pop("$ref", None)
        found.append({"name": name, "in": "query", "required": False, "schema": described})
    return found


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
