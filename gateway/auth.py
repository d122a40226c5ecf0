"""Who is asking: API keys to principals, principals to tenants; never keeps or logs a key, only its SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.errors import Unauthenticated, UnknownTask
from registry.errors import InvalidValue
from registry.model import Task

PUBLIC = "public"
"""The owner of tasks that every principal may use."""

NAME_SHOWN = 200
"""Characters of a name that a refusal repeats."""

KEYS_FILE_VARIABLE = "MODELLESS_API_KEYS_FILE"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller, as its credential says."""

    name: str
    tenant: str

    def owns(self, task: Task) -> bool:
        """Whether it may use the task."""
        return task.owner in (PUBLIC, self.tenant)


ANONYMOUS = Principal("anonymous", PUBLIC)
"""Whoever reaches a gateway without keys; such a gateway binds to loopback only."""


def authorise(principal: Principal, name: str, tasks: Mapping[str, Task]) -> Task:
    """The task of this name that the principal may use: every way to a task leads through here.

    Raises UnknownTask, the same for a task that is not there and for one that is another tenant's.
    """
    task = tasks.get(name)
    if task is None or not principal.owns(task):
        raise UnknownTask(f"no task {name[:NAME_SHOWN]!r}", task=name[:NAME_SHOWN])
    return task


def key_digest(key: str) -> str:
    """The SHA-256 that stands for a key in a keys file, 64 hex digits."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_key() -> str:
    """A fresh key of 256 random bits; it is shown once and kept nowhere."""
    return "mk_" + secrets.token_urlsafe(32)


class Keyring:
    """Known keys by digest; without any, everybody is ANONYMOUS."""

    def __init__(
        self, principals: Mapping[str, Principal] | None = None, quotas: Mapping[str, float] | None = None
    ) -> None:
        self._principals = dict(principals or {})
        self.quotas = dict(quotas or {})
        """Requests per second of the tenants that have a number of their own."""

    @property
    def open(self) -> bool:
        """Whether no credential is needed."""
        return not self._principals

    @classmethod
    def load(cls, path: Path) -> Keyring:
        """Read `keys: [{name, tenant, sha256, requests_per_second}]` from a YAML or JSON file; the last is optional.

        Raises InvalidValue naming the entry and field at fault; a file without a single key is refused, and so are two
        numbers of requests for one tenant.
        """
        entries = _entries(path)
        principals: dict[str, Principal] = {}
        quotas: dict[str, float] = {}
        for index, entry in enumerate(entries):
            where = f"{path.name}: keys[{index}]"
            name, tenant, digest = (_text(entry, key, where) for key in ("name", "tenant", "sha256"))
            if len(digest) != 64 or set(digest.lower()) - set("0123456789abcdef"):
                raise InvalidValue(
                    f"{where}.sha256", "is not 64 hex digits", "give the SHA-256 of the key, not the key"
                )
            if digest.lower() in principals:
                raise InvalidValue(f"{where}.sha256", "is listed twice", "give every principal its own key")
            principals[digest.lower()] = Principal(name, tenant)
            rate = _rate(entry, where)
            if rate is not None and quotas.setdefault(tenant, rate) != rate:
                raise InvalidValue(
                    f"{where}.requests_per_second", "differs from the tenant's other key", "give a tenant one number"
                )
        return cls(principals, quotas)

    def identify(self, credential: str | None) -> Principal:
        """The principal of a credential; every known digest is compared, each in constant time.

        Raises Unauthenticated for none or an unknown one, unless the keyring is open.
        """
        if self.open:
            return ANONYMOUS
        if not credential:
            raise Unauthenticated("no credential; send Authorization: Bearer KEY or X-API-Key: KEY")
        given = key_digest(credential)
        found: Principal | None = None
        for digest, principal in self._principals.items():
            if hmac.compare_digest(digest, given):
                found = principal
        if found is None:
            raise Unauthenticated("unknown credential")
        return found


def credential(authorization: str | None, api_key: str | None) -> str | None:
    """The key in an `Authorization: Bearer` or `X-API-Key` header; the latter is read when the former is absent."""
    if authorization is not None:
        scheme, _, key = authorization.partition(" ")
        return key.strip() if scheme.lower() == "bearer" else None
    return api_key


def check_binding(host: str, keyring: Keyring) -> None:
    """Raise InvalidValue when a gateway without keys would listen beyond this machine."""
    if keyring.open and not is_loopback(host):
        raise InvalidValue(
            "host",
            f"{host!r} is reachable from other machines and no API keys are configured",
            f"set {KEYS_FILE_VARIABLE} to a keys file, or bind to 127.0.0.1",
        )


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's alone; a name other than `localhost` counts as not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _entries(path: Path) -> list[Any]:
    document = _parse(path)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InvalidValue(f"{path.name}: keys", "is not a list of keys", "list {name, tenant, sha256} entries")
    return entries


def _parse(path: Path) -> Any:
    import yaml  # noqa: PLC0415 - only a gateway with keys pays for it

    try:
        text = path.read_text()
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise InvalidValue(str(path), f"cannot be read: {error.strerror}", "give a readable keys file") from None
    except (ValueError, yaml.YAMLError) as error:
        raise InvalidValue(str(path), f"cannot be parsed: {error}", "give YAML or JSON") from None


def _rate(entry: Mapping[str, Any], where: str) -> float | None:
    value = entry.get("requests_per_second")
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise InvalidValue(f"{where}.requests_per_second", f"is {value!r:.40}", "give a number over 0, or leave it out")
    return float(value)


def _text(entry: Any, key: str, where: str) -> str:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, str) or not value:
        raise InvalidValue(f"{where}.{key}", "is missing or not text", f"give a {key}")
    return value
