from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import pytest

from scheduler.recurrence import OWN_SIZES, Recurrence


def lived(minutes: int, active: Callable[[int], Collection[str]]) -> Recurrence:
    recurrence = Recurrence()
    for minute in range(minutes):
        recurrence.close(minute, active(minute))
    return recurrence


def test_nothing_is_expected_of_what_was_never_asked_for() -> None:
    assert Recurrence().ahead("a") == 0.0
    assert lived(10, lambda _: ["a"]).ahead("b") == 0.0


def test_a_timer_is_expected_at_its_minutes_and_not_between() -> None:
    """Every 15 minutes, from minute 7 on; the next minutes to come are 600 to 614."""
    recurrence = lived(600, lambda minute: ["timer"] if minute % 15 == 7 else [])
    expected = []
    for minute in range(600, 615):
        expected.append(recurrence.ahead("timer"))
        recurrence.close(minute, ["timer"] if minute % 15 == 7 else [])
    assert int(np.argmax(expected)) == 7
    assert expected[7] > 0.9
    assert max(expected[:7] + expected[8:]) < 0.02


def test_what_is_asked_for_all_the_time_is_expected_all_the_time() -> None:
    assert lived(120, lambda _: ["busy"]).ahead("busy") > 0.97


def test_the_longer_it_is_not_asked_for_the_less_it_is_expected() -> None:
    random = np.random.default_rng(1)
    recurrence = lived(400, lambda _: ["often"] if random.random() < 0.3 else [])
    expected = []
    for minute in (410, 420, 440, 500):
        recurrence.close(minute, [])
        expected.append(recurrence.ahead("often"))
    assert expected == sorted(expected, reverse=True)
    assert expected[-1] < 0.05 < expected[0]


def test_what_others_do_speaks_for_one_without_a_past() -> None:
    """Forty tasks come back after exactly three minutes; a new one that was asked for once is expected to do so too."""
    tasks = [f"t{i}" for i in range(40)]
    recurrence = lived(60, lambda minute: tasks if minute % 3 == 0 else [])
    recurrence.close(60, ["new"])
    alone = Recurrence()
    alone.close(60, ["new"])
    soon = []
    for minute in (61, 62):
        soon.append((recurrence.ahead("new"), alone.ahead("new")))
        for one in (recurrence, alone):
            one.close(minute, [])
    assert recurrence.ahead("new") > 2 * alone.ahead("new")
    assert soon[0][0] < recurrence.ahead("new")


def test_expectations_are_calibrated() -> None:
    """Of minutes in which a task was expected with some probability, about that share came true."""
    random = np.random.default_rng(2)
    rates = {f"t{i}": rate for i, rate in enumerate(np.geomspace(0.01, 0.9, 30))}
    recurrence, said, came = Recurrence(), [], []
    for minute in range(700):
        active = {task for task, rate in rates.items() if random.random() < rate}
        if minute > 200:
            ahead = recurrence.all_ahead()
            said += ahead.values()
            came += [task in active for task in ahead]
        recurrence.close(minute, active)
    expected, true = np.array(said), np.array(came)
    for low, high in ((0.02, 0.1), (0.1, 0.4), (0.4, 0.98)):
        chosen = (expected >= low) & (expected < high)
        assert chosen.sum() > 500
        assert true[chosen].mean() == pytest.approx(expected[chosen].mean(), rel=0.25)


def test_the_same_minutes_give_the_same_expectations() -> None:
    def some(minute: int) -> list[str]:
        return [f"t{i}" for i in range(12) if (minute * (i + 3)) % 7 == 0]

    assert lived(200, some).all_ahead() == lived(200, some).all_ahead()


def test_minutes_that_are_left_out_are_silent_ones() -> None:
    left_out, told = Recurrence(), Recurrence()
    for recurrence in (left_out, told):
        recurrence.close(0, ["a"])
    for minute in range(1, 40):
        told.close(minute, [])
    left_out.close(40, ["a"])
    told.close(40, ["a"])
    assert left_out.all_ahead() == told.all_ahead()


def test_a_long_silence_is_skipped() -> None:
    recurrence = Recurrence()
    recurrence.close(0, ["a"])
    recurrence.close(10_000_000, ["a"])
    assert 0.0 < recurrence.ahead("a") < 1.0


def test_a_minute_is_closed_once() -> None:
    recurrence = lived(3, lambda _: ["a"])
    before = recurrence.all_ahead()
    with pytest.raises(ValueError, match="minute 2 is closed already; the next is 3"):
        recurrence.close(2, ["b"])
    assert recurrence.all_ahead() == before


def test_a_day_later_the_same_time_is_remembered() -> None:
    """Asked for at minute 300 of two days: on the third, with nothing else to go by, more is expected then."""
    recurrence = lived(2 * 1440 + 200, lambda minute: ["daily"] if minute % 1440 == 300 else [])
    before = recurrence.ahead("daily")
    for minute in range(2 * 1440 + 200, 2 * 1440 + 300):
        recurrence.close(minute, [])
    assert recurrence.ahead("daily") > 5 * before


def test_a_task_takes_little_memory() -> None:
    assert sum(OWN_SIZES) * 2 * 4 < 25_000
