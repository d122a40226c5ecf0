"""SageMaker's contract for containers: one model, or many that it loads and unloads itself; knows no other protocol.

Sources: Amazon SageMaker AI Developer Guide, "Custom Inference Code with Hosting Services" and "Custom Containers
Contract for Multi-Model Endpoints". Of a request's headers SageMaker passes on Content-Type, Accept and
X-Amzn-SageMaker-Custom-Attributes only, so binary tensors come as Triton has them there: the length of the JSON before
them is a parameter of the content type.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.batcher import Outcome
from runtime.codecs.text import dumps, loads
from runtime.container.exchange import JSON, Exchange
from runtime.container.http import refuse, reply
from runtime.container.oip import Reply, infer
from runtime.container.plane import Keep, Plane, ask_of, provenance_of
from runtime.container.quick import parameters_of
from runtime.container.repository import Folder, Version
from runtime.container.router import Route, query
from runtime.container.signature import Signature
from runtime.errors import InvalidBody, InvalidTensor, RuntimeFault, UnknownModel, Unsigned

if TYPE_CHECKING:
    from registry.model import TensorSpec

ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
BINARY_TYPE = b"application/vnd.sagemaker-triton.binary+json;json-header-size=%d"

LOOK_S = 1.0
"""For how long the one model that there is is taken to be the only one."""

PAGE = 100
"""Models of one page, where the caller does not say."""

MOST_NAME = 1024
"""Characters of a model's name, as SageMaker allows."""

ACTIONS = ("load", "unload")

_HEADER_SIZE = re.compile(rb"application/vnd\.sagemaker-triton\.binary\+json\s*;\s*json-header-size\s*=\s*(\d{1,18})")

Names = Mapping[str, str]
Later = Awaitable[None] | None
"""What is left to do."""


class SageMaker:
    """The endpoints that SageMaker calls."""

    def __init__(self, plane: Plane, folder: Folder, *, signed: bool = False) -> None:
        """`signed`: only what has a signature may be loaded, as nothing in a folder has."""
        self._plane = plane
        self._signed = signed
        self._folder = folder
        """Below which the models lie that it has loaded."""
        self._urls: dict[str, str] = {}
        self._only: tuple[str | None, float] = None, -math.inf
        """The one model that there is, and until when (s) that is not looked up again."""

    def routes(self) -> list[Route]:
        """What is served where."""
        return [
            Route("GET", "/ping", self.ping),
            Route("POST", "/invocations", self.invocations),
            Route("POST", "/models/{model}/invoke", self.invoke),
            Route("POST", "/models", self.load),
            Route("GET", "/models", self.page),
            Route("GET", "/models/{model}", self.get),
            Route("DELETE", "/models/{model}", self.unload),
        ]

    def ping(self, exchange: Exchange, names: Names) -> None:
        """Whether requests are taken."""
        exchange.answer(200 if self._plane.ready else 503, b"")

    def invocations(self, exchange: Exchange, names: Names) -> Later:
        """The container's one model, or the one that the custom attributes name as model=NAME.

        With action=load or action=unload nothing is run: an inference component has no other way to be told.
        """
        only, until = self._only
        attributes = dict(_attributes(exchange))
        model = attributes.get("model") or (only if self._plane.clock() < until else None)
        if "action" in attributes:
            return self._act(exchange, attributes["action"], model)
        return self._ask_only(exchange) if model is None else self._answer(exchange, model)

    def invoke(self, exchange: Exchange, names: Names) -> Later:
        """A model that was loaded here; X-Amzn-SageMaker-Target-Model is its name for the caller, and only that."""
        self._check_loaded(names["model"])
        return self._answer(exchange, names["model"])

    async def load(self, exchange: Exchange, names: Names) -> None:
        """Load a model under the name that SageMaker has for it."""
        document = loads(exchange.body)
        if not isinstance(document, dict):
            raise InvalidBody("the body must be an object with model_name and url")
        name, url = (_text(document, key) for key in ("model_name", "url"))
        if len(name) > MOST_NAME:
            raise InvalidBody(f"model_name has {len(name)} characters; give at most {MOST_NAME}")
        if self._signed:
            raise Unsigned(f"model {name[:140]!r}: what lies in a folder has no signature, and only what has is loaded")
        versions = await asyncio.to_thread(self._versions, name, url)
        await self._plane.models.add(name, versions)
        self._urls[name] = url
        reply(exchange, self._document(name))

    def page(self, exchange: Exchange, names: Names) -> None:
        """The models that are loaded, in pages."""
        asked = query(exchange.path)
        limit, start = (_whole(asked, key, default) for key, default in (("limit", PAGE), ("next_page_token", 0)))
        loaded = self._loaded()
        end = start + max(1, limit)
        document: dict[str, Any] = {"models": [self._document(name) for name in loaded[start:end]]}
        if end < len(loaded):
            document["nextPageToken"] = str(end)
        reply(exchange, document)

    def get(self, exchange: Exchange, names: Names) -> None:
        """One model that is loaded."""
        self._check_loaded(names["model"])
        reply(exchange, self._document(names["model"]))

    async def unload(self, exchange: Exchange, names: Names) -> None:
        """Unload a model; its memory is free when this is answered."""
        self._check_loaded(names["model"])
        await self._plane.models.unload(names["model"])
        self._urls.pop(names["model"], None)
        exchange.answer(200, b"")

    async def _act(self, exchange: Exchange, action: str, model: str | None) -> None:
        """Load a model, or unload it if it is loaded; the answer is what is loaded then.

        What its publisher says of it are parameters of the body: attributes are few and short.
        """
        if action not in ACTIONS or model is None:
            raise InvalidBody(f"action={action:.40} is not one of {', '.join(ACTIONS)} of a model=NAME")
        if action == "load":
            document = loads(exchange.body) if exchange.body else {}
            if not isinstance(document, dict):
                raise InvalidBody("the body must be an object, if there is one")
            provenance = provenance_of(_object(document, "parameters"))
            await self._plane.load(model, None, Keep(pin=False, provenance=provenance))
        elif self._plane.models.holds(model):
            await self._plane.unload(model)
        reply(exchange, {"models": [{"modelName": name} for name in self._loaded()]})

    async def _ask_only(self, exchange: Exchange) -> None:
        known = await self._plane.models.names()
        if len(known) != 1:
            raise InvalidBody(
                f"there are {len(known)} models here; name one in X-Amzn-SageMaker-Custom-Attributes: model=NAME"
            )
        self._only = known[0], self._plane.clock() + LOOK_S
        later = self._answer(exchange, known[0])
        if later is not None:
            await later

    def _answer(self, exchange: Exchange, model: str) -> Later:
        length = _HEADER_SIZE.fullmatch(exchange.headers.get(b"content-type", b""))
        try:
            infer(self._plane, exchange, model, None, int(length[1]) if length else None, reply_with=_Reply)
        except (InvalidBody, InvalidTensor):
            # Few bodies are in the other form: to look for it first would be to read each one twice.
            native = None if length else _native(loads(exchange.body))
            if native is None:
                raise
            return _answer_native(self._plane, exchange, model, native)
        return None

    def _versions(self, name: str, url: str) -> Sequence[Version]:
        try:
            path = Path(url).resolve()
        except ValueError as fault:
            raise InvalidBody(f"url {url[:200]!r} is no path: {fault}") from None
        if not path.is_relative_to(self._folder.root.resolve()):
            raise InvalidBody(f"url {url[:200]!r} does not lie below {self._folder.root}")
        versions = self._folder.read(name, path)
        if not versions:
            raise InvalidBody(f"url {url[:200]!r} holds no ONNX model; put model.onnx there")
        return versions

    def _loaded(self) -> list[str]:
        return sorted({key.model for key in self._plane.models.loaded})

    def _check_loaded(self, model: str) -> None:
        if not self._plane.models.holds(model):
            raise UnknownModel(f"model {model[:140]!r} is not loaded")

    def _document(self, name: str) -> dict[str, str]:
        return {"modelName": name, "modelUrl": self._urls.get(name, str(self._folder.root / name))}


class _Reply(Reply):
    """An answer whose headers SageMaker lets through."""

    __slots__ = ()

    def answer_json(self, exchange: Exchange, body: bytes) -> None:
        """Answer with JSON."""
        exchange.answer(200, body, JSON, _echo(exchange))

    def answer_binary(self, exchange: Exchange, body: bytes, header: int) -> None:
        """Answer with binary tensors after `header` bytes of JSON."""
        exchange.answer(200, body, BINARY_TYPE % header, _echo(exchange))


async def _answer_native(plane: Plane, exchange: Exchange, model: str, document: dict[str, Any]) -> None:
    from runtime.codecs.native_json import decode_inputs, encode_outputs  # noqa: PLC0415 - not on a start's path

    arrived = plane.clock()
    target = await plane.models.target(model, None)
    hints = {**_object(document, "slo"), **_object(document, "parameters")}
    inputs = decode_inputs(_specs(target.signature), document["inputs"])

    def done(outcome: Outcome | RuntimeFault) -> None:
        if isinstance(outcome, RuntimeFault):
            refuse(exchange, outcome)
            return
        if exchange.span is not None:
            exchange.span.note(model=model, **parameters_of(outcome))
        try:
            answer = {
                "model_name": model,
                "model_version": outcome.variant,
                "parameters": parameters_of(outcome),
                "outputs": encode_outputs(outcome.outputs),
            }
        except Exception as fault:  # noqa: BLE001 - the outermost handler
            refuse(exchange, fault)
        else:
            exchange.answer(200, dumps(answer), JSON, _echo(exchange))

    work = plane.infer(model, None, inputs, ask_of(hints, arrived), done)
    if not exchange.answered:
        exchange.cancel = lambda: plane.cancel(work)


def _native(document: Any) -> dict[str, Any] | None:
    """A body of this platform's own form: inputs by name, or the one input itself; None for v2's list of tensors."""
    if not isinstance(document, dict) or "inputs" not in document:
        return None
    inputs = document["inputs"]
    first = inputs[0] if isinstance(inputs, list) and inputs else None
    return None if isinstance(first, dict) and "name" in first else document


def _specs(signature: Signature) -> list[TensorSpec]:
    """The inputs that a JSON value can be decoded for: a scalar has no place in this platform's own form."""
    from registry.model import TensorSpec  # noqa: PLC0415 - not on a start's path

    return [TensorSpec(port.name, port.datatype, port.shape, port.finite) for port in signature.inputs if port.shape]


def _attributes(exchange: Exchange) -> list[tuple[str, str]]:
    """The custom attributes as KEY=VALUE pairs, if that is what they are."""
    text = exchange.headers.get(ATTRIBUTES, b"").decode("latin-1")
    pairs = (part.partition("=") for part in re.split("[,;]", text))
    return [(key.strip(), value.strip()) for key, equals, value in pairs if equals]


def _echo(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    attributes = exchange.headers.get(ATTRIBUTES)
    return [] if attributes is None else [(ATTRIBUTES, attributes)]


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidBody(f"{key} must be a text that is not empty")
    return value


def _object(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise InvalidBody(f"{key} must be an object")
    return value


def _whole(asked: Mapping[str, str], key: str, default: int) -> int:
    text = asked.get(key)
    if text is None:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise InvalidBody(f"{key} is {text[:40]!r}, not a whole number")
    return int(text)
