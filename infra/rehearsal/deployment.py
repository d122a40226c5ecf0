"""The template deployed to an emulator that runs functions itself, each from its artefact; it changes no template."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.deployed import deployed

CODE = "artefacts"
"""The bucket that artefacts are uploaded to."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A stack that is there."""

    name: str
    outputs: Mapping[str, str]
    ids: Mapping[str, str]
    """Logical id to physical id."""


def deploy(template: Path, artefacts: Path, name: str, clients: Mapping[str, Any], **parameters: str) -> Deployment:
    """The template as a new stack, each function with its artefact: a folder of `artefacts` by its handler's room.

    `clients` are boto3's, by service, of somebody who may do all of it. Raises botocore's WaiterError where it cannot
    be made, and FileNotFoundError for an artefact that is not there.
    """
    what = deployed(template, **parameters)
    clients["s3"].create_bucket(Bucket=CODE)
    uploaded: set[str] = set()
    for resource in what["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            room = resource["Properties"]["Handler"].split(".")[1]
            if room not in uploaded:
                clients["s3"].put_object(Bucket=CODE, Key=room, Body=packed(artefacts / room))
                uploaded.add(room)
            resource["Properties"]["Code"] = {"S3Bucket": CODE, "S3Key": room}
    cloudformation = clients["cloudformation"]
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(what), Capabilities=["CAPABILITY_IAM"])
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    return Deployment(
        name,
        {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]},
        {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources},
    )


def packed(folder: Path) -> bytes:
    """A folder's files as a zip, uncompressed: it is unpacked on the same machine, often."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such artefact; `make iam-test` makes them")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as files:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                files.write(path, path.relative_to(folder))
    return archive.getvalue()
