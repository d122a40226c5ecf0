"""Inputs that are too large to send, by reference: a tenant's own folder of the bucket; it reads nothing else, ever.

A caller asks where to put its inputs, puts them there itself, and names them in its request. The name is 32 hex digits
that were made here; it is no key, no path and no URL, and what it becomes part of says whose it is. So nothing that a
caller writes leads to another object, another tenant's or another host's.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from gateway.auth import Principal
from gateway.errors import TooLarge, Unavailable, UnknownTask, Unprocessable
from registry.aws import failures, make_client
from registry.errors import Unavailable as StoreUnavailable
from registry.tenants import tenant_hash

PREFIX = "inbox/"
"""Of the bucket's keys; what lies there is gone after a day (template.yaml)."""

LIMIT_BYTES = 16 * 2**20
"""As for a request's body on one machine."""

OVER = f"an input holds at most {LIMIT_BYTES} bytes; send fewer rows"

TYPE = "application/json"
"""What may be put there: the value of a request's `inputs`."""

VALID_S = 900
"""For which a URL may be put to; a role's own credentials last longer."""

REFERENCE = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Inbox:
    """The tenants' folders of one bucket; `client` is an S3 client, made when first needed if not given."""

    def __init__(
        self,
        bucket: str,
        client: Any = None,
        *,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._bucket, self._made, self._new_id, self._wall = bucket, client, new_id, wall
        self._making = threading.Lock()

    def offer(self, principal: Principal, nbytes: int) -> dict[str, Any]:
        """Where to put so many bytes of JSON, and what to call them; exactly so many, as the URL is signed with it.

        Raises Unprocessable or TooLarge.
        """
        if nbytes < 1:
            raise Unprocessable("bytes: must be positive; give the length of what you will put", field="bytes")
        if nbytes > LIMIT_BYTES:
            raise TooLarge(OVER, limit_bytes=LIMIT_BYTES)
        reference = self._new_id()
        put = {"Bucket": self._bucket, "Key": _key(principal, reference), "ContentLength": nbytes, "ContentType": TYPE}
        with failures(f"S3 bucket {self._bucket}"):
            url = self._client.generate_presigned_url("put_object", Params=put, ExpiresIn=VALID_S)
        headers = {"content-type": TYPE, "content-length": str(nbytes)}
        expires_at = self._wall() + VALID_S
        return {"inputs_ref": reference, "method": "PUT", "url": url, "headers": headers, "expires_at": expires_at}

    def read(self, principal: Principal, reference: str) -> bytes:
        """What the principal's tenant put under this name.

        Raises Unprocessable for what is no name, UnknownTask where nothing was put, TooLarge, and Unavailable.
        """
        if not REFERENCE.fullmatch(reference):
            raise Unprocessable("inputs_ref: is not one that POST /v1/inbox gave", field="inputs_ref")
        try:
            with failures(f"S3 bucket {self._bucket}"):
                return self._read(_key(principal, reference), reference)
        except StoreUnavailable:
            raise Unavailable("inputs cannot be read now; try again later") from None

    def _read(self, key: str, reference: str) -> bytes:
        client = self._client
        try:
            found = client.get_object(Bucket=self._bucket, Key=key)
        except client.exceptions.NoSuchKey:
            raise UnknownTask(f"nothing was put under inputs_ref {reference}", inputs_ref=reference) from None
        with found["Body"] as body:
            if found["ContentLength"] > LIMIT_BYTES:
                raise TooLarge(OVER, limit_bytes=LIMIT_BYTES)
            return bytes(body.read())

    @property
    def _client(self) -> Any:
        with self._making:
            if self._made is None:
                self._made = make_client("s3")
            return self._made


def _key(principal: Principal, reference: str) -> str:
    return f"{PREFIX}{tenant_hash(principal.tenant)}/{reference}"
