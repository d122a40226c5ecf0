"""A fingerprint changes with what changes the speed, and with nothing else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import onnxruntime
import pytest

from optimizer.fingerprint import fingerprint, parse, stale, unfit
from registry.catalogue import Catalogue
from registry.model import (
    LEVELS,
    ZERO,
    Accuracy,
    Placement,
    Profile,
    Quantiles,
    Recipe,
    ServiceTime,
    Task,
    TensorSpec,
    Variant,
)
from registry.prices import lambda_tiers, local_tiers

INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R) Processor
cpu MHz\t\t: 2100.000
flags\t\t: fpu sse avx2 avx512f avx512_vnni

processor\t: 1
model name\t: Intel(R) Xeon(R) Processor
cpu MHz\t\t: 2900.000
flags\t\t: fpu sse avx2 avx512f avx512_vnni
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp\n"


def test_intel() -> None:
    found = parse(INTEL, "1.32.0")
    assert found.cpu == "Intel(R) Xeon(R) Processor"
    assert found.isa == ("avx2", "avx512f", "avx512_vnni")
    assert found.cores == 2
    assert str(found).startswith(found.id)
    assert "avx2+avx512f+avx512_vnni, onnxruntime 1.32.0" in str(found)


def test_arm_has_no_model_name() -> None:
    found = parse(ARM, "1.32.0", machine="aarch64")
    assert (found.cpu, found.isa, found.cores) == ("aarch64", ("asimd", "asimddp"), 1)


def test_the_id_follows_the_facts_and_not_the_clock_rate() -> None:
    base = parse(INTEL, "1.32.0")
    assert parse(INTEL.replace("2900", "3100"), "1.32.0").id == base.id
    assert parse(INTEL.replace(" avx512_vnni", ""), "1.32.0").id != base.id
    assert parse(INTEL, "1.33.0").id != base.id


def test_this_machine_has_one() -> None:
    assert fingerprint() is fingerprint()
    assert len(fingerprint().id) == 12
    assert fingerprint().cores >= 1
    assert fingerprint().onnxruntime == onnxruntime.__version__


def test_it_needs_no_import_of_the_runtime() -> None:
    script = (
        "import sys; from optimizer.fingerprint import fingerprint; fingerprint(); "
        "sys.exit('onnxruntime' in sys.modules or 'numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


HERE = parse(INTEL, "1.32.0")
OTHER = parse(INTEL.replace("avx512f avx512_vnni", ""), "1.32.0")
INLINE, ON_DEMAND, LAMBDA = local_tiers()[0], local_tiers()[1], lambda_tiers()[0]


@pytest.fixture
def catalogue() -> Catalogue:
    """One variant for any CPU and one for AVX-512, on two tiers of this machine and one of the cloud."""
    task = Task("t", (TensorSpec("x", "FP32", (-1, 1)),), (TensorSpec("y", "FP32", (-1, 1)),), "accuracy")
    accuracy = Accuracy(0.9, 0.8, 1.0, 100, "wilson")
    plain = Variant("t", "plain", "blake3:" + "0" * 64, Recipe("compile", "x", (("level", "portable"),)), accuracy)
    wide = replace(plain, name="wide", recipe=Recipe("compile", "x", (("level", "avx512"),)))
    placements = [Placement(v.id, tier.name) for v in (plain, wide) for tier in (INLINE, ON_DEMAND, LAMBDA)]
    times = ServiceTime(1, Quantiles((1.0,) * len(LEVELS), 1.0), 1.0)
    profiles = [
        Profile(p.id, (times,), ZERO, ZERO, 1.0, str(HERE if p.tier == INLINE.name else OTHER), "none", 1, "2026")
        for p in placements
    ]
    made = Catalogue.empty().with_tasks(task).with_tiers(INLINE, ON_DEMAND, LAMBDA).with_variants(plain, wide)
    return made.with_placements(*placements).with_profiles(*profiles)


def test_profiles_of_another_machine_are_stale_on_its_own_tiers_only(catalogue: Catalogue) -> None:
    assert stale(catalogue, HERE) == {"t/plain@process-1769:1", "t/wide@process-1769:1"}
    assert stale(catalogue, OTHER) == {"t/plain@inline:1", "t/wide@inline:1"}


def test_variants_of_another_feature_level_are_unfit(catalogue: Catalogue) -> None:
    assert unfit(catalogue, HERE) == {}
    assert unfit(catalogue, OTHER) == {"t/wide": "compiled for avx512, and this machine is avx2"}
    elsewhere = Catalogue.empty().with_tasks(*catalogue.tasks.values()).with_tiers(LAMBDA)
    elsewhere = elsewhere.with_variants(*catalogue.variants.values()).with_placements(Placement("t/wide", LAMBDA.name))
    assert unfit(elsewhere, OTHER) == {}
