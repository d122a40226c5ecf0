"""What each Lambda function's artefact holds, as literal tables; nothing here copies or downloads."""

from __future__ import annotations

from dataclasses import dataclass

PYTHON = "3.13"
"""The managed runtime that template.yaml names."""

UNZIPPED_LIMIT = 250 * 1024 * 1024
"""Lambda refuses a function whose code and layers unzip to more (Lambda quotas)."""

RUNTIME_PROVIDES = frozenset({"awslambdaric", "snapshot_restore_py"})
"""Top-level packages that the managed runtime itself brings; shipping a second copy would shadow it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One function's artefact: what its handler imports, for its machine, within its size budget.

    Its dependencies are those of `requirements/<name>.txt`.
    """

    name: str
    architecture: str
    """As Lambda names it: `x86_64` or `arm64`."""
    budget_mb: int
    """Our own limit on the unzipped size in MiB, a tenth or so above what it is, so that growth is noticed."""
    budget_ms: int
    """Our own limit on the CPU time of a start until the handler is imported (`benchmarks.artefacts`)."""
    unreached: frozenset[str] = frozenset()
    """Modules and packages that its code imports when first needed, and that this function never needs."""

    @property
    def entry(self) -> str:
        """The handler's module."""
        return f"functions.{self.name}.app"


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="api",
            architecture="arm64",
            budget_mb=100,
            budget_ms=900,
            unreached=frozenset({"yaml"}),  # for a file of API keys; in the cloud IAM or a JWT says who calls
        ),
        Recipe(name="scheduler", architecture="arm64", budget_mb=65, budget_ms=450),
        Recipe(name="prewarm", architecture="arm64", budget_mb=65, budget_ms=550),
        Recipe(name="evict", architecture="arm64", budget_mb=65, budget_ms=550),
        Recipe(name="jobs", architecture="arm64", budget_mb=92, budget_ms=800, unreached=frozenset({"yaml"})),
        Recipe(name="feedback", architecture="arm64", budget_mb=75, budget_ms=650),
        Recipe(
            name="optimize",
            architecture="x86_64",
            budget_mb=195,
            budget_ms=900,
            unreached=frozenset({"sklearn", "threadpoolctl"}),  # students are not taught here
        ),
        Recipe(
            name="worker",
            architecture="x86_64",
            budget_mb=60,
            budget_ms=90,
            unreached=frozenset({"runtime.codecs.binary"}),  # tensors as numpy arrays, which a worker does without
        ),
    )
}

DATA = {"registry/prices.py": "registry/data/*.json"}
"""What a source file reads besides code, as a glob pattern; it is shipped with the file."""

TRIM: dict[str, tuple[str, ...]] = {
    # The Python module, a second copy of the runtime that the worker does not load (it calls the shared library);
    # then what makes models, not what runs them.
    "onnxruntime": (
        "onnxruntime/capi/onnxruntime_pybind11_state*.so",
        "onnxruntime/transformers",
        "onnxruntime/quantization",
        "onnxruntime/tools",
        "onnxruntime/datasets",
        "onnxruntime/backend",
        "onnxruntime/ThirdPartyNotices.txt",
    ),
    "numpy": ("numpy/f2py", "numpy/_core/include", "numpy/_pyinstaller", "numpy/doc"),
    "aws-lambda-powertools": ("aws_lambda_powertools/event_handler/openapi/swagger_ui/*.js",),
}
"""Paths to delete, by the distribution that brings them; a pattern that matches nothing fails the build."""

TRIM_OF: dict[tuple[str, str], tuple[str, ...]] = {
    # It makes models too: with the Python module, and with what quantises and converts.
    ("optimize", "onnxruntime"): (
        "onnxruntime/tools",
        "onnxruntime/datasets",
        "onnxruntime/backend",
        "onnxruntime/ThirdPartyNotices.txt",
        "onnxruntime/transformers/models",
    ),
    ("optimize", "onnx"): ("onnx/backend/test",),
}
"""What is deleted instead for one function, by its name and the distribution's."""

TRIM_ANYWHERE = ("**/tests", "**/*.pyi", "**/*.pxd", "**/*.h", "**/*.a", "bin", "numpy/distutils", "**/__pycache__")
"""Paths to delete wherever they are."""

BOTOCORE_SERVICES = frozenset({"dynamodb", "kms", "lambda", "s3", "sagemaker", "sagemaker-runtime", "sqs", "sts"})
"""The service models that our clients use; botocore ships over 400, 20 MiB of them."""
