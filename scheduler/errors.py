"""What can be wrong with what the scheduler is told.

SchedulerError
└── FleetError      the reporter's: an event that cannot have happened; the fleet is unchanged
"""

from __future__ import annotations


class SchedulerError(Exception):
    """Root of every error that the scheduler raises."""


class FleetError(SchedulerError):
    """An event names something unknown or is no legal transition; the fleet that refused it is unchanged."""
