"""The Open Inference Protocol v2 over HTTP, with the binary tensor extension and Triton's repository and statistics.

Sources: kserve/open-inference-protocol, `specification/protocol/inference_rest.md`; Triton's
`extension_binary_data.md`, `extension_model_repository.md` and `extension_statistics.md`.
"""

from __future__ import annotations

from collections.abc import Mapping

from runtime.batcher import Outcome
from runtime.codecs.text import loads
from runtime.codecs.v2 import InferRequest
from runtime.container import quick
from runtime.container.exchange import BINARY, JSON, Exchange
from runtime.container.http import refuse, reply
from runtime.container.plane import Plane, ask_of, keep_of
from runtime.container.router import Route
from runtime.errors import InvalidBody, RuntimeFault

LENGTH_HEADER = b"inference-header-content-length"
LENGTH_DIGITS = 18

Names = Mapping[str, str]


class Oip:
    """The endpoints of /v2."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def routes(self) -> list[Route]:
        """What is served where."""
        table = [Route("GET", "/v2/models/stats", self.statistics)]
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            table += [
                Route("POST", f"{model}/infer", self.infer),
                Route("GET", f"{model}/ready", self.model_ready),
                Route("GET", f"{model}/stats", self.statistics),
                Route("GET", model, self.model),
            ]
        return [
            *table,
            Route("POST", "/v2/repository/index", self.index),
            Route("POST", "/v2/repository/models/{model}/load", self.load),
            Route("POST", "/v2/repository/models/{model}/unload", self.unload),
            Route("POST", "/v2/repository/models/{model}/versions/{version}/load", self.load),
            Route("POST", "/v2/repository/models/{model}/versions/{version}/unload", self.unload),
            Route("GET", "/v2/health/live", self.live),
            Route("GET", "/v2/health/ready", self.ready),
            Route("GET", "/v2", self.server),
            Route("GET", "/v2/", self.server),
        ]

    def infer(self, exchange: Exchange, names: Names) -> None:
        """Tensors to tensors, in JSON, binary or both."""
        length = header_length(exchange) if LENGTH_HEADER in exchange.headers else None
        infer(self._plane, exchange, names["model"], names.get("version"), length)

    async def model(self, exchange: Exchange, names: Names) -> None:
        """A model's metadata; it is loaded if its signature is not known."""
        reply(exchange, await self._plane.describe(names["model"], names.get("version")))

    async def model_ready(self, exchange: Exchange, names: Names) -> None:
        """Whether a model is loaded."""
        ready = await self._plane.model_ready(names["model"], names.get("version"))
        reply(exchange, {"name": names["model"], "ready": ready}, 200 if ready else 503)

    async def statistics(self, exchange: Exchange, names: Names) -> None:
        """Counters since the start."""
        found = await self._plane.statistics(names.get("model"), names.get("version"))
        reply(exchange, {"model_stats": found})

    async def index(self, exchange: Exchange, names: Names) -> None:
        """What the repository has, and what of it is loaded."""
        wanted = _optional(exchange)
        reply(exchange, await self._plane.index(ready=wanted.get("ready") is True))

    async def load(self, exchange: Exchange, names: Names) -> None:
        """Load a model, and keep it loaded unless the parameter `pin` is false."""
        await self._plane.load(names["model"], names.get("version"), keep_of(_parameters(exchange)))
        exchange.answer(200, b"")

    async def unload(self, exchange: Exchange, names: Names) -> None:
        """Unload a model once what came before is answered."""
        _optional(exchange)
        await self._plane.unload(names["model"], names.get("version"))
        exchange.answer(200, b"")

    def server(self, exchange: Exchange, names: Names) -> None:
        """The server's metadata."""
        reply(exchange, self._plane.server_metadata())

    def live(self, exchange: Exchange, names: Names) -> None:
        """Whether the server answers."""
        reply(exchange, {"live": True})

    def ready(self, exchange: Exchange, names: Names) -> None:
        """Whether it takes requests."""
        ready = self._plane.ready
        reply(exchange, {"ready": ready}, 200 if ready else 503)


class Reply:
    """The answer to one infer request, once its outcome is told."""

    __slots__ = ("_exchange", "_model", "_request")

    def __init__(self, exchange: Exchange, model: str, request: InferRequest) -> None:
        self._exchange = exchange
        self._model = model
        self._request = request

    def __call__(self, outcome: Outcome | RuntimeFault) -> None:
        """Answer."""
        exchange = self._exchange
        if isinstance(outcome, RuntimeFault):
            refuse(exchange, outcome)
            return
        if exchange.span is not None:
            exchange.span.note(model=self._model, **quick.parameters_of(outcome))
        try:
            body, header = quick.render(self._model, outcome, self._request)
        except Exception as fault:  # noqa: BLE001 - the outermost handler
            refuse(exchange, fault)
            return
        if header is None:
            self.answer_json(exchange, body)
        else:
            self.answer_binary(exchange, body, header)

    def answer_json(self, exchange: Exchange, body: bytes) -> None:
        """Answer with JSON."""
        exchange.answer(200, body, JSON)

    def answer_binary(self, exchange: Exchange, body: bytes, header: int) -> None:
        """Answer with binary tensors after `header` bytes of JSON."""
        exchange.answer(200, body, BINARY, [(LENGTH_HEADER, b"%d" % header)])


def infer(
    plane: Plane,
    exchange: Exchange,
    model: str,
    version: str | None,
    header: int | None,
    *,
    reply_with: type[Reply] = Reply,
) -> None:
    """Have a model answer an exchange whose body is an infer request with so many bytes of JSON before its tensors."""
    arrived = plane.clock()
    request = quick.parse(exchange.body, header)
    ask = ask_of(request.parameters, arrived)
    work = plane.infer(model, version, request.inputs, ask, reply_with(exchange, model, request))
    if not exchange.answered:
        exchange.cancel = lambda: plane.cancel(work)


def _optional(exchange: Exchange) -> dict[str, object]:
    """A request's JSON object, if it has a body; raises InvalidBody for what is none."""
    document = loads(exchange.body) if exchange.body else {}
    if not isinstance(document, dict):
        raise InvalidBody("the body must be an object, if there is one")
    return document


def _parameters(exchange: Exchange) -> dict[str, object]:
    """The parameters of what is asked of the repository."""
    parameters = _optional(exchange).get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidBody("parameters must be an object")
    return parameters


def header_length(exchange: Exchange) -> int | None:
    """The length of the JSON before binary tensors, if the request has any; raises InvalidBody for what is none."""
    given = exchange.headers.get(LENGTH_HEADER)
    if given is None:
        return None
    # A longer number is more than any body has, and more digits than int() reads.
    if not given.isdigit() or len(given) > LENGTH_DIGITS:
        raise InvalidBody(f"Inference-Header-Content-Length is {given[:40]!r}, not a number of bytes")
    return int(given)
