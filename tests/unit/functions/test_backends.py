"""A dispatching function has a backend for each tier that it was given a worker for, as the catalogue has it now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from functions.aws.backends import CloudBackends
from gateway.backends.components import Component
from gateway.backends.protocol import Backend
from gateway.backends.sagemaker import SageMakerBackend
from gateway.errors import NotReady
from registry.catalogue import Catalogue
from registry.model import Placement, Variant
from registry.prices import lambda_tiers, sagemaker_tier

TIERS = {tier.name: tier for tier in lambda_tiers()}
SMALL = "lambda-1769-snapstart"


def having(*names: str) -> Catalogue:
    return Catalogue.empty().with_tiers(*(TIERS[name] for name in names))


async def is_closed(backend: Backend, variant: Variant) -> bool:
    try:
        await backend.ensure(Placement(variant.id, SMALL), variant, 0)
        await backend.release()
    except NotReady:
        return True
    return False


async def test_tiers_with_a_worker_get_a_backend() -> None:
    backends = CloudBackends({SMALL: "arn:small", "lambda-3538": "arn:large"}, emit=lambda _: None)

    backends.follow(having(SMALL, "lambda-1769"))
    assert set(backends.by_tier) == {SMALL}

    backends.follow(having(SMALL, "lambda-1769", "lambda-3538"))
    assert set(backends.by_tier) == {SMALL, "lambda-3538"}


async def test_a_tier_with_a_component_gets_a_backend_over_it() -> None:
    gpu = sagemaker_tier()
    backends = CloudBackends({SMALL: "arn:small"}, emit=lambda _: None, gpus={gpu.name: Component("e", "c")})

    backends.follow(having(SMALL))
    assert set(backends.by_tier) == {SMALL}

    backends.follow(having(SMALL).with_tiers(gpu))
    assert isinstance(backends.by_tier[gpu.name], SageMakerBackend)
    assert backends.by_tier[gpu.name].tier == gpu


async def test_a_tier_that_stays_as_it_is_keeps_its_backend() -> None:
    backends = CloudBackends({SMALL: "arn:small"}, emit=lambda _: None)
    backends.follow(having(SMALL))
    first = backends.by_tier[SMALL]

    backends.follow(having(SMALL, "lambda-1769"))

    assert backends.by_tier[SMALL] is first


async def test_a_tier_that_changed_gets_another_and_the_former_one_closes(catalogue_variant: Variant) -> None:
    backends = CloudBackends({SMALL: "arn:small"}, emit=lambda _: None)
    backends.follow(having(SMALL))
    first = backends.by_tier[SMALL]
    changed = replace(TIERS[SMALL], concurrency=7)

    backends.follow(Catalogue.empty().with_tiers(changed))
    await backends.settle()

    assert backends.by_tier[SMALL].tier == changed
    assert await is_closed(first, catalogue_variant)
    assert not await is_closed(backends.by_tier[SMALL], catalogue_variant)


@pytest.fixture
def catalogue_variant(catalogue: Catalogue) -> Variant:
    return catalogue.variants["sum/fine"]
