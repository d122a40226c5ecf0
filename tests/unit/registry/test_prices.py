"""Prices against figures worked out by hand, from the public price list's rates."""

from __future__ import annotations

from datetime import date

import pytest

from registry import prices
from registry.copies import START_S, TAIL_S, by_copies
from registry.errors import InvalidValue
from registry.model import Price, StartMode, TierKind


@pytest.mark.parametrize(
    ("memory_mb", "x86_busy_h", "arm_busy_h", "provisioned_h", "cache_h"),
    [
        (512, 0.0300, 0.0240, 0.0075, 0.0027),
        (1024, 0.0600, 0.0480, 0.0150, 0.0054),
        (1769, 0.1037, 0.0829, 0.0259, 0.0094),
        (3538, 0.2073, 0.1658, 0.0518, 0.0187),
        (5307, 0.3110, 0.2488, 0.0777, 0.0281),
        (7076, 0.4146, 0.3317, 0.1037, 0.0374),
        (8845, 0.5183, 0.4146, 0.1296, 0.0468),
        (10240, 0.6000, 0.4800, 0.1500, 0.0542),
    ],
)
def test_hourly_prices_of_lambda_sizes(
    memory_mb: int, x86_busy_h: float, arm_busy_h: float, provisioned_h: float, cache_h: float
) -> None:
    per_hour = {
        "x86": prices.lambda_price(memory_mb).usd_per_busy_s * 3600,
        "arm": prices.lambda_price(memory_mb, arch="arm64").usd_per_busy_s * 3600,
        "provisioned": prices.lambda_price(memory_mb, start_mode=StartMode.PROVISIONED).usd_per_idle_s * 3600,
        "cache": prices.lambda_price(memory_mb, start_mode=StartMode.SNAPSTART).usd_per_idle_s * 3600,
    }
    expected = {"x86": x86_busy_h, "arm": arm_busy_h, "provisioned": provisioned_h, "cache": cache_h}
    assert per_hour == pytest.approx(expected, abs=0.000051)


def test_a_million_warm_invocations_of_100_ms() -> None:
    price = prices.lambda_price(1769)
    assert 1e6 * prices.invocation_cost(price, 100.0) == pytest.approx(2.879 + 0.2, abs=0.001)


def test_init_is_billed_at_the_duration_rate() -> None:
    price = prices.lambda_price(1769)
    warm = prices.invocation_cost(price, 100.0, init_ms=3000.0)
    cold = prices.invocation_cost(price, 100.0, cold=True, init_ms=3000.0)
    assert cold - warm == pytest.approx(3.0 * price.usd_per_busy_s)


def test_a_snapstart_restore_costs_as_much_as_eight_busy_seconds() -> None:
    price = prices.lambda_price(1769, start_mode=StartMode.SNAPSTART)
    restore = prices.invocation_cost(price, 1.0, cold=True) - prices.invocation_cost(price, 1.0)
    assert restore == pytest.approx(0.00024, abs=0.000005)
    assert restore / price.usd_per_busy_s == pytest.approx(8.4, abs=0.05)


def test_a_cached_snapshot_costs_six_dollars_eighty_three_a_month() -> None:
    price = prices.lambda_price(1769, start_mode=StartMode.SNAPSTART)
    assert price.usd_per_idle_s * 3600 * 730 == pytest.approx(6.83, abs=0.005)


def test_provisioned_concurrency_runs_cheaper_and_is_never_idle_for_free() -> None:
    ondemand, provisioned = prices.lambda_price(1769), prices.lambda_price(1769, start_mode=StartMode.PROVISIONED)
    break_even = provisioned.usd_per_idle_s / (ondemand.usd_per_busy_s - provisioned.usd_per_busy_s)
    assert break_even == pytest.approx(0.6, abs=0.001)


@pytest.mark.parametrize(
    ("billed_ms", "steps"), [(0.0, 0), (0.001, 1), (1.0, 1), (1.0001, 2), (29.000000000000004, 29), (99.5, 100)]
)
def test_duration_is_rounded_up_to_the_millisecond(billed_ms: float, steps: int) -> None:
    price = Price(usd_per_busy_s=1000.0)
    assert prices.invocation_cost(price, billed_ms) == pytest.approx(float(steps))


def test_init_and_duration_are_rounded_as_one_sum() -> None:
    price = Price(usd_per_busy_s=1000.0)
    assert prices.invocation_cost(price, 1.4, cold=True, init_ms=1.4) == pytest.approx(3.0)


def test_a_step_that_is_no_millisecond() -> None:
    assert prices.invocation_cost(Price(usd_per_busy_s=1.0, step_ms=100.0), 101.0) == pytest.approx(0.2)


def test_an_inline_vcpu_second_is_half_of_a_two_vcpu_container() -> None:
    price = prices.inline_price(2.0, 2048)
    assert price.usd_per_busy_s * 2 * 3600 == pytest.approx(2 * 0.04048 + 2 * 0.004445)
    assert (price.usd_per_request, price.usd_per_start, price.bills_init) == (0.0, 0.0, False)
    assert prices.invocation_cost(price, 0.2) == pytest.approx(0.0002 * price.usd_per_busy_s)


def test_a_container_costs_as_much_idle_and_a_run_has_its_share_of_that() -> None:
    price = prices.container_price(2.0, 4096)
    assert price.usd_per_idle_s * 3600 == pytest.approx(2 * 0.04048 + 4 * 0.004445)
    assert price.usd_per_busy_s == pytest.approx(price.usd_per_idle_s / 2)
    assert (price.usd_per_request, price.usd_per_start, price.bills_init) == (0.0, 0.0, False)


def test_a_gpu_costs_an_instance_hour_whether_it_runs_or_not() -> None:
    price = prices.gpu_price()
    assert price.usd_per_busy_s * 3600 == price.usd_per_idle_s * 3600 == pytest.approx(1.1267)
    # One instance hour buys 10.9 hours of a busy Lambda environment of one vCPU.
    assert price.usd_per_idle_s / prices.lambda_price(1769).usd_per_busy_s == pytest.approx(10.87, abs=0.005)


def test_a_price_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"arch: 'riscv' is unknown"):
        prices.lambda_price(1769, arch="riscv")
    with pytest.raises(InvalidValue, match="start_mode"):
        prices.lambda_price(1769, start_mode=StartMode.ALWAYS)


def test_every_group_of_figures_has_a_source_a_date_and_how_sure_it_is() -> None:
    figures = prices.figures()
    groups = {name: group for name, group in figures.items() if isinstance(group, dict) and "as_of" in group}
    assert {"lambda", "fargate", "http_api", "dynamodb", "gpu", "cloudwatch", "sqs", "s3"} <= set(groups)
    assert set(figures) == {"region", "currency", "sources", "confidence_levels", *groups}
    for group in groups.values():
        assert group["source"] in figures["sources"]
        assert group["confidence"] in figures["confidence_levels"]
        assert date(2026, 1, 1) < date.fromisoformat(group["as_of"])


def test_local_tiers() -> None:
    tiers = {t.name: t for t in prices.local_tiers()}
    assert list(tiers) == [
        "inline",
        "process-1769",
        "process-3538",
        "process-1769-snapstart",
        "process-3538-snapstart",
        "container-cpu",
    ]
    inline, container = tiers["inline"], tiers["container-cpu"]
    assert (inline.kind, inline.start_mode, inline.concurrency) == (TierKind.INLINE, StartMode.ALWAYS, 2)
    assert (container.kind, container.start_mode, container.threads) == (TierKind.CONTAINER, StartMode.ALWAYS, 1)
    assert container.price == prices.container_price(container.vcpus, container.memory_mb)
    assert [t.vcpus for t in tiers.values()] == [2.0, 1.0, 2.0, 1.0, 2.0, 2.0]
    assert [t.concurrency for t in tiers.values()] == [2, 4, 2, 4, 2, 2]
    assert {t.idle_timeout_s for t in tiers.values() if t.kind is TierKind.PROCESS} == {300.0}


def test_the_cloud_s_gpu_is_there_when_asked_for_and_costs_what_a_gpu_costs() -> None:
    tier, known = prices.sagemaker_tier(), {*prices.local_tiers(), *prices.lambda_tiers(), prices.gpu_tier()}
    assert (tier.kind, tier.start_mode, tier.price) == (TierKind.GPU, StartMode.PROVISIONED, prices.gpu_price())
    assert tier.name not in {other.name for other in known}
    assert tier.idle_timeout_s / 2 == pytest.approx(START_S + TAIL_S, rel=0.02)
    assert by_copies(tier)
    assert tier in prices.sagemaker_tiers()
    assert not any(by_copies(other) for other in known)


def test_each_instance_with_a_gpu_is_a_tier_at_its_own_price() -> None:
    hourly = {tier.name: tier.price.usd_per_idle_s * 3600 for tier in prices.sagemaker_tiers()}
    assert hourly == pytest.approx(
        {"gpu-sagemaker-g4dn": 0.7364, "gpu-sagemaker-g5": 1.408, "gpu-sagemaker-g6": 1.1267}
    )


def test_a_gpu_tier_is_not_every_machine_s() -> None:
    tier = prices.gpu_tier()
    assert tier.name not in {t.name for t in prices.local_tiers()}
    assert (tier.kind, tier.start_mode, tier.concurrency) == (TierKind.GPU, StartMode.ALWAYS, 1)


def test_lambda_tiers_are_priced_like_the_local_processes_of_their_size() -> None:
    local = {t.name.partition("-")[2]: t for t in prices.local_tiers() if t.kind is TierKind.PROCESS}
    tiers = prices.lambda_tiers(prices.SMALL_SIZES)
    assert [t.name.partition("-")[2] for t in tiers] == list(local)
    for tier in tiers:
        twin = local[tier.name.partition("-")[2]]
        assert tier.kind is TierKind.LAMBDA
        assert (tier.price, tier.vcpus, tier.start_mode) == (twin.price, twin.vcpus, twin.start_mode)


def test_lambda_has_larger_workers_than_a_local_machine() -> None:
    tiers = {t.name: t for t in prices.lambda_tiers()}
    assert set(tiers) == {f"lambda-{mb}{suffix}" for mb in (1769, 3538, 5307, 10240) for suffix in ("", "-snapstart")}
    assert [tiers[f"lambda-{mb}"].threads for mb in (1769, 3538, 5307, 10240)] == [1, 2, 3, 5]
