"""Jobs under whoever claims, dies, cancels and comes back, with clocks that differ: none is lost, none ends twice."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from registry.errors import ClaimLost, JobEnded, KeyReused
from registry.jobs import (
    ATTEMPTS,
    JobError,
    JobState,
    cancel,
    claim,
    extend,
    fail,
    give_back,
    job_id,
    submitted,
    succeed,
)
from registry.stores.job_parts import FolderParts
from registry.stores.jobs import SqliteJobs

LEASE_S = 30.0
SKEWS_S = (0.0, -4.0, 4.0)
"""How far the clocks of three machines are off."""

BACK_S = 7200.0

SOON_S = 600.0
"""All that a machine does takes less: nothing expires meanwhile."""


@dataclass(frozen=True)
class Held:
    """A claim that somebody believes to have."""

    tenant: str
    job: str
    holder: str
    machine: int


class Jobs(RuleBasedStateMachine):
    """Three machines over one database."""

    sent = Bundle("sent")
    held = Bundle("held")

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.now = 1_800_000_000.0
        self.serial = itertools.count()
        self.machines = [
            SqliteJobs(
                self.folder / "jobs.db", FolderParts(self.folder / "parts"), wall=lambda skew=skew: self.now + skew
            )
            for skew in SKEWS_S
        ]
        self.accepted: dict[tuple[str, str], bytes] = {}
        self.keys: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.holders: dict[tuple[str, str], str] = {}
        self.results: dict[tuple[str, str], bytes] = {}
        self.ends: dict[tuple[str, str], JobState] = {}

    def teardown(self) -> None:
        if hasattr(self, "machines"):
            self._drain()
            for machine in self.machines:
                machine.close()
            shutil.rmtree(self.folder)

    @rule(target=sent, tenant=st.sampled_from("ab"), key=st.sampled_from([None, "k", "l"]), body=st.sampled_from(b"xy"))
    def submit(self, tenant: str, key: str | None, body: int) -> tuple[str, str]:
        asked = bytes([body])
        job = submitted(job_id(self.now, self._number()), tenant, "digits", asked.hex(), self.now)
        known = self.keys.get((tenant, key)) if key else None
        if known is not None and known[1] != asked:
            with pytest.raises(KeyReused):
                self.machines[0].submit(job, asked, key=key)
            return tenant, known[0]
        kept = self.machines[0].submit(job, asked, key=key)
        if known is not None:
            assert kept.id == known[0]
        elif key:
            self.keys[tenant, key] = (kept.id, asked)
        self.accepted.setdefault((tenant, kept.id), asked)
        return tenant, kept.id

    @rule(target=held, job=sent, machine=st.integers(0, len(SKEWS_S) - 1))
    def deliver(self, job: tuple[str, str], machine: int) -> Held:
        """A message comes, perhaps again, perhaps out of order."""
        holder = self._number().hex()
        found = self.machines[machine].move(*job, partial(claim, holder=holder, lease_s=LEASE_S))
        if found.holder == holder and found.state is JobState.RUNNING:
            self.holders[job] = holder
            assert self.machines[machine].body(found) == self.accepted[job]
        return Held(*job, holder, machine)

    @rule(claimed=held)
    def keep(self, claimed: Held) -> None:
        self._said(claimed, extend)

    @rule(claimed=consumes(held), answer=st.binary(max_size=3))
    def end_well(self, claimed: Held, answer: bytes) -> None:
        try:
            self.machines[claimed.machine].move(
                claimed.tenant, claimed.job, partial(succeed, holder=claimed.holder), result=answer
            )
        except ClaimLost:
            return
        key = claimed.tenant, claimed.job
        assert key not in self.ends, "a job ended twice"
        assert self.holders[key] == claimed.holder, "a job was ended by who had lost it"
        self.results[key], self.ends[key] = answer, JobState.SUCCEEDED

    @rule(claimed=consumes(held))
    def end_badly(self, claimed: Held) -> None:
        if self._said(claimed, partial(fail, error=JobError("execution_failed", "NaN")), leased=False):
            assert self.ends.setdefault((claimed.tenant, claimed.job), JobState.FAILED) is JobState.FAILED

    @rule(claimed=consumes(held), counted=st.booleans())
    def come_back(self, claimed: Held, counted: bool) -> None:
        """It was throttled, say."""
        self._said(claimed, partial(give_back, error=JobError("overloaded", "429"), counted=counted), leased=False)

    @rule(claimed=consumes(held))
    def die(self, claimed: Held) -> None:
        """Nothing is heard of whoever had it."""

    @rule(job=sent)
    def cancel(self, job: tuple[str, str]) -> None:
        try:
            self.machines[0].move(*job, cancel)
        except JobEnded:
            assert self._state(job) in (JobState.SUCCEEDED, JobState.FAILED)

    @rule(seconds=st.sampled_from([1.0, 20.0, 40.0]))
    def wait(self, seconds: float) -> None:
        if self.now - 1_800_000_000.0 < SOON_S:
            self.now += seconds

    @rule()
    def set_back(self) -> None:
        """Somebody corrects the clocks of all."""
        self.now -= BACK_S

    @invariant()
    def no_accepted_job_is_lost(self) -> None:
        for job, ended in getattr(self, "ends", {}).items():
            assert self._state(job) is ended
        for job in getattr(self, "accepted", {}):
            found = self.machines[-1].job(*job)
            assert found.attempts <= ATTEMPTS
            if job in self.results:
                assert self.machines[-1].result(found) == self.results[job]

    def _drain(self) -> None:
        """Whoever is left does the rest; every job comes to an end."""
        for _ in range(ATTEMPTS + 1):
            self.now += 2 * LEASE_S
            for tenant, job in self.accepted:
                self.end_well(self.deliver((tenant, job), 0), b"late")
        assert all(not self.machines[0].job(*job).open for job in self.accepted)

    def _said(self, claimed: Held, step: object, *, leased: bool = True) -> bool:
        given = {"lease_s": LEASE_S} if leased else {}
        try:
            self.machines[claimed.machine].move(
                claimed.tenant,
                claimed.job,
                partial(step, holder=claimed.holder, **given),  # type: ignore[arg-type]
            )
        except ClaimLost:
            return False
        return True

    def _state(self, job: tuple[str, str]) -> JobState:
        return self.machines[0].job(*job).state

    def _number(self) -> bytes:
        return next(self.serial).to_bytes(10, "big")


TestJobs = Jobs.TestCase
TestJobs.settings = settings(max_examples=12, stateful_step_count=25)
