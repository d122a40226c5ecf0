"""What can go wrong while making and measuring variants: one root, classes by whose fault it is.

OptimizerError
├── GenerationFailed     the model's: a generator cannot make a variant of it
├── InvalidEvaluation    the caller's: the held-out rows do not fit the task or its metric
├── MeasurementFailed    the backend's: a placement cannot be measured
│   └── NoNewEnvironment nobody's: too many environments stand warm to measure a start beside them
├── NotConvertible       the caller's: a model cannot be turned into ONNX, or not with what is installed
├── ModelRefused         the model's: it is not fit to be registered (also registry's InvalidValue)
├── NothingRegistered    the caller's: no variant of a manifest could be made
├── SandboxFailed        ours: the process that vets models does not start
└── Superseded           nobody's: a task was registered again while a variant was made for it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from registry.errors import InvalidValue


class OptimizerError(Exception):
    """Root of every error that the optimizer raises."""


class GenerationFailed(OptimizerError):
    """A generator cannot make a variant of this model; carries the generator and its reason."""

    def __init__(self, generator: str, reason: str) -> None:
        super().__init__(f"{generator}: {reason}")
        self.generator = generator
        self.reason = reason


class InvalidEvaluation(OptimizerError, ValueError):
    """The held-out rows do not fit; carries the field, the problem and the fix."""

    def __init__(self, field: str, problem: str, fix: str) -> None:
        super().__init__(f"{field}: {problem}; {fix}")
        self.field = field
        self.problem = problem
        self.fix = fix


class MeasurementFailed(OptimizerError):
    """A placement cannot be measured; the message names it and why."""


class NoNewEnvironment(MeasurementFailed):
    """A start cannot be measured while so many environments stand warm; it can once fewer do."""


class NotConvertible(OptimizerError, ValueError):
    """A model cannot be turned into ONNX; carries what it is, the problem and the fix."""

    def __init__(self, model: str, problem: str, fix: str) -> None:
        super().__init__(f"{model}: {problem}; {fix}")
        self.model = model
        self.problem = problem
        self.fix = fix


class NothingRegistered(OptimizerError):
    """No variant could be made; `reasons` says why, one line per variant."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons) or "the manifest names no variant")
        self.reasons = tuple(reasons)


class Reason(StrEnum):
    """Why a model is refused."""

    TOO_LARGE = "too_large"
    NOT_ONNX = "not_onnx"
    TOO_DEEP = "too_deep"
    TOO_MANY_NODES = "too_many_nodes"
    TOO_MANY_TENSORS = "too_many_tensors"
    NAME_TOO_LONG = "name_too_long"
    EXTERNAL_DATA = "external_data"
    BAD_TENSOR = "bad_tensor"
    TENSOR_TOO_LARGE = "tensor_too_large"
    UNKNOWN_DOMAIN = "unknown_domain"
    UNKNOWN_OPERATOR = "unknown_operator"
    NOT_DENSE = "not_dense"
    UNSERVED_TYPE = "unserved_type"
    NO_BATCH_AXIS = "no_batch_axis"
    INVALID_GRAPH = "invalid_graph"
    SHAPE_INFERENCE = "shape_inference"
    UNPORTABLE_LOCALE = "unportable_locale"
    NOT_LOADABLE = "not_loadable"
    NEVER_RUNS = "never_runs"
    OUTPUT_TOO_LARGE = "output_too_large"
    NONDETERMINISTIC = "nondeterministic"
    MIXES_ROWS = "mixes_rows"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_TIME = "out_of_time"


FIXES: Mapping[Reason, str] = {
    Reason.TOO_LARGE: "export a smaller model: in half precision, quantised, or with fewer trees",
    Reason.NOT_ONNX: "give the bytes of an .onnx file, a serialised ModelProto",
    Reason.TOO_DEEP: "export without subgraphs or functions inside one another",
    Reason.TOO_MANY_NODES: "export with loops rather than unrolled, and with trees as one ensemble node",
    Reason.TOO_MANY_TENSORS: "export with fewer and larger constants",
    Reason.NAME_TOO_LONG: "export with shorter names",
    Reason.EXTERNAL_DATA: "save the weights inside the model (onnx.save_model without save_as_external_data)",
    Reason.BAD_TENSOR: "export it again: its size and its bytes must agree",
    Reason.TENSOR_TOO_LARGE: "export a model that keeps no tensor of this size",
    Reason.UNKNOWN_DOMAIN: "export with operators of ai.onnx, ai.onnx.ml or com.microsoft only",
    Reason.UNKNOWN_OPERATOR: "export with operators that ONNX Runtime has for CPUs",
    Reason.NOT_DENSE: "export with dense tensors only (skl2onnx: zipmap=False)",
    Reason.UNSERVED_TYPE: "cast inputs and outputs to a type of the Open Inference Protocol, as FP32, INT64 or BYTES",
    Reason.NO_BATCH_AXIS: "export with a first axis of any extent, the rows, on every input and output "
    "(torch: dynamic_shapes; skl2onnx: None)",
    Reason.INVALID_GRAPH: "export a model that onnx.checker accepts",
    Reason.SHAPE_INFERENCE: "export a model that onnx.shape_inference accepts with strict_mode=True",
    Reason.UNPORTABLE_LOCALE: "set the locale of StringNormalizer to C.UTF-8, or change case before the model",
    Reason.NOT_LOADABLE: "export a model that ONNX Runtime can load on a CPU",
    Reason.NEVER_RUNS: "export with fixed extents but for the first axis, and try it in ONNX Runtime on zeros",
    Reason.OUTPUT_TOO_LARGE: "export with outputs that hold what callers need and no more",
    Reason.NONDETERMINISTIC: "export for inference, without random operators or dropout in training mode",
    Reason.MIXES_ROWS: "export for inference, so that no row's answer depends on the rows beside it",
    Reason.CRASHED: "try it in ONNX Runtime on zeros, extremes and an empty batch",
    Reason.OUT_OF_MEMORY: "export a model that needs less memory, whatever its input",
    Reason.OUT_OF_TIME: "export a model that ends soon, whatever its input",
}
"""What whoever gives the model can do about it."""


class ModelRefused(OptimizerError, InvalidValue):
    """A model is not fit to be registered; carries the reason, the problem as `detail`, and the fix."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__("model", detail, FIXES[reason])
        self.reason = reason
        self.detail = detail


class SandboxFailed(OptimizerError):
    """The process that vets models did not start; nothing is known of the models."""


class Superseded(OptimizerError):
    """A task was registered again while a variant was made for it, so what was measured no longer holds."""

    def __init__(self, task: str) -> None:
        super().__init__(f"{task} was registered again meanwhile, so the variant was left; ask for it again")
        self.task = task
