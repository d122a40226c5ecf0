"""Requests signed with AWS Signature Version 4, by botocore's own signer; it sends nothing and keeps no credential."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from cli.errors import BadInput, Failed, needs_aws

if TYPE_CHECKING:
    from botocore.session import Session

SERVICES = {"lambda-url": "lambda", "execute-api": "execute-api"}
"""What a front door signs for, by the label of its host: a function URL, or an HTTP API."""

HOST = re.compile(r"\.(?P<door>lambda-url|execute-api)\.(?P<region>[a-z0-9-]+)\.(?P<domain>.+)$")

AWS_DOMAINS = ("on.aws", "amazonaws.com", "amazonaws.com.cn")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature is good for."""

    service: str
    region: str | None
    """None: the environment's."""


def scope_of(url: str, sign: str | None) -> Scope | None:
    """What requests to `url` are signed for; None where they are not.

    They are where the host is one of AWS's own, or where `sign` names a service: whose a domain of one's own is does
    not show.
    """
    try:
        found = HOST.search(urlsplit(url).hostname or "")
    except ValueError:  # who is to send there says what is wrong with it
        return None
    if sign is None and (found is None or found["domain"] not in AWS_DOMAINS):
        return None
    service = sign or (SERVICES[found["door"]] if found else "")
    return Scope(service, found["region"] if found else None)


class SigV4(httpx.Auth):
    """Signs each request anew: method, path, query, host, content type and body."""

    requires_request_body = True

    def __init__(self, scope: Scope, session: Session | None = None) -> None:
        """Raises BadInput without a region; credentials are looked for with the first request."""
        with needs_aws():
            import botocore.session

        self._session = session or botocore.session.get_session()
        region = scope.region or self._session.get_config_variable("region")
        if not region:
            raise BadInput("no AWS region is set to sign for; set AWS_REGION")
        self._service, self._region = scope.service, region

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The request with its signature; raises Failed without credentials."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        signed = ("host", "content-type")
        headers = {name: request.headers[name] for name in signed if name in request.headers}
        unsigned = AWSRequest(request.method, str(request.url), headers=headers, data=request.content)
        try:
            credentials = self._session.get_credentials()
            if credentials is None:
                raise Failed(
                    "no AWS credentials to sign with; log in with `aws configure` or `aws sso login`, or give --api-key"
                    " where the API takes a JWT"
                )
            SigV4Auth(credentials.get_frozen_credentials(), self._service, self._region).add_auth(unsigned)
        except BotoCoreError as error:
            raise Failed(f"no AWS credentials to sign with: {error}") from error
        for name in ("Authorization", "X-Amz-Date", "X-Amz-Security-Token"):
            if name in unsigned.headers:
                request.headers[name] = unsigned.headers[name]
        yield request
