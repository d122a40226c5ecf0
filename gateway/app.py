"""The HTTP face on one machine, as one ASGI application; it wires and routes, and decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth import Keyring
from gateway.capacity.keeper import Keeper
from gateway.errors import GatewayError, UnknownTask
from gateway.http.errors import native_refusal, oip_refusal
from gateway.http.face import Face
from gateway.http.lingering import Lingering
from gateway.http.native import Native
from gateway.http.oip import Oip
from gateway.http.pages import Pages
from gateway.jobs.jobs import Jobs
from gateway.judgements import Judgements
from gateway.metrics import Metrics
from gateway.quotas import Buckets, Quota
from gateway.service import Service
from gateway.settings import BODY_LIMIT
from registry.stores.generations import SqliteGenerations


def create_app(
    service: Service,
    *,
    metrics: Metrics,
    keyring: Keyring | None = None,
    body_limit: int = BODY_LIMIT,
    judgements: Judgements | None = None,
    generations: SqliteGenerations | None = None,
    keeper: Keeper | None = None,
    quota: Quota | None = None,
    jobs: Jobs | None = None,
) -> Starlette:
    """The application over a service; `metrics` must be one of the service's observers to count its answers.

    Without a keyring every caller is anonymous: bind it to loopback only (`gateway.auth.check_binding`). Judged
    accuracies last as long as the application, unless whoever gives `judgements` has them published. Without
    `generations` nothing is generated, and none are listed; without a `keeper` nothing is kept warm ahead of requests;
    without `jobs` none are taken; without a `quota` nobody is held to one.
    """
    judges = judgements or Judgements(service)
    counted = Buckets() if quota is None else quota
    face = Face(service, metrics, keyring or Keyring(), body_limit, service.clock, quota=counted)
    release = _version()
    routes = [
        *Native(face, judges, generations, keeper, jobs).routes(),
        *Oip(face, version=release).routes(),
        *Pages(face, version=release).routes(),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={404: _absent, 405: _not_allowed},
        middleware=[Middleware(Lingering, most=body_limit)],
    )
    # A redirect to the path without its slash would lead to whatever host the request names.
    app.router.redirect_slashes = False
    return app


async def _absent(request: Request, error: Exception) -> Response:
    return _refusal(request)(UnknownTask(f"nothing is at {request.url.path[:200]}; see /docs"))


async def _not_allowed(request: Request, error: Exception) -> Response:
    refused = MethodNotAllowed(f"{request.method} is not for {request.url.path[:200]}; see /docs")
    response = _refusal(request)(refused)
    response.headers.update(getattr(error, "headers", None) or {})
    return response


class MethodNotAllowed(GatewayError):
    """The path exists, for other methods."""

    status = 405
    code = "method_not_allowed"


def _refusal(request: Request) -> Callable[[GatewayError], Response]:
    return oip_refusal if request.url.path.startswith("/v2") else native_refusal


def _version() -> str:
    try:
        return installed_version("modelless")
    except PackageNotFoundError:
        return "0+checkout"
