"""The hardware as a policy has it: a baseline begins with its copies up, and they obey it; it decides nothing."""

from __future__ import annotations

from dataclasses import replace

from simulator.hardware import Hardware
from simulator.policies.copies import Obedient
from simulator.policies.tracking import Baseline
from simulator.policy import Policy


def platform(policy: Policy, hardware: Hardware) -> Hardware:
    """What to simulate a policy on. The platform's own is simulated on the hardware as it is."""
    if not isinstance(policy, Baseline):
        return hardware
    copies = policy.initial()
    return replace(
        hardware,
        provisioned={**hardware.provisioned, **copies},
        deciders={**hardware.deciders, **dict.fromkeys(copies, Obedient)},
    )
