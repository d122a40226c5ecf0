"""What becomes of requests, jobs and observations while something is broken; `python -m benchmarks.faults`.

Every scenario has three phases: all is well, something is broken, all is well again. Nothing may be lost: each request
ends in exactly one answer, which is checked, or in one clear error, by its deadline and a second.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from benchmarks import fault_catalogues, fault_deliveries, fault_jobs, fault_processes, fault_requests, harness
from benchmarks.harness import Row

PHASE_S, QUICK_PHASE_S = 10.0, 2.0
"""How long (virtual) a phase of requests lasts."""

REAL_PHASE_S, QUICK_REAL_PHASE_S = 10.0, 2.0
"""The same on the real platform, in real time."""

OPERATIONS, QUICK_OPERATIONS = 12, 3
"""Of each publisher and each reader, in each phase."""

MESSAGES, QUICK_MESSAGES = 200, 40
"""Jobs, and judgements, that are delivered to the cloud's consumers."""

SEED = 1


def rows(quick: bool) -> Sequence[Row]:
    """A row for each scenario; raises AssertionError for one in which something was lost or done twice."""
    phase_s, operations = (QUICK_PHASE_S, QUICK_OPERATIONS) if quick else (PHASE_S, OPERATIONS)
    tallies = [fault_requests.run(scenario, phase_s, SEED) for scenario in fault_requests.SCENARIOS]
    tallies += [fault_catalogues.run(scenario, operations, SEED) for scenario in fault_catalogues.SCENARIOS]
    messages = QUICK_MESSAGES if quick else MESSAGES
    tallies += [fault_deliveries.run_jobs(scenario, messages, SEED) for scenario in fault_deliveries.JOBS]
    tallies += [fault_deliveries.run_judgements(scenario, messages, SEED) for scenario in fault_deliveries.JUDGEMENTS]
    with fault_processes.registered_home() as home:
        real_s = QUICK_REAL_PHASE_S if quick else REAL_PHASE_S
        tallies += [fault_processes.run(scenario, home, real_s, SEED) for scenario in fault_processes.SCENARIOS]
        tallies += [fault_jobs.run(scenario, home, real_s) for scenario in fault_jobs.SCENARIOS]
    return [tally.row() for tally in tallies]


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # what is broken on purpose is no news
    sys.exit(harness.run("faults", rows, details={"notes"}))
