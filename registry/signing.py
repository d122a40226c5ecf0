"""Signatures over artifacts by a key of KMS, which never leaves it; signs and checks, and never decides who must.

What is signed names an artifact by its manifest's digest, which binds every byte that is loaded. An artifact that the
publisher did not sign is then refused, whoever wrote it to the bucket and the table.
"""

from __future__ import annotations

import base64
import binascii
import threading
from typing import Any

from registry.aws import failures, make_client
from registry.errors import InvalidSignature

ALGORITHM = "ECDSA_SHA_256"

PREFIX = b"modelless-artifact-1:"
"""So that nothing else which the key may sign is ever taken for an artifact."""


class KmsSigner:
    """One asymmetric key of KMS, made for signing; `client` is made when first needed if not given."""

    def __init__(self, key: str, client: Any = None) -> None:
        self._key = key
        self._made = client
        self._making = threading.Lock()

    def sign(self, artifact: str) -> str:
        """The signature over an artifact, base64; raises Unavailable."""
        with failures(f"KMS key {self._key}"):
            signed = self._client.sign(
                KeyId=self._key, Message=_statement(artifact), MessageType="RAW", SigningAlgorithm=ALGORITHM
            )
        return base64.b64encode(signed["Signature"]).decode()

    def verify(self, artifact: str, signature: str) -> None:
        """Raise InvalidSignature unless the key signed the artifact, and Unavailable when KMS cannot be asked."""
        try:
            given = base64.b64decode(signature, validate=True)
        except (ValueError, binascii.Error):
            given = b""
        if not given:
            raise InvalidSignature(artifact, "it has no signature")
        client = self._client
        with failures(f"KMS key {self._key}"):
            try:
                answer = client.verify(
                    KeyId=self._key,
                    Message=_statement(artifact),
                    MessageType="RAW",
                    Signature=given,
                    SigningAlgorithm=ALGORITHM,
                )
            except client.exceptions.KMSInvalidSignatureException:
                raise InvalidSignature(artifact, "its signature is not the key's") from None
        if not answer["SignatureValid"]:
            raise InvalidSignature(artifact, "its signature is not the key's")

    @property
    def _client(self) -> Any:
        with self._making:
            if self._made is None:
                self._made = make_client("kms")
            return self._made


def _statement(artifact: str) -> bytes:
    return PREFIX + artifact.encode()
