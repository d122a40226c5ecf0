"""Signed statements of what was answered, so that anybody can judge it who kept none of it; they keep nothing secret.

A receipt is `KEY.STATEMENT.SIGNATURE`: the id of a key, a JSON object and the bytes of the judged output behind it in
base64url, and their HMAC-SHA256. A caller can read it, and can neither change it nor use another tenant's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gateway.errors import Forbidden, UnknownTask, Unprocessable
from registry.receipt_keys import ReceiptKey
from runtime.codecs.binary import datatype_of, from_binary, to_binary

LIFE_S = 7 * 86400
"""How long an answer can be judged."""

OUTPUT_LIMIT = 4096
"""Most bytes of an output that a receipt carries: 512 labels, as many rows as count of a variant. An answer with more
has no receipt."""

RECEIPT_LIMIT = 8192
"""Most characters of one: an output at its limit is 5,462 of base64, and names are short."""

FIELD = "receipt"


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """What was answered."""

    decision_id: str
    variant: str
    """Id of the variant that answered: `task/name`."""
    artifact: str
    tenant: str
    at: float
    """When it was decided, in seconds since the epoch."""
    output: NDArray[Any]
    """The output that the task's metric judges."""

    @property
    def task(self) -> str:
        """The task's name."""
        return self.variant.partition("/")[0]


def sign(statement: Statement, key: ReceiptKey) -> str | None:
    """The receipt of a statement; None where its output is too large to be carried."""
    if statement.output.size > OUTPUT_LIMIT or len(data := to_binary(statement.output)) > OUTPUT_LIMIT:
        return None
    head = {
        "decision": statement.decision_id,
        "variant": statement.variant,
        "artifact": statement.artifact,
        "tenant": statement.tenant,
        "at": statement.at,
        "datatype": datatype_of("output", statement.output),
        "shape": statement.output.shape,
    }
    body = json.dumps(head, separators=(",", ":")).encode() + b"\0" + bytes(data)
    said = f"{key.id}.{_to_text(body)}"
    receipt = f"{said}.{_to_text(_signature(said, key))}"
    return receipt if len(receipt) <= RECEIPT_LIMIT else None


def read(receipt: str, find: Callable[[str], ReceiptKey | None], *, tenant: str, task: str, now: float) -> Statement:
    """The statement of a receipt that was given to this tenant for this task, at most LIFE_S ago.

    Raises Unprocessable for what is no receipt, Forbidden for one that was not signed with a key that `find` knows, and
    UnknownTask, as for decisions, when it is another tenant's or task's, or too old. What `find` raises is raised.
    """
    said, _, signature = receipt.rpartition(".")
    id_, _, statement = said.partition(".")
    if not (id_ and statement and signature and receipt.isascii()) or len(receipt) > RECEIPT_LIMIT:
        raise _no_receipt()
    key, given = find(id_), _of_text(signature)
    # Nothing of it is looked at before it is known to be ours.
    if key is None or not hmac.compare_digest(_signature(said, key), given):
        raise Forbidden("the receipt was not signed here, or has been changed, or its key has expired", field=FIELD)
    found = _statement(_of_text(statement))
    if (found.tenant, found.task) != (tenant, task) or not now - LIFE_S <= found.at:
        raise UnknownTask(f"no answer of task {task!r} to you in the last {LIFE_S // 86400} days has this receipt")
    return found


def claimed_task(receipt: str) -> str:
    """The task that a receipt says it is for, whoever signed it; raises Unprocessable for what is no receipt."""
    try:
        head, _, _ = _of_text(receipt.split(".")[1]).partition(b"\0")
        return str(json.loads(head)["variant"]).partition("/")[0]
    except (IndexError, KeyError, TypeError, ValueError):
        raise _no_receipt() from None


def _statement(body: bytes) -> Statement:
    """The statement in a body that was signed here."""
    head, _, data = body.partition(b"\0")
    said = json.loads(head)
    output = from_binary("output", said["datatype"], tuple(said["shape"]), data)
    return Statement(said["decision"], said["variant"], said["artifact"], said["tenant"], said["at"], output)


def _signature(said: str, key: ReceiptKey) -> bytes:
    return hmac.digest(key.secret, said.encode(), hashlib.sha256)


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _of_text(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _no_receipt() from None


def _no_receipt() -> Unprocessable:
    return Unprocessable(f"{FIELD}: is no receipt; give the one that came with the answer", field=FIELD)
