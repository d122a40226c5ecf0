"""The container's image, as its Dockerfile says: what it copies is there, and what it runs is a command that is one."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import requires
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from runtime.container.health import healthy
from runtime.container.settings import PREFIX, SAGEMAKER_MODEL, SAGEMAKER_MODELS, Settings
from runtime.server import settings_of

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE = REPOSITORY / "infra" / "container"
SAGEMAKER = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BIND_TO_PORT": "9000"}


class Instruction(NamedTuple):
    """One line of a Dockerfile, continuations included."""

    name: str
    rest: str


def instructions() -> Iterator[Instruction]:
    text = (IMAGE / "Dockerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in re.sub(r"\\\n", " ", lines).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield Instruction(name.upper(), rest.strip())


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, from its FROM on."""
    found: list[list[Instruction]] = []
    for instruction in instructions():
        if instruction.name == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def all_of(name: str, stage: Sequence[Instruction]) -> list[str]:
    return [instruction.rest for instruction in stage if instruction.name == name]


def one_of(name: str, stage: Sequence[Instruction]) -> str:
    (found,) = all_of(name, stage)
    return found


def environment(stage: Sequence[Instruction]) -> dict[str, str]:
    pairs = (word.partition("=") for rest in all_of("ENV", stage) for word in shlex.split(rest))
    return {name: value for name, _, value in pairs}


@pytest.fixture
def build() -> list[Instruction]:
    return stages()[0]


@pytest.fixture
def final() -> list[Instruction]:
    return stages()[-1]


def command(stage: Sequence[Instruction]) -> list[str]:
    """What a container runs without arguments: CMD is what SageMaker's argument takes the place of."""
    return [*json.loads(one_of("ENTRYPOINT", stage)), *json.loads(one_of("CMD", stage))]


def sent(path: str) -> bool:
    """Whether the builder gets a path, by the rules of Dockerfile.dockerignore: the last that matches counts."""
    kept = True
    for line in (IMAGE / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        allows, pattern = rule.startswith("!"), rule.removeprefix("!").removeprefix("**/")
        parents = [path, *map(str, Path(path).parents)]
        if any(fnmatch.fnmatch(part, pattern) or fnmatch.fnmatch(Path(part).name, pattern) for part in parents):
            kept = allows
    return kept


def test_everything_that_is_copied_is_there_and_sent_to_the_builder(build: list[Instruction]) -> None:
    sources = [source for rest in all_of("COPY", build) for source in shlex.split(rest)[:-1]]
    assert sources
    for source in sources:
        assert (REPOSITORY / source).exists(), source
        assert sent(source), source
    assert not sent(".git")
    assert not sent("tests")
    assert not sent("runtime/__pycache__")


def test_every_package_of_the_wheel_is_copied(build: list[Instruction]) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    copied = {source for rest in all_of("COPY", build) for source in shlex.split(rest)[:-1]}
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= copied
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= copied


def test_only_the_built_environment_gets_into_the_image(final: list[Instruction]) -> None:
    assert one_of("COPY", final) == "--from=build /opt/modelless /opt/modelless"


def test_every_setting_is_one_and_sagemaker_s_still_count(final: list[Instruction]) -> None:
    variables = environment(final)
    settings = settings_of(command(final)[3:], variables)
    assert (settings.host, settings.port, settings.models, settings.home) == ("0.0.0.0", 8080, None, None)
    assert settings_of(["serve"], variables | SAGEMAKER).port == 9000
    assert settings_of(["serve"], variables | SAGEMAKER).multi_model
    assert all(name.removeprefix(PREFIX).lower() in Settings.__slots__ for name in variables if name.startswith(PREFIX))


@pytest.mark.parametrize("arguments", [["serve"], [], ["--models", "/models", "--providers", "CUDA,CPU"]])
def test_what_is_run_is_the_container_whatever_its_arguments(final: list[Instruction], arguments: list[str]) -> None:
    entry = json.loads(one_of("ENTRYPOINT", final))
    assert entry == ["python", "-m", "runtime.server"]
    assert settings_of(arguments, environment(final)).host == "0.0.0.0"


def test_nvidias_runtime_is_told_to_bring_the_driver(final: list[Instruction]) -> None:
    variables = environment(final)
    assert variables["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert set(variables["NVIDIA_DRIVER_CAPABILITIES"].split(",")) == {"compute", "utility"}


def test_it_runs_as_nobody_in_particular_and_keeps_sagemaker_s_folders(final: list[Instruction]) -> None:
    user = one_of("USER", final)
    assert user.isdecimal()
    assert int(user) >= 10_000
    made = " ".join(all_of("RUN", final))
    assert f"mkdir -p {SAGEMAKER_MODEL} {SAGEMAKER_MODELS}" in made
    assert final.index(Instruction("USER", user)) > max(i for i, each in enumerate(final) if each.name == "RUN")


def test_nothing_is_written_while_it_runs(final: list[Instruction]) -> None:
    variables = environment(final)
    assert variables["PYTHONDONTWRITEBYTECODE"] == variables["ORT_DISABLE_TELEMETRY"] == "1"
    assert all_of("VOLUME", final) == []


def test_it_tells_sagemaker_what_it_can(final: list[Instruction]) -> None:
    labels = dict(word.split("=") for word in shlex.split(one_of("LABEL", final)))
    prefix = "com.amazonaws.sagemaker.capabilities"
    assert labels == {f"{prefix}.multi-models": "true", f"{prefix}.accept-bind-to-port": "true"}
    assert one_of("EXPOSE", final) == str(Settings().port)


def test_its_health_is_asked_of_a_module_that_is_there(final: list[Instruction]) -> None:
    check = json.loads(one_of("HEALTHCHECK", final).partition("CMD ")[2])
    assert check == ["python", "-m", healthy.__module__]


def test_every_requirement_is_pinned_to_a_version_that_is_allowed() -> None:
    lines = (IMAGE / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pinned: Mapping[str, str] = {canonicalize_name(name): version for name, version in pins.items()}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    shared, *own = extras["container"]
    assert shared == "modelless[grpc,otel]"
    todo = [*project["dependencies"], *extras["grpc"], *extras["otel"], *own]
    seen: set[str] = set()
    while todo:
        requirement = Requirement(todo.pop())
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": "", "python_version": "3.13"}):
            continue
        assert requirement.specifier.contains(pinned[name]), requirement
        if name not in seen:
            seen.add(name)
            todo += requires(name) or []
    unseen = set(pinned) - seen
    assert {name for name in unseen if not name.startswith("nvidia-")} <= {"onnxruntime-gpu"}


def test_both_devices_are_built_and_no_other_is_known(build: list[Instruction]) -> None:
    assert "DEVICE=cpu" in all_of("ARG", build)
    exchange = next(rest for rest in all_of("RUN", build) if "$DEVICE" in rest)
    assert '[ "$DEVICE" = cuda ]' in exchange
    assert exchange.index("uninstall --yes onnxruntime ") < exchange.index('"onnxruntime-gpu[cuda,cudnn]"')
