"""Libraries that a conversion needs and nobody else does; imports one when it is needed, and installs nothing."""

from __future__ import annotations

import importlib
from typing import Any

from optimizer.errors import NotConvertible


def need(module: str, package: str, *, model: str) -> Any:
    """A module of a library; raises NotConvertible naming the `package` to install where it is not there."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        problem = f"is converted by {module.partition('.')[0]}, which cannot be imported (no {missing.name})"
        raise NotConvertible(model, problem, f"run `pip install {package}`") from missing


def described(model: Any) -> str:
    """What a model is, in the words of an error: its class, with the module that the class is from."""
    kind = type(model)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
