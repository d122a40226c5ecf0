"""A version's bytes to a session that can run: opened, tried out, and held against what is promised of it."""

from __future__ import annotations

import time

from runtime.container.loaded import Loaded
from runtime.container.model import Model, Served
from runtime.container.probe import try_out
from runtime.container.repository import MAX_BATCH, Version
from runtime.container.signature import Port, Signature
from runtime.errors import ExecutionFailed, NoRoom, Unloadable, Unreadable
from runtime.heap import give_back
from runtime.memory import private_mb
from runtime.ort import OrtSession


def open_version(model: Model, served: Served, threads: int) -> Loaded:
    """A session on so many threads, tried out the first time; on a loading thread."""
    try:
        return _opened(model, served, threads)
    except MemoryError as fault:
        # The budget is not what the machine has left: nothing else may end for it.
        raise NoRoom(f"{model.name} version {served.version.name} takes more memory to load than there is") from fault


def _opened(model: Model, served: Served, threads: int) -> Loaded:
    version = served.version
    before, began = private_mb(), time.perf_counter()
    try:
        session = version.open(threads)
    except Unreadable:
        raise
    except ExecutionFailed as fault:
        raise Unloadable(f"{version.model} version {version.name} cannot be loaded: {fault}") from fault
    load_s = time.perf_counter() - began
    signature = version.signature or signature_of(session)
    _check_session(session, signature, version)
    _check_alike(model, signature, version)
    loaded = Loaded(session, signature, private_mb=0.0)
    traits = served.traits.get(threads)
    if traits is None:
        batch = version.max_batch
        # What the repository has measured on so many threads need not be measured again, and runs on several cannot be
        # while others want the cores: the first ones that are asked for tell what those take.
        timed = threads == 1 and not version.service.get(threads)
        traits = try_out(loaded, max_batch=batch or MAX_BATCH, declared=batch is not None, timed=timed)
    loaded.adopt(traits)
    give_back()
    loaded.private_mb = max(0.0, private_mb() - before)
    served.signature, served.load_s = signature, load_s
    served.traits[threads] = traits
    return loaded


def signature_of(session: OrtSession) -> Signature:
    """What a graph says of itself."""
    return Signature(
        [Port(name, datatype, shape) for name, (datatype, shape) in session.inputs.items()],
        [Port(name, datatype, shape) for name, (datatype, shape) in session.describe_outputs().items()],
    )


def _check_session(session: OrtSession, signature: Signature, version: Version) -> None:
    takes = {name: datatype for name, (datatype, _) in session.inputs.items()}
    gives = {name: datatype for name, (datatype, _) in session.describe_outputs().items()}
    if (
        takes != {port.name: port.datatype for port in signature.inputs}
        or not {port.name: port.datatype for port in signature.outputs}.items() <= gives.items()
    ):
        raise Unloadable(f"{version.model} version {version.name}: its graph is not what its signature says")


def _check_alike(model: Model, signature: Signature, version: Version) -> None:
    """Versions that the scheduler chooses among answer the same requests."""
    for other in model.versions.values() if model.switching else ():
        if other.signature is not None and (other.signature.inputs, _names(other.signature)) != (
            signature.inputs,
            _names(signature),
        ):
            raise Unloadable(
                f"{model.name} version {version.name} takes or gives other tensors than version {other.version.name}; "
                "give an accuracy only to versions that can stand in for one another"
            )


def _names(signature: Signature) -> list[tuple[str, str]]:
    return [(port.name, port.datatype) for port in signature.outputs]
