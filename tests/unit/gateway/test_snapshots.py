"""The pair of catalogue and fleet moves together."""

from __future__ import annotations

from gateway.snapshots import Snapshots
from scheduler.events import EnvironmentBusy, EnvironmentReady, EnvironmentStarting, Queued


def test_events_move_the_fleet_and_impossible_ones_are_dropped(make_catalogue, caplog):
    caplog.set_level("INFO")
    snapshots = Snapshots(make_catalogue({("small", "a"): 1.0}))
    before = snapshots.view()
    snapshots.emit(EnvironmentStarting("a", "e", 0.0))
    assert snapshots.view()[1] is not before[1]
    moved = snapshots.view()
    snapshots.emit(Queued("sum/gone@a:1", "r", 1.0, 0.0))
    snapshots.emit(EnvironmentBusy("nowhere", "e", 0.0))
    assert snapshots.view() == moved
    assert caplog.text.count("dropped") == 2


def test_a_newer_catalogue_keeps_the_fleets_state(make_catalogue):
    catalogue = make_catalogue({("small", "a"): 1.0})
    snapshots = Snapshots(catalogue)
    snapshots.emit(EnvironmentReady("a", "e", ("sum/small",), 0.0))
    newer = make_catalogue({("small", "a"): 1.0, ("large", "a"): 2.0}).at(2)
    snapshots.replace(newer)
    assert snapshots.view()[0] is newer
    snapshots.emit(EnvironmentBusy("a", "e", 1.0))  # impossible, had the environment been forgotten
    assert snapshots.view()[1] is not None
