from __future__ import annotations

from pathlib import Path

import pytest

from gateway.environments.spec import FunctionSpec, environ_of, import_roots
from registry.errors import InvalidValue
from registry.model import StartMode


def make(**changes: object) -> FunctionSpec:
    fields: dict[str, object] = {"name": "fn", "handler": "m.h", "task_root": Path("/code"), **changes}
    return FunctionSpec(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("memory_mb", "vcpus"), [(1769, 1.0), (3538, 2.0), (128, 128 / 1769)])
def test_memory_buys_cpu(memory_mb: int, vcpus: float) -> None:
    assert make(memory_mb=memory_mb).vcpus == pytest.approx(vcpus)


@pytest.mark.parametrize("field", ["memory_mb", "concurrency", "timeout_s", "init_timeout_s"])
def test_nothing_may_be_zero(field: str) -> None:
    with pytest.raises(InvalidValue, match="function fn"):
        make(**{field: 0})


def test_the_environment_is_lambdas_and_no_more() -> None:
    spec = make(memory_mb=512, python_path=("/a", "/b"), env={"MINE": "1", "_HANDLER": "not yours"})
    environ = environ_of(spec, "127.0.0.1:9", "stream")
    assert environ["AWS_LAMBDA_RUNTIME_API"] == "127.0.0.1:9"
    assert environ["_HANDLER"] == "m.h"
    assert environ["MINE"] == "1"
    assert environ["PYTHONPATH"] == "/a:/b"
    assert environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    assert environ["OMP_NUM_THREADS"] == "1"
    # It would make the runtime client poll through a thread pool.
    assert "AWS_EXECUTION_ENV" not in environ


def test_a_snapshot_says_so() -> None:
    environ = environ_of(make(start_mode=StartMode.SNAPSTART, memory_mb=3538), "x", "s")
    assert environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"
    assert environ["OMP_NUM_THREADS"] == "2"


def test_import_roots_are_where_packages_come_from_each_once() -> None:
    import numpy

    import gateway

    roots = import_roots("gateway", "registry", "numpy")
    assert gateway.__file__ is not None
    assert roots[0] == str(Path(gateway.__file__).parent.parent)
    assert str(Path(numpy.__file__).parent.parent) in roots
    assert len(roots) == len(set(roots))


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidValue, match="no_such_package"):
        import_roots("no_such_package")
