"""Who calls, from what the front door's authorizer proved; the request's own words are never asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.auth import ANONYMOUS, PUBLIC, Principal
from gateway.errors import Unauthenticated

ASSUMED_ROLE = re.compile(r"^arn:[^:]+:sts::(\d+):assumed-role/([^/]+)/")
OF_IAM = re.compile(r"^\d{12}/")
"""What only the tenants of IAM callers begin with."""

USER = re.compile(r"^arn:[^:]+:iam::(\d+):user/(?:.*/)?([^/]+)$")


def unproved(variables: Mapping[str, str]) -> Principal | None:
    """Who a caller is whom no authorizer has proved: nobody, but ANONYMOUS on an emulator, which verifies no signature.

    Two must say that it is one: the stage, `local`, and AWS_ENDPOINT_URL, which emulators set and AWS does not.
    """
    emulated = variables.get("STAGE") == "local" and variables.get("AWS_ENDPOINT_URL")
    return ANONYMOUS if emulated else None


def principal(event: Mapping[str, Any], tenant_claim: str, stranger: Principal | None = None) -> Principal:
    """The principal of a payload 2.0 event, signed with IAM or carrying a JWT that the HTTP API has verified.

    A JWT's tenant is its `tenant_claim`; a role's is `account/NAME`, whatever its session, and a user's
    `account/user/NAME`, as a role may have the same name and names hold no slash. Without any authorizer it is
    `stranger`. Raises Unauthenticated when nothing was proved.
    """
    authorizer = (event.get("requestContext") or {}).get("authorizer") or {}
    if claims := (authorizer.get("jwt") or {}).get("claims"):
        return _of_claims(claims, tenant_claim)
    if arn := (authorizer.get("iam") or {}).get("userArn"):
        return _of_arn(arn)
    if stranger is not None and not authorizer:
        return stranger
    raise Unauthenticated("no credential; sign the request with AWS Signature Version 4")


def _of_claims(claims: Mapping[str, Any], tenant_claim: str) -> Principal:
    tenant, subject = claims.get(tenant_claim), claims.get("sub")
    if not tenant or not isinstance(tenant, str):
        raise Unauthenticated(f"the token has no claim {tenant_claim!r}, which names the tenant")
    if tenant == PUBLIC or OF_IAM.match(tenant):
        # Whoever may name their tenant at the issuer would own what is everybody's, or be a role of this account.
        raise Unauthenticated(f"the token's claim {tenant_claim!r} names a tenant that no token may name")
    return Principal(str(subject or tenant), tenant)


def _of_arn(arn: str) -> Principal:
    if role := ASSUMED_ROLE.match(arn):
        return Principal(arn, f"{role[1]}/{role[2]}")
    if user := USER.match(arn):
        return Principal(arn, f"{user[1]}/user/{user[2]}")
    raise Unauthenticated("the signer is neither a role nor a user")
