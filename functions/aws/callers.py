"""Who calls, from what the front door's authorizer proved; the request's own words are never asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.auth import Principal
from gateway.errors import Unauthenticated

ASSUMED_ROLE = re.compile(r"^arn:[^:]+:sts::(\d+):assumed-role/([^/]+)/")
USER = re.compile(r"^arn:[^:]+:iam::(\d+):user/(?:.*/)?([^/]+)$")


def principal(event: Mapping[str, Any], tenant_claim: str) -> Principal:
    """The principal of a payload 2.0 event, signed with IAM or carrying a JWT that the HTTP API has verified.

    A JWT's tenant is its `tenant_claim`; an IAM caller's is `account/role` or `account/user`, so that one tenant may
    have many sessions. Raises Unauthenticated when the authorizer proved nothing.
    """
    authorizer = (event.get("requestContext") or {}).get("authorizer") or {}
    if claims := (authorizer.get("jwt") or {}).get("claims"):
        return _of_claims(claims, tenant_claim)
    if arn := (authorizer.get("iam") or {}).get("userArn"):
        return _of_arn(arn)
    raise Unauthenticated("no credential; sign the request with AWS Signature Version 4")


def _of_claims(claims: Mapping[str, Any], tenant_claim: str) -> Principal:
    tenant, subject = claims.get(tenant_claim), claims.get("sub")
    if not tenant or not isinstance(tenant, str):
        raise Unauthenticated(f"the token has no claim {tenant_claim!r}, which names the tenant")
    return Principal(str(subject or tenant), tenant)


def _of_arn(arn: str) -> Principal:
    found = ASSUMED_ROLE.match(arn) or USER.match(arn)
    if found is None:
        raise Unauthenticated("the signer is neither a role nor a user")
    return Principal(arn, f"{found[1]}/{found[2]}")
