"""Units that people read."""

from __future__ import annotations

import pytest

from cli.output import dollars, ms, progress, say, screen, several, size


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (0.1234, "0.12"), (12.34, "12.3"), (123.4, "123")])
def test_milliseconds(value: float | None, shown: str) -> None:
    assert ms(value) == shown


def test_dollars_are_per_million() -> None:
    assert dollars(2.5e-6) == "2.5"
    assert dollars(4.74e-10) == "0.000474"


@pytest.mark.parametrize(("value", "shown"), [(12, "12 B"), (1500, "1.5 KB"), (2.5e6, "2.5 MB"), (3e9, "3.0 GB")])
def test_sizes(value: float, shown: str) -> None:
    assert size(value) == shown


def test_json_is_all_there_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    say({"a": [1, None]}, as_json=True, render=lambda console: console.print("never"))

    assert capsys.readouterr().out == '{\n  "a": [\n    1,\n    null\n  ]\n}\n'


def test_people_get_the_drawing(capsys: pytest.CaptureFixture[str]) -> None:
    say({"a": 1}, as_json=False, render=lambda console: console.print("drawn"))

    assert capsys.readouterr().out == "drawn\n"


def test_progress_stays_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("work") as step:
        step("half", 1, 2)
        step("whole", 2, 2)

    assert capsys.readouterr().out == ""
    assert not screen().is_terminal


def test_one_of_a_thing_is_no_plural() -> None:
    assert [several(count, "variant") for count in (0, 1, 2)] == ["0 variants", "1 variant", "2 variants"]
