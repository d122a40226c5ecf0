"""The HTTP client of a running platform; turns refusals into messages and never retries."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from cli.errors import BadInput, Failed
from cli.options import SIGN

if TYPE_CHECKING:
    import httpx

DOOR = "AWS said: "
"""Begins what a front door of AWS's says in place of the platform."""

TIMEOUT_S = 60.0
"""Longer than any tier's timeout: the platform, not the client, decides when a request is over."""


ABSENT = frozenset({404, 405})
"""How a platform answers for a path that it has not."""


@contextmanager
def writable() -> Iterator[None]:
    """Turn what cannot be written as JSON into a message."""
    try:
        yield
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise BadInput(f"the request holds {half}, half of a character; give whole ones") from error
    except ValueError as error:
        # Python's reader of JSON and click's of numbers take NaN; JSON has none.
        raise BadInput("the request holds NaN or an infinity; give finite numbers") from error


def connect(url: str, api_key: str | None = None, *, start: str = "modelless up", named: str = "--url") -> Server:
    """What `start` serves at `url`, over the transport in the command's context where there is one (tests give one).

    `named` is what the command calls the address. Without a key, requests to AWS are signed; so are those to any
    address for which the command was given --sign.
    """
    import httpx

    context = click.get_current_context()
    transport = context.find_object(httpx.BaseTransport)
    auth = None if api_key else _signer(url, context.meta.get(SIGN))
    return Server(url, api_key, start=start, named=named, transport=transport, auth=auth)


def _signer(url: str, sign: str | None) -> httpx.Auth | None:
    from cli.signing import SigV4, scope_of

    scope = scope_of(url, sign)
    return None if scope is None else SigV4(scope)


class Server:
    """A running platform at `url`."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        start: str = "modelless up",
        named: str = "--url",
        transport: httpx.BaseTransport | None = None,
        auth: httpx.Auth | None = None,
    ) -> None:
        import httpx

        self.url = url.rstrip("/")
        self._start, self._named, self._signs = start, named, auth is not None
        self._transport = transport
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            raise BadInput("--api-key: holds characters that no key has; give it as it was shown")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        try:
            self._http = httpx.Client(
                base_url=self.url, headers=headers, timeout=TIMEOUT_S, transport=transport, auth=auth
            )
        except httpx.InvalidURL as error:
            raise BadInput(f"{named} {url!r}: {error}") from error

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        """The JSON at `path`; raises BadInput for a refusal and Failed when there is no good answer."""
        return self._send("GET", path)

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON answer to `body`; raises as `get` does."""
        return self._send("POST", path, json=body, headers=headers)

    def post_if_there(self, path: str, body: Any) -> Any | None:
        """The JSON answer to `body`, or None where nothing takes it; raises as `get` does."""
        response = self._request("POST", path, json=body)
        if response.status_code in ABSENT:
            return None
        return self._answer(path, response)

    def put(self, url: str, parts: Iterable[bytes], headers: Mapping[str, str]) -> None:
        """Put these bytes where the platform said; by the address alone, which says who may. Raises Failed.

        Neither key nor signature goes along: the address may be another host's, which takes only one of them.
        """
        import httpx

        host = urlsplit(url).hostname
        try:
            with httpx.Client(timeout=TIMEOUT_S, transport=self._transport) as client:
                response = client.put(url, content=parts, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Failed(f"the inputs could not be uploaded to {host}: {type(error).__name__}: {error}") from error
        if not response.is_success:
            raise Failed(f"the inputs could not be uploaded to {host}: {_refused_upload(response)}")

    def delete(self, path: str) -> Any:
        """The JSON answer to giving up what is at `path`; raises as `get` does."""
        return self._send("DELETE", path)

    def tell(self, path: str, body: Any) -> None:
        """Send `body`, to which there is nothing to be said; raises as `get` does."""
        response = self._request("POST", path, json=body)
        if not response.is_success:
            raise self._refusal(path, response)

    def exchange(self, path: str, body: Any) -> tuple[int, Any]:
        """The status and the JSON of whatever the platform answers; raises Failed when it does not."""
        response = self._request("POST", path, json=body)
        return response.status_code, self._json(response)

    def _json(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError as error:
            raise Failed(
                f"{self.url} answers, but not with JSON: is it Modelless? Give its address with {self._named}"
            ) from error

    def _send(self, method: str, path: str, **body: Any) -> Any:
        return self._answer(path, self._request(method, path, **body))

    def _answer(self, path: str, response: httpx.Response) -> Any:
        if not response.is_success:
            raise self._refusal(path, response)
        return self._json(response)

    def _request(self, method: str, path: str, **body: Any) -> httpx.Response:
        import httpx

        try:
            with writable():
                return self._http.request(method, path, **body)
        except httpx.UnsupportedProtocol as error:
            raise BadInput(f"{self._named} {self.url!r}: {error}") from error
        except httpx.ConnectError as error:
            mend = "it is a stack's output FunctionUrl or ApiUrl" if self._signs else f"start it with `{self._start}`"
            raise Failed(f"nothing answers at {self.url}; {mend}, or give another {self._named}") from error
        except httpx.HTTPError as error:
            raise Failed(f"{self.url}: {type(error).__name__}: {error}") from error

    def _refusal(self, path: str, response: httpx.Response) -> BadInput | Failed:
        message = _message(response)
        if response.status_code == 401:
            return BadInput(f"{message}; give --api-key or set MODELLESS_API_KEY")
        if response.status_code == 403 and message.startswith(DOOR):
            return BadInput(f"{message} (HTTP 403); {self._unsigned()}")
        if response.status_code == 413 and message.startswith(DOOR):
            message += "; send fewer rows, or put the inputs where POST /v1/inbox says and name them as inputs_ref"
        if response.status_code == 404 and path.startswith("/v1/tasks/"):
            message += self._suggestion(path.split("/")[3])
        if response.status_code == 429 or response.status_code >= 500:
            return Failed(f"{message} (HTTP {response.status_code})")
        return BadInput(f"{message} (HTTP {response.status_code})")

    def _unsigned(self) -> str:
        """What to do where a front door of AWS's lets nobody in."""
        if self._signs:
            return "attach the stack's CallerPolicyArn to whoever signs, or name the profile that may: AWS_PROFILE"
        return "give --sign to sign with AWS credentials, or --api-key where the API takes a JWT"

    def _suggestion(self, task: str) -> str:
        try:
            known = [t["name"] for t in self.get("/v1/tasks")["tasks"]]
        except (Failed, BadInput):
            return ""
        near = difflib.get_close_matches(task, known, n=3, cutoff=0.5)
        if near:
            return f"; did you mean {' or '.join(near)}?"
        return f"; there are {', '.join(known)}" if known else "; none is registered yet"


def _message(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and isinstance(body.get("error"), str):
        return str(body["error"])
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        return str(body["error"].get("message", body["error"]))
    if isinstance(body, dict) and isinstance(said := body.get("message", body.get("Message")), str):
        return f"{DOOR}{said}"  # its front doors refuse in words of their own
    return f"the server said {response.text[:200]!r}"


def _refused_upload(response: httpx.Response) -> str:
    """What S3 says in its XML, without its address, which whoever reads it could put to; and what to do."""
    said = re.search(r"<Message>(.*?)</Message>", response.text, re.DOTALL)
    message = f"{said[1] if said else response.text[:200]!r} (HTTP {response.status_code})"
    if "expired" in message.lower():
        return f"{message}; it took longer than the address is good for: try again, from nearer or with fewer rows"
    return f"{message}; try again"
