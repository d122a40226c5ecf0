"""`register` takes a manifest, an example or a model, and refuses what it cannot register before it opens anything."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import pytest
from click.testing import Result

from cli.errors import BadInput
from cli.register import Choices, _chosen, _read, abortable
from optimizer.generate.table import GENERATORS

Invoke = Callable[..., Result]


@pytest.mark.parametrize(
    ("source", "hint"),
    [("digit", "did you mean 'digits'?"), ("nothing/task.yaml", "no such file"), ("./nowhere", "no such file")],
)
def test_an_unknown_source_is_bad_input(source: str, hint: str, invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("register", source, "--home", str(tmp_path / "home"))

    assert result.exit_code == 2
    assert hint in result.stderr
    assert not (tmp_path / "home").exists()


def test_a_manifest_with_faults_is_bad_input_naming_all_of_them(invoke: Invoke, tmp_path: Path) -> None:
    manifest = tmp_path / "task.yaml"
    manifest.write_text("task: {name: Bad Name, metric: beauty}\nvariants: []\n")
    result = invoke("register", str(manifest), "--home", str(tmp_path / "home"))

    assert result.exit_code == 2
    assert result.stderr.count("task.yaml") >= 3
    assert "beauty" in result.stderr
    assert not (tmp_path / "home" / "catalogue.db").exists()


def test_ctrl_c_while_training_aborts_where_a_library_would_carry_on() -> None:
    def training() -> None:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(click.Abort), abortable():
        training()
    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_ctrl_c_stays_ignored_while_training() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with abortable():
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A model that doubles, and rows for it under the right name and under a wrong one."""
    text = '<ir_version: 8, opset_import: ["" : 18]> g (float[n, 2] x) => (float[n, 2] y) { y = Add(x, x) }'
    (tmp_path / "model.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    rows = np.arange(80, dtype=np.float32).reshape(40, 2)
    np.savez(tmp_path / "eval.npz", x=rows, y=rows * 2)
    np.savez(tmp_path / "wrong.npz", xs=rows, y=rows * 2)
    (tmp_path / "model.pkl").write_bytes(b"cos\nsystem\n.")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["twice", "model.onnx"], "--eval is missing"),
        (["model.onnx"], "is a model; name the task first: modelless register TASK model.onnx --eval data.npz"),
        (["digits", "--eval", "eval.npz", "--min-accuracy", "0.9"], "--eval, --min-accuracy: a manifest or an example"),
        (["twice", "model.onnx", "--eval", "nothing.npz"], "nothing.npz: cannot be read"),
        (["twice", "model.onnx", "--eval", "model.onnx"], "cannot be read"),
        (
            ["twice", "model.onnx", "--eval", "wrong.npz"],
            "the file has ['xs', 'y'], and the model takes ['x']; is it 'xs'?",
        ),
        (["twice", "model.pkl", "--eval", "eval.npz"], "runs whatever code is in it; none is ever read"),
        (["twice", "eval.npz", "--eval", "eval.npz"], "not ONNX"),
        (["Twice!", "model.onnx", "--eval", "eval.npz"], "task: 'Twice!' is not a name"),
        (["twice", "model.onnx", "--eval", "eval.npz", "--tier", "inlin"], "did you mean inline"),
        (["twice", "model.onnx", "--eval", "eval.npz", "--output", "z"], "the model gives no 'z'; use y"),
        (["twice", "model.onnx", "--eval", "eval.npz", "--metric", "acuracy"], "did you mean accuracy"),
        (["twice", "model.onnx", "--eval", "eval.npz", "--generator", "int9"], "did you mean int8"),
        (["twice", "model.onnx", "--eval", "eval.npz", "--percentile", "0"], "slo.percentile"),
    ],
)
def test_a_model_that_cannot_be_registered_is_bad_input(
    arguments: list[str], hint: str, invoke: Invoke, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    result = invoke("register", *arguments, "--home", str(files / "home"))

    assert result.exit_code == 2, result.output
    assert hint in result.stderr
    assert not (files / "home").exists()


def test_tiers_and_generators_of_a_manifest_may_be_chosen(manifest_registration: Any) -> None:
    registration = manifest_registration
    chosen = _chosen(registration, Choices(tiers=("inline",), generate=False))
    assert [tier.name for tier in chosen.tiers] == ["inline"]
    assert chosen.generate == ()
    assert _chosen(registration, Choices(generators=("int8",))).generate == ("int8",)
    assert _chosen(registration, Choices(generate=True)).generate == tuple(GENERATORS)
    as_it_says = _chosen(registration, Choices())
    assert (as_it_says.generate, as_it_says.tiers) == (("compile",), registration.tiers)
    with pytest.raises(BadInput, match=r"no tier of the manifest 'lambda-1769'; "):
        _chosen(registration, Choices(tiers=("lambda-1769",)))


def test_a_home_that_cannot_be_written_is_bad_input_before_anything_is_trained(invoke: Invoke, files: Path) -> None:
    result = invoke("register", "digits", "--home", str(files / "eval.npz" / "home"))

    assert result.exit_code == 2
    assert "Training" not in result.stderr
    assert "cannot be written" in result.stderr
    assert "--home FOLDER or MODELLESS_HOME" in result.stderr


def test_ctrl_c_while_measuring_says_that_the_next_run_goes_on(
    invoke: Invoke, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(files)
    monkeypatch.setattr("modelless.registered", interrupted)
    result = invoke("register", "twice", "model.onnx", "--eval", "eval.npz", "--home", str(files / "home"))

    assert result.exit_code == 1
    assert "Interrupted: nothing is published. The next run goes on where this one stopped." in result.stderr
    assert result.stderr.rstrip().endswith("Aborted!")


@pytest.fixture
def manifest_registration(files: Path) -> Any:
    (files / "task.yaml").write_text(
        "task:\n  name: twice\n  metric: rmse_skill\n"
        "  inputs: [{name: x, datatype: FP32, shape: [-1, 2]}]\n"
        "  outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]\n"
        "evaluation: eval.npz\ngenerate: [compile]\ntiers: [inline, process-1769]\n"
        "variants: [{name: only, model: model.onnx, recipe: {generator: train}}]\n"
    )
    return _read(files / "task.yaml")
