"""Manifests: everything wrong is said at once, with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from registry import prices
from registry.errors import InvalidManifest
from registry.manifest import TaskManifest, VariantManifest, dump, load
from registry.model import Objective, Recipe, Slo, StartMode, Task, TensorSpec, Tier, TierKind

GOOD = """\
task:
  name: digits
  description: Which digit is drawn
  metric: accuracy
  inputs:
    - {name: image, datatype: FP32, shape: [-1, 64]}
  outputs:
    - {name: label, datatype: INT64, shape: [-1]}
  classes: [0, 1, no, 1e3]
  slo: {latency_ms: 5e1, objective: cost, max_cost_usd: 2e-5}
evaluation: eval.npz
tiers: [inline, process-1769]
variants:
  - name: linear
    model: models/linear.onnx
    recipe: {generator: sklearn, parameters: {C: 1e-3, fit: no, depth: 010}}
  - name: linear-int8
    model: models/int8.onnx
    recipe: {generator: quantise, parent: linear}
    max_batch: 8
    threads: 2
    prepack: false
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    (folder / "models").mkdir(parents=True)
    for name in ("eval.npz", "models/linear.onnx", "models/int8.onnx"):
        (folder / name).write_bytes(b"")
    (tmp_path / "secret.onnx").write_bytes(b"")
    return folder


@pytest.fixture
def read(folder: Path) -> Callable[..., TaskManifest]:
    def read(text: str | bytes, **options: Any) -> TaskManifest:
        file = folder / "modelless.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(file, **options)

    return read


@pytest.fixture
def faults(read: Callable[..., TaskManifest], folder: Path) -> Callable[..., list[str]]:
    """The faults of a text, each as `line: field: message`."""

    def faults(text: str | bytes, **options: Any) -> list[str]:
        with pytest.raises(InvalidManifest) as caught:
            read(text, **options)
        assert str(caught.value) == "\n".join(caught.value.faults)
        return [f.removeprefix(str(folder / "modelless.yaml")).lstrip(":") for f in caught.value.faults]

    return faults


def test_a_good_manifest(read: Callable[..., TaskManifest], folder: Path) -> None:
    tiers = {t.name: t for t in prices.local_tiers()}
    assert read(GOOD) == TaskManifest(
        folder=folder,
        task=Task(
            name="digits",
            inputs=(TensorSpec("image", "FP32", (-1, 64)),),
            outputs=(TensorSpec("label", "INT64", (-1,)),),
            metric="accuracy",
            default_slo=Slo(latency_ms=50.0, max_cost_usd=0.00002, objective=Objective.COST),
            classes=("0", "1", "no", "1e3"),
            description="Which digit is drawn",
        ),
        evaluation=folder / "eval.npz",
        variants=(
            VariantManifest(
                "linear",
                folder / "models/linear.onnx",
                Recipe("sklearn", None, (("C", "1e-3"), ("depth", "010"), ("fit", "no"))),
            ),
            VariantManifest(
                "linear-int8", folder / "models/int8.onnx", Recipe("quantise", "linear"), 8, threads=2, prepack=False
            ),
        ),
        tiers=(tiers["inline"], tiers["process-1769"]),
    )


def test_what_is_dumped_is_loaded_again(read: Callable[..., TaskManifest]) -> None:
    manifest = read(GOOD)
    text = dump(manifest)
    assert read(text) == manifest
    assert dump(read(text)) == text
    assert yaml.safe_load(text)["task"]["classes"] == ["0", "1", "no", "1e3"]


def test_a_family_may_be_made_of_what_is_listed(read: Callable[..., TaskManifest], folder: Path) -> None:
    (folder / "rows.npz").write_bytes(b"")
    text = GOOD.replace(
        "evaluation: eval.npz\n", "evaluation: eval.npz\ncalibration: rows.npz\ngenerate: [int8, trees]\n"
    )
    text = text.replace("    model: models/int8.onnx\n", "")
    manifest = read(text, generators=("int8", "quantise", "trees"))
    assert manifest.calibration == folder / "rows.npz"
    assert manifest.generate == ("int8", "trees")
    assert manifest.variants[1].model is None
    assert manifest.variants[1].recipe == Recipe("quantise", "linear")
    assert read(dump(manifest)) == manifest
    assert read(GOOD + "generate: true\n").generate is True
    assert read(dump(read(GOOD + "generate: true\n"))).generate is True
    assert read(GOOD + "generate: false\n") == read(GOOD)


def test_without_tiers_it_takes_all_local_ones(read: Callable[..., TaskManifest]) -> None:
    assert read(GOOD.replace("tiers: [inline, process-1769]\n", "")).tiers == prices.local_tiers()


def test_a_tier_may_be_defined(read: Callable[..., TaskManifest]) -> None:
    definition = "{name: big, kind: lambda, memory_mb: 10240, concurrency: 9, start_mode: provisioned}"
    manifest = read(GOOD.replace("[inline, process-1769]", f"[{definition}]"))
    expected = Tier(
        "big",
        TierKind.LAMBDA,
        prices.vcpus_of(10240),
        10240,
        9,
        StartMode.PROVISIONED,
        prices.lambda_price(10240, start_mode=StartMode.PROVISIONED),
    )
    assert manifest.tiers == (expected,)
    assert read(dump(manifest)) == manifest


def test_the_gpu_s_tier_may_be_named(read: Callable[..., TaskManifest]) -> None:
    manifest = read(GOOD.replace("[inline, process-1769]", "[container-gpu]"))
    assert manifest.tiers == (prices.gpu_tier(),)
    assert read(dump(manifest)) == manifest


def test_a_container_of_another_size_costs_what_it_takes(read: Callable[..., TaskManifest]) -> None:
    definition = "{name: big, kind: container, vcpus: 4, memory_mb: 8192, concurrency: 4, start_mode: always}"
    manifest = read(GOOD.replace("[inline, process-1769]", f"[{definition}]"))
    assert manifest.tiers[0].price == prices.container_price(4.0, 8192)


def test_a_tier_with_a_price_of_its_own(read: Callable[..., TaskManifest]) -> None:
    definition = "{name: l4, kind: gpu, vcpus: 4, memory_mb: 16384, concurrency: 1, price: {usd_per_busy_s: 3e-4}}"
    manifest = read(GOOD.replace("[inline, process-1769]", f"[{definition}]"))
    assert manifest.tiers[0].price.usd_per_busy_s == 0.0003
    assert read(dump(manifest)) == manifest


def test_tiers_of_the_catalogue_may_be_named(read: Callable[..., TaskManifest]) -> None:
    mine = Tier("mine", TierKind.CONTAINER, 1.0, 512, 1, StartMode.ALWAYS, prices.inline_price(1.0, 512))
    assert read(GOOD.replace("[inline, process-1769]", "[mine]"), tiers=[mine]).tiers == (mine,)


def test_scalars_that_mean_nothing_do_not_hide_other_faults(faults: Callable[..., list[str]]) -> None:
    text = GOOD.replace("5e1", ".nan").replace("models/int8.onnx", "!!int abc").replace("prepack", "prepak")
    assert faults(text.replace("  metric: accuracy", "  name: other\n  metric: 3")) == [
        "2: task.name: stands here twice, on line 4 too; remove one",
        "5: task.metric: 3 is wrong; give a text",
        "11: task.slo.latency_ms: '.nan' is no number of a manifest; write a plain one",
        "19: variants[1].model: 'abc' is no number of a manifest; write a plain one",
        "23: variants[1].prepak: is not a key of variants[1]; did you mean prepack?",
    ]


def test_numbers_beyond_reason_are_faults_like_any_other(faults: Callable[..., list[str]]) -> None:
    huge = "1" + "0" * 400
    tier = f"{{name: big, kind: gpu, vcpus: {huge}, memory_mb: 1, concurrency: {huge}, price: {{usd_per_busy_s: -1}}}}"
    text = GOOD.replace("[inline, process-1769]", f"[{tier}]").replace("max_batch: 8", "max_batch: 1048577")
    found = faults(text.replace("threads: 2", "threads: 65"))
    assert [fault.partition(": ")[2].partition(":")[0] for fault in found] == [
        "tiers[0].concurrency",
        "tiers[0].vcpus",
        "tiers[0].price.usd_per_busy_s",
        "variants[1].max_batch",
        "variants[1].threads",
    ]


def test_every_fault_is_said_at_once_in_order_of_line(faults: Callable[..., list[str]], folder: Path) -> None:
    text = """\
task:
  name: Bad Name
  metrc: accuracy
  inputs:
    - {name: x, datatype: FP31, shape: [-1, 0]}
    - {name: y, datatype: FP32, shape: [-1, 4]}
    - {name: y, datatype: FP32, shape: [-1, 4]}
  outputs: []
  slo: {latency_ms: -1, percentile: 200, objectve: cost}
evaluation: ../eval.npz
tiers: [inlin, {name: big, kind: gpu, memory_mb: 4, concurrency: 0}, inline, inline]
variants:
  - name: a
    model: models/linear.onnx
    accuracy: 0.97
    recipe: {generator: sklearn, parent: b}
  - name: a
    model: models/missing.onnx
    prepack: maybe
    max_batch: 0
extra: 1
"""
    assert faults(text) == [
        "1: task.metric: is missing; give a text",
        "2: task.name: 'Bad Name' is not a name; use 1-64 of a-z 0-9 . _ - and start with a letter or digit",
        "3: task.metrc: is not a key of task; did you mean metric?",
        "5: task.inputs[0].datatype: 'FP31' is unknown; use one of BOOL, BYTES, FP16, FP32, FP64, INT16, INT32, INT64, "
        "INT8, UINT16, UINT32, UINT64, UINT8",
        "5: task.inputs[0].shape[1]: 0 is wrong; give a whole number from 1, or -1 for any",
        "7: task.inputs[2].name: 'y' is taken already; give each tensor its own name",
        "8: task.outputs: is missing; give a list with at least one item",
        "9: task.slo.latency_ms: -1.0 is out of range; use more than 0 to 900000",
        "9: task.slo.percentile: 200.0 is out of range; use 1 to 99.9",
        "9: task.slo.objectve: is not a key of task.slo; did you mean objective?",
        "10: evaluation: '../eval.npz' leads out of the manifest's folder; copy the file into it",
        "11: tiers[0]: 'inlin' is no tier; did you mean inline?",
        "11: tiers[1].concurrency: 0 is wrong; give a whole number from 1",
        "11: tiers[3]: 'inline' is listed already; list it once",
        "15: variants[0].accuracy: is measured when the variant is registered, never typed in; remove it",
        "16: variants[0].recipe: parent 'b' is no variant above this one; list it first",
        "17: variants[1].recipe: is missing; give a mapping",
        "17: variants[1].recipe.generator: is missing; give a text",
        "17: variants[1].name: 'a' is taken already; give each variant its own name",
        f"18: variants[1].model: 'models/missing.onnx' is no file in {folder}; make it first, or mend the path",
        "19: variants[1].prepack: 'maybe' is wrong; give true or false",
        "20: variants[1].max_batch: 0 is wrong; give a whole number from 1 to 1048576",
        "21: extra: is not a key of the manifest; use calibration, evaluation, generate, task, tiers, variants",
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("name: digits", "name: 3", "2: task.name: 3 is wrong; give a text"),
        ("metric: accuracy", "metric: [a]", "4: task.metric: a list is wrong; give a text"),
        ("metric: accuracy", "metric: speed", "4: task.metric: 'speed' is unknown; use one of accuracy, quality"),
        ("shape: [-1, 64]", "shape: [-1, true]", "6: task.inputs[0].shape[1]: True is wrong; give a whole number from"),
        ("shape: [-1, 64]", "shape: wide", "6: task.inputs[0].shape: 'wide' is wrong; give a list"),
        ("classes: [0, 1, no, 1e3]", "classes: [[a]]", "9: task.classes[0]: a list is wrong; give a text or number"),
        ("slo: {latency_ms: 5e1,", "slo: {latency_ms: fast,", "10: task.slo.latency_ms: 'fast' is not a number; give"),
        ("objective: cost", "objective: fame", "10: task.slo.objective: 'fame' is unknown; use one of"),
        ("eval.npz", "/etc/passwd", "11: evaluation: '/etc/passwd' leads out of the manifest's folder; copy the file"),
        ("eval.npz", "models", "11: evaluation: 'models' is no .npz file; give one"),
        ("eval.npz", '"a\\0b.npz"', "11: evaluation: 'a\\x00b.npz' is no .npz file; give one"),
        ("models/linear.onnx", "../secret.onnx", "15: variants[0].model: '../secret.onnx' leads out"),
        ("models/linear.onnx", "models/link.onnx", "15: variants[0].model: 'models/link.onnx' leads out"),
        ("models/linear.onnx", "eval.npz", "15: variants[0].model: 'eval.npz' is no .onnx file; give one"),
        ("parent: linear", "parent: linear-int8", "19: variants[1].recipe: parent 'linear-int8' is no variant above"),
        ("threads: 2", "threads: 2.5", "21: variants[1].threads: 2.5 is wrong; give a whole number from 1"),
        ("tiers: [inline,", "tiers: [{kind: gpu},", "12: tiers[0].name: is missing; give a text"),
        ("prepack: false", "prepack: !!binary eA==", "22: variants[1].prepack: tag:yaml.org,2002:binary is not used"),
        ("prepack: false", "max_batch: 9", "20: variants[1].max_batch: stands here twice, on line 22 too; remove one"),
        ("variants:", "variant:", "1: variants: is missing; give a list with at least one item"),
        ("tiers:", "calibration: rows.npz\ntiers:", "12: calibration: 'rows.npz' is no file in"),
        ("tiers:", "calibration: eval.npz\ntiers:", "12: calibration: is the evaluation; what a variant was made with"),
        ("tiers:", "calibration:\ntiers:", "12: calibration: nothing is wrong; give a text"),
        ("tiers:", "generate: yes\ntiers:", "12: generate: 'yes' is wrong; give true or false"),
        ("tiers:", "generate: [in8]\ntiers:", "12: generate[0]: 'in8' is no generator; did you mean int8?"),
        ("tiers:", "generate: [int8, int8]\ntiers:", "12: generate[1]: 'int8' is listed already; list it once"),
        ("tiers:", "generate: [3]\ntiers:", "12: generate[0]: 3 is wrong; give the name of a generator"),
        ("    model: models/linear.onnx\n", "", "14: variants[0].model: is missing; give an .onnx file, or a recipe"),
        ("    model: models/int8.onnx\n", "", "18: variants[1].recipe: 'quantise' is no generator; did you mean"),
    ],
)
def test_one_fault_is_named_by_line_and_field(
    faults: Callable[..., list[str]], folder: Path, old: str, new: str, fault: str
) -> None:
    (folder / "models/link.onnx").symlink_to(folder.parent / "secret.onnx")
    assert old in GOOD
    found = faults(GOOD.replace(old, new, 1), metrics=("accuracy", "quality"), generators=("int8", "quantize"))
    assert [f for f in found if f.startswith(fault)], found


@pytest.mark.parametrize(
    ("tier", "fault"),
    [
        ("{name: l4, kind: gpu, memory_mb: 9, concurrency: 1}", "kind: a gpu tier has no usual price"),
        ("{name: a, kind: lamda, memory_mb: 9, concurrency: 1}", "kind: 'lamda' is wrong; give one of inline, process"),
        (
            "{name: a, kind: lambda, memory_mb: 9, concurrency: 1, start_mode: always}",
            "start_mode: no Lambda function always runs",
        ),
        (
            "{name: a, kind: gpu, memory_mb: 9, concurrency: 1, price: {usd_per_hour: 1}}",
            "price.usd_per_busy_s: is missing",
        ),
        ("{name: a, kind: lambda, memory_mb: 9, concurrency: 1, vcpus: -1}", ": needs a positive concurrency"),
        ("7", ": 7 is wrong; give a mapping"),
    ],
)
def test_a_wrong_tier(faults: Callable[..., list[str]], tier: str, fault: str) -> None:
    found = faults(GOOD.replace("[inline, process-1769]", f"[{tier}]"))
    assert [f for f in found if fault in f], found


@pytest.mark.parametrize("name", ["accuracy", "latency", "profile", "size_bytes", "quality"])
@pytest.mark.parametrize("before", ["metric: accuracy\n", "max_batch: 8\n", "generator: quantise, "])
def test_a_measured_figure_is_never_typed_in(faults: Callable[..., list[str]], name: str, before: str) -> None:
    indent = {"metric: accuracy\n": f"  {name}: 0.9\n", "max_batch: 8\n": f"    {name}: 0.9\n"}
    found = faults(GOOD.replace(before, before + indent.get(before, f"{name}: 0.9, ")))
    assert len(found) == 1
    assert found[0].endswith(f"{name}: is measured when the variant is registered, never typed in; remove it")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "the manifest: nothing is wrong; give a mapping"),
        (b"[]", "the manifest: a list is wrong; give a mapping"),
        (b"task: [", "1: is not YAML: "),
        (b"task: a\n  b: c", "2: is not YAML: mapping values are not allowed here"),
        (b"a: 1\n---\nb: 2", "is not YAML: but found another document"),
        (b"\xff\xfe\xfa", "is not UTF-8 text: byte 0 is wrong"),
        (b"a: \x07", "is not YAML: "),
        (b"a: &x [1]\nb: [*x, *x]", "2: has an alias (*x); write it out"),
        (b"[" * 100_000, "1: is nested deeper than 16 levels"),
        (b"# " + b"x" * 300_000, "is larger than 256 KiB"),
        (b"? [a]\n: b", "is not a key of the manifest"),
    ],
)
def test_a_text_that_is_no_manifest(faults: Callable[..., list[str]], text: bytes, fault: str) -> None:
    assert [f for f in faults(text) if fault in f]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml")


def test_yaml_cannot_make_objects(faults: Callable[..., list[str]], tmp_path: Path) -> None:
    found = faults(GOOD + f'extra: !!python/object/apply:os.mkdir ["{tmp_path}/made"]\n')
    assert found == [
        "23: extra: is not a key of the manifest; use calibration, evaluation, generate, task, tiers, variants"
    ]
    assert not (tmp_path / "made").exists()
