"""A receipt says what was signed to whom it was given, for a week; whatever else it is made to say is refused."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Forbidden, GatewayError, UnknownTask, Unprocessable
from gateway.receipts import LIFE_S, OUTPUT_LIMIT, RECEIPT_LIMIT, Statement, claimed_task, read, sign
from registry.receipt_keys import PERIOD_S, MemoryReceiptKeys, ReceiptKey

NOW = 1_790_000_000.0
KEY = ReceiptKey("7", b"k" * 32)
SAID = Statement("d1", "sum/large", "blake3:a", "acme", NOW, np.array([3, 1, 2]))


def find(id_: str) -> ReceiptKey | None:
    return KEY if id_ == KEY.id else None


def signed(statement: Statement = SAID, key: ReceiptKey = KEY) -> str:
    receipt = sign(statement, key)
    assert receipt is not None
    return receipt


def understood(receipt: str, **changes: Any) -> Statement:
    return read(receipt, find, **{"tenant": "acme", "task": "sum", "now": NOW, **changes})


OUTPUTS = [
    np.array([[1.5], [np.nan]], np.float32),
    np.array([2**63 - 1, -5], np.int64),
    np.array([[b"tulip"], ["Ünïcode".encode()], [b""]], object),
    np.array([True, False]),
    np.zeros((2, 3, 4), np.float16),
]


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: str(output.dtype))
def test_what_was_signed_comes_back(output: np.ndarray) -> None:
    found = understood(signed(replace(SAID, output=output)))
    assert (found.decision_id, found.variant, found.artifact, found.tenant, found.at) == (
        "d1",
        "sum/large",
        "blake3:a",
        "acme",
        NOW,
    )
    assert found.output.dtype == output.dtype
    np.testing.assert_array_equal(found.output, output)


def test_it_is_text_that_fits_a_header_and_a_shell() -> None:
    assert set(signed()) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


@settings(max_examples=150)
@given(at=st.integers(0, len(signed()) - 1), character=st.sampled_from("AZaz09-_."))
def test_no_character_of_it_can_be_changed(at: int, character: str) -> None:
    receipt = signed()
    changed = receipt[:at] + character + receipt[at + 1 :]
    try:
        found = understood(changed)
    except (Forbidden, Unprocessable):
        return
    # The last character of base64 has bits that mean nothing.
    assert changed == receipt or at == len(receipt) - 1
    assert found.decision_id == "d1"


def test_no_statement_can_be_put_under_anothers_signature() -> None:
    other = signed(replace(SAID, decision_id="d2"))
    key, statement, _ = other.split(".")
    with pytest.raises(Forbidden, match="not signed here"):
        understood(f"{key}.{statement}.{signed().split('.')[2]}")


@pytest.mark.parametrize(
    "receipt",
    ["", ".", "..", "a", "7.e30", "7..x", "7.e30.", "7.é.é", "7.e30.***", "x" * (RECEIPT_LIMIT + 1), "\ud800.a.b"],
)
def test_what_is_no_receipt_names_the_field(receipt: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        understood(receipt)
    assert refused.value.details["field"] == "receipt"


@pytest.mark.parametrize("head", [b"", b"{}", b"[]\0", b"\xff\0", b'{"decision":1}\0x'])
def test_what_we_did_not_sign_is_never_read(head: bytes) -> None:
    statement = base64.urlsafe_b64encode(head or b"?").decode().rstrip("=")
    with pytest.raises(Forbidden):
        understood(f"7.{statement}.{'A' * 43}")


@pytest.mark.parametrize("changes", [{"tenant": "globex"}, {"task": "private"}, {"now": NOW + LIFE_S + 1}])
def test_anothers_or_an_old_receipt_is_of_no_known_answer(changes: dict[str, Any]) -> None:
    with pytest.raises(UnknownTask):
        understood(signed(), **changes)


def test_it_lives_for_a_week_and_a_clock_that_is_behind_does_not_matter() -> None:
    assert understood(signed(), now=NOW + LIFE_S).decision_id == "d1"
    assert understood(signed(), now=NOW - 5).decision_id == "d1"


def test_a_key_that_is_not_known_signs_nothing() -> None:
    for key in (ReceiptKey("8", KEY.secret), ReceiptKey(KEY.id, b"x" * 32)):
        with pytest.raises(Forbidden, match="not signed here"):
            understood(signed(key=key))


LARGEST = [
    (np.zeros(OUTPUT_LIMIT // 8, np.int64), np.zeros(OUTPUT_LIMIT // 8 + 1, np.int64)),
    (np.zeros(OUTPUT_LIMIT, np.uint8), np.zeros(OUTPUT_LIMIT + 1, np.uint8)),
    (np.array([b"x" * (OUTPUT_LIMIT - 4)], object), np.array([b"x" * (OUTPUT_LIMIT - 3)], object)),
]


@pytest.mark.parametrize(("fits", "does_not"), LARGEST, ids=["INT64", "UINT8", "BYTES"])
def test_an_output_over_the_limit_has_no_receipt(fits: np.ndarray, does_not: np.ndarray) -> None:
    assert understood(signed(replace(SAID, output=fits))).output.size == fits.size
    assert sign(replace(SAID, output=does_not), KEY) is None


def test_a_receipt_that_would_not_be_read_is_not_given() -> None:
    assert sign(replace(SAID, tenant="t" * RECEIPT_LIMIT), KEY) is None


@pytest.mark.parametrize(
    ("signed_at", "judged_at"), [(0.0, 0.0), (0.99 * PERIOD_S, 0.99 * PERIOD_S + LIFE_S), (PERIOD_S, 0.999 * PERIOD_S)]
)
def test_keys_change_under_receipts_that_still_live(signed_at: float, judged_at: float) -> None:
    clock = [NOW - NOW % PERIOD_S + signed_at]
    keys = MemoryReceiptKeys(wall=lambda: clock[0])
    receipt = signed(replace(SAID, at=clock[0]), keys.current())
    clock[0] += judged_at - signed_at
    assert keys.current().id
    assert read(receipt, keys.find, tenant="acme", task="sum", now=clock[0]).decision_id == "d1"
    clock[0] += 2 * PERIOD_S
    with pytest.raises(GatewayError):
        read(receipt, keys.find, tenant="acme", task="sum", now=clock[0])


def test_a_secret_is_not_shown() -> None:
    assert "kkkk" not in repr(KEY)


def test_whoever_holds_it_can_read_its_task() -> None:
    assert claimed_task(signed()) == "sum"
    for receipt in ("", "7", "7.e30.x", "7.***.x", "7.W10.x", "7.bnVsbA.x"):
        with pytest.raises(Unprocessable):
            claimed_task(receipt)
