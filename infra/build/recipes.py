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
    """One function's artefact: its rooms of this repository, its machine and its size budget."""

    name: str
    architecture: str
    """As Lambda names it: `x86_64` or `arm64`."""
    rooms: tuple[str, ...]
    """Glob patterns of the source files to ship, relative to the repository."""
    budget_mb: int
    """Our own limit on the unzipped size in MiB, a tenth or so above what it is, so that growth is noticed."""
    unreached: frozenset[str] = frozenset()
    """Modules that shipped code imports when first needed, and that this function never needs."""


FACTS = ("registry/**/*.py", "registry/data/*.json")
DECISIONS = (
    *FACTS,
    "scheduler/**/*.py",
    "functions/__init__.py",
    "functions/aws/__init__.py",
    "functions/aws/catalogue.py",
    "functions/aws/settings.py",
    "gateway/__init__.py",
    "gateway/decisions.py",
    "gateway/documents.py",
    "gateway/errors.py",
    "gateway/snapshots.py",
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="api",
            architecture="arm64",
            rooms=(
                *DECISIONS,
                "functions/api/*.py",
                "functions/aws/callers.py",
                "gateway/auth.py",
                "gateway/dispatch.py",
                "gateway/service.py",
                "gateway/backends/__init__.py",
                "gateway/backends/calls.py",
                "gateway/backends/lambda_.py",
                "gateway/backends/protocol.py",
                "runtime/__init__.py",
                "runtime/errors.py",
                "runtime/codecs/*.py",
            ),
            budget_mb=110,
            unreached=frozenset({"yaml"}),  # reads a file of API keys; IAM or a JWT says who calls
        ),
        Recipe(
            name="scheduler",
            architecture="arm64",
            rooms=(*DECISIONS, "functions/scheduler/*.py"),
            budget_mb=70,
            unreached=frozenset({"yaml"}),  # reads manifests, which are published from elsewhere
        ),
        Recipe(
            name="worker",
            architecture="x86_64",
            rooms=(
                *FACTS,
                "functions/__init__.py",
                "functions/worker/*.py",
                "runtime/*.py",
                "runtime/codecs/__init__.py",
                "runtime/codecs/binary.py",
                "runtime/codecs/wire.py",
            ),
            budget_mb=110,
            unreached=frozenset({"yaml"}),
        ),
    )
}

TRIM: dict[str, tuple[str, ...]] = {
    # A second copy of the runtime, which the Python module neither needs nor loads (readelf, and run); then
    # what makes models, not what runs them.
    "onnxruntime": (
        "onnxruntime/capi/libonnxruntime.so.*",
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

TRIM_ANYWHERE = ("**/tests", "**/*.pyi", "**/*.pxd", "**/*.h", "**/*.a", "bin", "numpy/distutils", "**/__pycache__")
"""Paths to delete wherever they are."""

BOTOCORE_SERVICES = frozenset({"dynamodb", "lambda", "s3", "sts"})
"""The service models that our clients use; botocore ships over 400, 20 MiB of them."""
