"""Whose copies are given up: those of tiers on which nothing is measured, and never more than is there."""

from __future__ import annotations

import pytest

from functions.aws.unmeasured import Unmeasured
from gateway.backends import sagemaker_calls
from gateway.backends.components import Component
from gateway.backends.sagemaker_fake import FakeComponents

TIER, UPDATE = "gpu-sagemaker-g6", "UpdateInferenceComponentRuntimeConfig"


def component(monkeypatch: pytest.MonkeyPatch, copies: int) -> FakeComponents:
    def answer(body: bytes, kind: str, attributes: str) -> tuple[int, bytes, str]:
        raise AssertionError(attributes)

    made = FakeComponents("gpu", "component", clock=lambda: 0.0, answer=answer, copies=copies)
    monkeypatch.setattr(sagemaker_calls, "make_client", lambda service, timeout_s: made)
    return made


@pytest.mark.parametrize(
    ("copies", "measured", "called"),
    [
        (1, (), ["DescribeInferenceComponent", UPDATE]),
        (0, (), ["DescribeInferenceComponent"]),
        (1, (TIER,), []),
    ],
)
def test_copies_of_what_nothing_is_measured_on_are_ended(
    copies: int, measured: tuple[str, ...], called: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = component(monkeypatch, copies)
    Unmeasured({TIER: Component("gpu", "component")}).end(measured)
    assert fake.calls == called


def test_one_that_cannot_be_asked_keeps_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = component(monkeypatch, 1)
    both = {"gpu-sagemaker-g5": Component("gpu", "another"), TIER: Component("gpu", "component")}
    Unmeasured(both).end(())
    assert fake.calls.count(UPDATE) == 1
