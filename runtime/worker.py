"""One execution environment's work: load variants, run them, say what is resident; never decides what to run.

It needs neither numpy nor the Python package onnxruntime: a cold start imports what it uses and no more.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

from registry.artifacts import read_manifest
from registry.blobs import Blobs
from registry.typed import Any, NamedTuple
from runtime.codecs import wire
from runtime.errors import ExecutionFailed, InvalidBody, ReplyTooLarge, RuntimeFault
from runtime.memory import private_mb
from runtime.residency import Residency
from runtime.session import Session, reading
from runtime.tensor import Tensor

MAX_REPLY_BYTES = 6_291_556
"""A synchronous invocation's largest reply (Lambda quota: 6 MB)."""

MAX_HOLD_MS = 1000
"""Longest that an event may keep an environment busy for nothing: it is billed."""

RESERVE_MB = 192
"""Kept from variants: the interpreter and ONNX Runtime (about 25 MB), a 6 MB body in its several forms, activations."""


class Key(NamedTuple):
    """What makes two loads the same: a variant's bytes under the same settings."""

    variant: str
    artifact: str
    threads: int
    prepack: bool


def parse_preload(text: str) -> list[Key]:
    """The keys of `artifact=variant=threads=prepack,...`, as the environment variable MODELLESS_PRELOAD gives them.

    Threads is an integer and prepack 0 or 1. Raises InvalidBody naming the entry that is none.
    """
    keys = []
    for entry in filter(None, map(str.strip, text.split(","))):
        parts = entry.split("=")
        if len(parts) != 4 or not parts[2].isdecimal() or parts[3] not in ("0", "1"):
            raise InvalidBody(f"MODELLESS_PRELOAD: {entry!r:.200} is not artifact=variant=threads=prepack")
        keys.append(Key(parts[1], parts[0], max(1, int(parts[2])), parts[3] == "1"))
    return keys


class Worker:
    """The resident variants of one environment, and the four things it can be asked."""

    def __init__(
        self,
        blobs: Blobs,
        *,
        memory_mb: int,
        threads: int,
        max_reply_bytes: int = MAX_REPLY_BYTES,
        verify: Callable[[str, str], None] | None = None,
    ) -> None:
        """`verify` is given an artifact's digest and signature before anything of it is read, and raises what
        `KmsSigner.verify` does; without it nothing needs to be signed.
        """
        self._verify = verify
        self._vouched: set[str] = set()
        """Artifacts whose signature and binding need no second look."""
        self.threads = threads
        self.environment = _new_environment()
        self._blobs = blobs
        self._reopen: list[Key] = []
        self._max_reply_bytes = max_reply_bytes
        self._residency: Residency[Key, Session] = Residency(
            max(memory_mb / 2, memory_mb - RESERVE_MB), size_of=lambda session: session.private_mb
        )
        self._kinds: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "infer": self._infer,
            "warm": partial(self._held, self._warm),
            "unload": partial(self._held, self._unload),
            "status": lambda event: self._reply(),
        }

    def handle(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to one event, JSON-able.

        Raises InvalidBody or InvalidTensor for an event that cannot be read, CorruptArtifact, Unreadable,
        ExecutionFailed, NoRoom or ReplyTooLarge.
        """
        kind = event.get("kind") if isinstance(event, Mapping) else None
        act = self._kinds.get(kind) if isinstance(kind, str) else None
        if act is None:
            raise InvalidBody(f"event.kind {kind!r:.40} is unknown; use one of {sorted(self._kinds)}")
        return act(event)

    def preload(self, keys: Iterable[Key]) -> None:
        """Load variants and keep them for the life of the environment.

        One that fails is reported on stderr and left out: the environment still serves the others, and whoever asks
        for that one meets the error itself.
        """
        for key in keys:
            try:
                self._vouch(key.artifact, "", "")
                self._load(key, pin=True)
            except RuntimeFault as fault:
                print(f"preload of {key.variant} failed: {type(fault).__name__}: {fault}", file=sys.stderr)

    def before_snapshot(self) -> None:
        """Rehearse what is resident and what a read of blobs takes, then close what a snapshot or fork cannot carry.

        Threads do not survive a fork, and nothing promises that they survive a restore: a session of several threads
        is closed here and opened again by `after_restore`.
        """
        for key in self._residency.residents():
            with self._residency.lease(key, partial(self._open, key)) as lease, suppress(ExecutionFailed):
                # Zeros may be no legal input; then the first caller pays for the first touch.
                lease.item.rehearse()
        self._blobs.rehearse()
        self._reopen = [key for key in self._residency.residents() if key.threads > 1]
        for key in self._reopen:
            self._residency.unload(key)

    def after_restore(self) -> None:
        """Become an environment of its own: new id, random state, connections and credentials.

        Sessions of several threads are open again after it.
        """
        self.environment = _new_environment()
        self._blobs.renew()
        for generator in ("random", "numpy.random"):
            # Not imported only to be seeded: that would cost a restore more than all the rest.
            if generator in sys.modules:
                sys.modules[generator].seed(int.from_bytes(os.urandom(4)))
        if "ssl" in sys.modules:
            # OpenSSL's generator is its own, and knows of forks, not of snapshots.
            sys.modules["ssl"].RAND_add(os.urandom(32), 32.0)
        self.preload(self._reopen)
        self._reopen = []

    def _infer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        key = self._key(event)
        inputs = wire.unpack(event.get("inputs", ()))
        with self._residency.lease(key, partial(self._open, key), floor_mb=self._floor_mb(key)) as lease:
            started = time.perf_counter()
            outputs = lease.item.run_tensors(inputs)
            run_ms = (time.perf_counter() - started) * 1e3
        self._check_size(outputs)
        return self._reply(wire.pack(outputs), loaded=lease.loaded, load_ms=lease.load_ms, run_ms=run_ms)

    def _warm(self, event: Mapping[str, Any]) -> dict[str, Any]:
        loaded, load_ms = self._load(self._key(event))
        return self._reply(loaded=loaded, load_ms=load_ms)

    def _held(self, act: Callable[[Mapping[str, Any]], dict[str, Any]], event: Mapping[str, Any]) -> dict[str, Any]:
        """Do what is asked, and stay busy for as long as it says: events that overlap reach different environments."""
        hold_ms, began = event.get("hold_ms", 0), time.perf_counter()
        if type(hold_ms) is not int or not 0 <= hold_ms <= MAX_HOLD_MS:
            raise InvalidBody(f"event.hold_ms must be an integer from 0 to {MAX_HOLD_MS}")
        reply = act(event)
        time.sleep(max(0.0, hold_ms / 1e3 - (time.perf_counter() - began)))
        return reply

    def _unload(self, event: Mapping[str, Any]) -> dict[str, Any]:
        variant = _field(event, "variant", str)
        for key in self._residency.residents():
            if key.variant == variant:
                self._residency.unload(key)
        return self._reply()

    def _load(self, key: Key, *, pin: bool = False) -> tuple[bool, float]:
        with self._residency.lease(key, partial(self._open, key), floor_mb=self._floor_mb(key), pin=pin) as lease:
            return lease.loaded, lease.load_ms

    def _open(self, key: Key) -> Session:
        return Session.open(self._blobs, key.artifact, threads=key.threads, prepack=key.prepack)

    def _floor_mb(self, key: Key) -> float:
        """What a pre-packed variant is sure to occupy; unpacked weights stay in the page cache."""
        if not key.prepack or key in self._residency.residents():
            return 0.0
        with reading(key.artifact):
            manifest = read_manifest(self._blobs, key.artifact)
        return sum(tensor.nbytes for tensor in manifest.tensors) / 2**20

    def _key(self, event: Mapping[str, Any]) -> Key:
        threads = event.get("threads", self.threads)
        prepack = event.get("prepack", False)
        if type(threads) is not int or not 1 <= threads <= 64 or type(prepack) is not bool:
            raise InvalidBody("event.threads must be an integer from 1 to 64 and event.prepack a boolean")
        key = Key(_field(event, "variant", str), _field(event, "artifact", str), threads, prepack)
        self._vouch(key.artifact, event.get("signature", ""), event.get("binding", ""))
        return key

    def _vouch(self, artifact: str, signature: Any, binding: Any) -> None:
        """Hold the artifact to its signature, and read it from the versions that its binding names."""
        if artifact in self._vouched or not (self._verify or binding):
            return
        if not isinstance(signature, str) or not isinstance(binding, str):
            raise InvalidBody("event.signature and event.binding must be text")
        with reading(artifact):
            if self._verify:
                self._verify(artifact, signature)
            if binding:
                from registry.provenance import follow  # noqa: PLC0415 - a cold start may do without

                follow(self._blobs, binding, artifact)
        self._vouched.add(artifact)

    def _check_size(self, outputs: Mapping[str, Tensor]) -> None:
        size = sum(len(tensor.data) for tensor in outputs.values())
        if size * 4 // 3 > self._max_reply_bytes:
            raise ReplyTooLarge(f"the outputs are {size} bytes, and a reply holds {self._max_reply_bytes * 3 // 4}")

    def _reply(
        self,
        outputs: list[dict[str, Any]] | None = None,
        *,
        loaded: bool = False,
        load_ms: float = 0.0,
        run_ms: float = 0.0,
    ) -> dict[str, Any]:
        return {
            "outputs": outputs or [],
            "loaded": loaded,
            "load_ms": load_ms,
            "run_ms": run_ms,
            "resident": sorted({key.variant for key in self._residency.residents()}),
            "memory_mb": private_mb(),
            "environment": self.environment,
        }


def _new_environment() -> str:
    return os.urandom(8).hex()


def _field(event: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    value = event.get(name)
    if not isinstance(value, kind):
        raise InvalidBody(f"event.{name} must be a {kind.__name__}")
    return value
