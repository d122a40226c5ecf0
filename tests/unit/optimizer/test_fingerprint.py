"""A fingerprint changes with what changes the speed, and with nothing else."""

from __future__ import annotations

from optimizer.fingerprint import fingerprint, parse

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
