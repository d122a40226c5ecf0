"""PyTorch's modules answer as ONNX what they answer in evaluation mode, for any number of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from optimizer.errors import NotConvertible
from optimizer.signature import infer
from optimizer.sources import convert

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class SmallNet(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(4 * 36, 10)

    def forward(self, image: Any) -> Any:
        return self.head(self.drop(self.body(image)).flatten(1))


class Two(torch.nn.Module):  # type: ignore[misc]
    def forward(self, left: Any, right: Any) -> Any:
        return {"sum": left + right, "product": left * right}


@pytest.fixture(scope="module")
def images() -> Any:
    return np.random.default_rng(0).normal(size=(7, 1, 8, 8))


def test_a_module_gives_its_answers_and_keeps_its_mode(images: Any, run: Any) -> None:
    torch.manual_seed(0)
    module = SmallNet()
    converted = convert(module, images)

    assert module.training
    assert list(converted.rows) == ["image"]
    assert dict(converted.recipe.parameters)["class"] == "SmallNet"
    with torch.no_grad():
        right = module.eval()(torch.from_numpy(images.astype(np.float32))).numpy()
    np.testing.assert_allclose(run(converted)["output"], right, atol=1e-5)


def test_several_tensors_have_the_names_that_forward_gives_them(run: Any) -> None:
    left, right = (np.arange(6, dtype=np.float32).reshape(3, 2) + i for i in range(2))
    for rows in ((torch.from_numpy(left), right), {"right": right, "left": left}):
        outputs = run(convert(Two(), rows))
        np.testing.assert_allclose(outputs["sum"], left + right)
        np.testing.assert_allclose(outputs["product"], left * right)


def test_nothing_of_the_machine_is_in_the_model(images: Any) -> None:
    assert __file__.encode() not in convert(SmallNet(), images).onnx


def test_an_array_that_forward_does_not_take_is_named(images: Any) -> None:
    with pytest.raises(NotConvertible, match=r"X has \['picture'\], and forward takes \['image'\]"):
        convert(SmallNet(), {"picture": images})


def test_a_module_for_one_number_of_rows_is_refused(images: Any) -> None:
    class Fixed(SmallNet):
        def forward(self, image: Any) -> Any:
            return super().forward(image)[:2]

    with pytest.raises(ValueError, match=r"row"):
        infer(convert(Fixed(), images).onnx, {"image": images})


class Branching(torch.nn.Module):
    def forward(self, x: Any) -> Any:
        print("looked at")
        return x if x.sum() > 0 else -x


def test_what_cannot_be_exported_has_its_first_cause_and_no_graphs(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        NotConvertible, match=r"torch\.onnx\.export cannot: Could not guard on data-dependent"
    ) as refused:
        convert(Branching(), np.ones((4, 2)))

    assert "\x1b" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_what_a_module_prints_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    class Talking(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            print("looked at")
            return x * 2

    convert(Talking(), np.ones((4, 2)))
    assert "looked at" in capfd.readouterr().out
