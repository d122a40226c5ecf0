"""The operators' and readers' pages: health, metrics, OpenAPI and a page that renders it without the network."""

from __future__ import annotations

from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.http import openapi
from gateway.http.errors import native_refusal
from gateway.http.face import Face
from runtime.codecs.text import dumps

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430}
h1{font-size:1.5rem}h2{font-size:1.05rem;margin:2rem 0 .3rem}code,pre{font:13px ui-monospace,monospace}
.m{display:inline-block;min-width:3.2rem;font-weight:600;color:#0b6b53}.post{color:#8a4b08}
pre{background:#f4f6f8;padding:.7rem;overflow:auto;border-radius:4px}summary{cursor:pointer}
table{border-collapse:collapse}td{padding:.1rem .8rem .1rem 0;vertical-align:top}
"""


class Pages:
    """The endpoints outside the two APIs."""

    def __init__(self, face: Face, *, version: str) -> None:
        self._face = face
        self._version = version

    def routes(self) -> list[Route]:
        """What is asked for rarely, so matched last."""
        table = (
            ("/healthz", self.healthz, True),
            ("/metrics", self.metrics, False),
            ("/openapi.json", self.openapi, True),
            ("/docs", self.docs, True),
        )
        return [
            Route(path, self._face.guarded(endpoint, native_refusal, public=public), methods=["GET"])
            for path, endpoint, public in table
        ]

    async def healthz(self, request: Request) -> Response:
        """Whether the gateway answers."""
        return Response(b'{"status":"ok"}', media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        """Prometheus metrics, for whoever has a key: of the caller's tasks, and of what is nobody's."""
        owned = {task.name for task in self._face.service.tasks(self._face.principal(request))}
        return Response(
            self._face.metrics.exposition(owned.__contains__), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document."""
        return Response(dumps(openapi.document(self._version)), media_type="application/json")

    async def docs(self, request: Request) -> Response:
        """The OpenAPI document for people; one page, nothing loaded from elsewhere."""
        return Response(page(openapi.document(self._version)), media_type="text/html; charset=utf-8")


def page(document: Any) -> str:
    """An OpenAPI document as one HTML page."""
    schemas = document["components"]["schemas"]
    operations = "".join(
        _operation(method, path, operation, schemas)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    info = document["info"]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])} API</title>"
        f"<style>{STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{escape(info['description'])} Machine-readable: <a href=/openapi.json>/openapi.json</a>.</p>{operations}"
    )


def _operation(method: str, path: str, operation: Any, schemas: Any) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(status)}</code><td>{escape(response['description'])}"
        for status, response in operation["responses"].items()
    )
    parts = [
        f'<h2><span class="m {method}">{method.upper()}</span><code>{escape(path)}</code></h2>'
        f"<p>{escape(operation['summary'])}</p><table>{rows}</table>"
    ]
    for title, holder in (("Body", operation.get("requestBody")), ("Answer", _answer(operation))):
        if holder is not None and "content" in holder:
            parts.append(_schema(title, holder["content"]["application/json"]["schema"]["$ref"], schemas))
    return "".join(parts)


def _schema(title: str, reference: str, schemas: Any) -> str:
    name = reference.rpartition("/")[2]
    text = dumps_pretty(schemas[name])
    return f"<details><summary>{title}: <code>{escape(name)}</code></summary><pre>{escape(text)}</pre></details>"


def dumps_pretty(value: Any) -> str:
    """JSON for people."""
    import json  # noqa: PLC0415 - orjson indents too, but runtime.codecs.text is for machines

    return json.dumps(value, indent=2, ensure_ascii=False)


def _answer(operation: dict[str, Any]) -> Any:
    """What is answered where all goes well."""
    return next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
