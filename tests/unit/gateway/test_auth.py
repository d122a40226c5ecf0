"""Keys, principals and where a gateway without keys may listen."""

from __future__ import annotations

import json

import pytest

from gateway.auth import (
    ANONYMOUS,
    Keyring,
    Principal,
    authorise,
    check_binding,
    credential,
    is_loopback,
    key_digest,
    new_key,
)
from gateway.errors import Unauthenticated, UnknownTask
from registry.errors import InvalidValue
from registry.model import Task, TensorSpec

SPEC = (TensorSpec("x", "FP32", (-1,)),)


@pytest.fixture
def keys_file(tmp_path):
    path = tmp_path / "keys.yaml"
    path.write_text(
        f"""
        keys:
          - {{name: alice, tenant: acme, sha256: {key_digest("a")}}}
          - {{name: bob, tenant: globex, sha256: {key_digest("b").upper()}}}
        """
    )
    return path


def test_a_known_key_is_its_principal_and_another_is_nobody(keys_file):
    keyring = Keyring.load(keys_file)
    assert keyring.identify("a") == Principal("alice", "acme")
    assert keyring.identify("b") == Principal("bob", "globex")
    for unknown in ("c", "", None, key_digest("a")):
        with pytest.raises(Unauthenticated):
            keyring.identify(unknown)


def test_a_tenant_may_have_a_quota_of_its_own(tmp_path):
    path = tmp_path / "keys.json"
    keys = [
        {"name": "a", "tenant": "acme", "sha256": "0" * 64, "requests_per_second": 5},
        {"name": "b", "tenant": "acme", "sha256": "1" * 64},
        {"name": "c", "tenant": "globex", "sha256": "2" * 64},
    ]
    path.write_text(json.dumps({"keys": keys}))
    assert Keyring.load(path).quotas == {"acme": 5.0}


def test_json_is_read_too(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [{"name": "a", "tenant": "t", "sha256": key_digest("k")}]}))
    assert Keyring.load(path).identify("k").tenant == "t"


def test_without_keys_everybody_is_anonymous():
    assert Keyring().identify(None) is ANONYMOUS


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("keys: []", "keys.yaml: keys"),
        ("- a", "keys.yaml: keys"),
        ("keys: [{name: a, tenant: t}]", "keys.yaml: keys[0].sha256"),
        ("keys: [{name: a, tenant: t, sha256: secret}]", "keys.yaml: keys[0].sha256"),
        (f"keys: [{{name: a, tenant: t, sha256: '{'0' * 64}', requests_per_second: 0}}]", "[0].requests_per_second"),
        (f"keys: [{{name: a, tenant: t, sha256: '{'0' * 64}', requests_per_second: x}}]", "[0].requests_per_second"),
        (f"keys: [{{name: a, tenant: t, sha256: '{'0' * 64}', requests_per_second: .inf}}]", ".requests_per_second"),
        (
            f"keys: [{{name: a, tenant: t, sha256: '{'0' * 64}', requests_per_second: 1}},"
            f" {{name: b, tenant: t, sha256: '{'1' * 64}', requests_per_second: 2}}]",
            "keys[1].requests_per_second",
        ),
        (f"keys: [{{name: a, tenant: 5, sha256: {'0' * 64}}}]", "keys.yaml: keys[0].tenant"),
        (
            f"keys: [{{name: a, tenant: t, sha256: '{'0' * 64}'}}, {{name: b, tenant: t, sha256: '{'0' * 64}'}}]",
            "[1].sha256",
        ),
    ],
)
def test_a_keys_file_that_is_wrong_is_refused_by_field(tmp_path, text, field):
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(InvalidValue) as refused:
        Keyring.load(path)
    assert refused.value.field.endswith(field)
    assert "secret" not in str(refused.value)


def test_a_keys_file_that_is_absent_or_no_yaml_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match="cannot be read"):
        Keyring.load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("keys: [")
    with pytest.raises(InvalidValue, match="cannot be parsed"):
        Keyring.load(tmp_path / "bad.yaml")


def test_a_task_is_its_owners_or_everybodys():
    mine, all_s = (Task("t", SPEC, SPEC, "accuracy", owner=owner) for owner in ("acme", "public"))
    tasks = {"mine": mine, "all's": all_s}
    for name, task in tasks.items():
        assert authorise(Principal("alice", "acme"), name, tasks) is task
    assert authorise(ANONYMOUS, "all's", tasks) is all_s
    with pytest.raises(UnknownTask) as foreign:
        authorise(Principal("bob", "globex"), "mine", tasks)
    with pytest.raises(UnknownTask) as absent:
        authorise(Principal("bob", "globex"), "mine", {})
    assert (str(foreign.value), foreign.value.details) == (str(absent.value), absent.value.details)


def test_the_credential_is_in_either_header():
    assert credential("Bearer k", None) == "k"
    assert credential("bearer  k", "other") == "k"
    assert credential(None, "k") == "k"
    assert credential("Basic dTpw", "k") is None
    assert credential(None, None) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_loopback_needs_no_keys(host):
    check_binding(host, Keyring())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gateway.internal"])
def test_anywhere_else_needs_keys(host):
    assert not is_loopback(host)
    with pytest.raises(InvalidValue, match="no API keys"):
        check_binding(host, Keyring())
    check_binding(host, Keyring({key_digest("k"): Principal("a", "t")}))


def test_new_keys_differ():
    assert len({new_key() for _ in range(10)}) == 10
