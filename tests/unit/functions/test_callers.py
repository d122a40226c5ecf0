"""A caller is whom the front door's authorizer has proved, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from functions.aws.callers import principal, unproved
from gateway.auth import ANONYMOUS
from gateway.errors import Unauthenticated


def signed(arn: str) -> dict[str, Any]:
    return {"requestContext": {"authorizer": {"iam": {"userArn": arn, "accountId": "1"}}}}


def bearing(**claims: Any) -> dict[str, Any]:
    return {"requestContext": {"authorizer": {"jwt": {"claims": claims, "scopes": None}}}}


@pytest.mark.parametrize(
    ("arn", "tenant"),
    [
        ("arn:aws:sts::123456789012:assumed-role/reader/session-1", "123456789012/reader"),
        ("arn:aws-cn:sts::123456789012:assumed-role/reader/session-2", "123456789012/reader"),
        ("arn:aws:iam::123456789012:user/ada", "123456789012/user/ada"),
        ("arn:aws:iam::123456789012:user/team/x/ada", "123456789012/user/ada"),
    ],
)
def test_an_iam_caller_is_of_its_role_or_user(arn: str, tenant: str) -> None:
    caller = principal(signed(arn), "sub")

    assert caller.name == arn
    assert caller.tenant == tenant


def test_users_of_one_name_in_two_accounts_are_two_tenants() -> None:
    one = principal(signed("arn:aws:iam::111111111111:user/ada"), "sub")
    other = principal(signed("arn:aws:iam::222222222222:user/ada"), "sub")

    assert one.tenant != other.tenant


def test_a_role_and_a_user_of_one_name_in_one_account_are_two_tenants() -> None:
    user = principal(signed("arn:aws:iam::111111111111:user/ci"), "sub")
    role = principal(signed("arn:aws:sts::111111111111:assumed-role/ci/session"), "sub")

    assert user.tenant != role.tenant


def test_a_token_names_its_tenant_by_the_configured_claim() -> None:
    caller = principal(bearing(sub="ada", org="acme"), "org")

    assert (caller.name, caller.tenant) == ("ada", "acme")


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"requestContext": {}},
        {"requestContext": {"authorizer": None}},
        {"requestContext": {"authorizer": {"iam": {}}}},
        {"headers": {"x-tenant": "acme"}, "body": '{"tenant": "acme"}', "requestContext": {}},
        bearing(sub="ada"),
        bearing(sub="ada", org=""),
        bearing(sub="ada", org=7),
        bearing(sub="ada", org="public"),
        bearing(sub="ada", org="123456789012/ada"),
        bearing(sub="ada", org="123456789012/user/ada"),
        signed("arn:aws:iam::123456789012:root"),
        signed("arn:aws:sts::123456789012:federated-user/ada"),
    ],
)
def test_whoever_is_not_proved_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        principal(event, "org")


EMULATOR = {"STAGE": "local", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}


def test_on_an_emulator_whoever_is_not_proved_is_anonymous() -> None:
    stranger = unproved(EMULATOR)

    assert principal({"requestContext": {}}, "sub", stranger) == ANONYMOUS
    assert principal(signed("arn:aws:iam::123456789012:user/ada"), "sub", stranger).tenant == "123456789012/user/ada"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"STAGE": "local"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"},
        EMULATOR | {"STAGE": "dev"},
        EMULATOR | {"STAGE": "prod"},
        EMULATOR | {"STAGE": ""},
        EMULATOR | {"STAGE": "LOCAL"},
        EMULATOR | {"AWS_ENDPOINT_URL": ""},
    ],
)
def test_anywhere_else_nobody_is(variables: dict[str, str]) -> None:
    assert unproved(variables) is None
    with pytest.raises(Unauthenticated):
        principal({"requestContext": {}}, "sub", unproved(variables))


@pytest.mark.parametrize("authorizer", [{"iam": {}}, {"jwt": {}}, {"lambda": {"tenant": "acme"}}])
def test_an_authorizer_that_proves_nothing_lets_nobody_in_even_there(authorizer: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        principal({"requestContext": {"authorizer": authorizer}}, "sub", unproved(EMULATOR))
