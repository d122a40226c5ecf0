"""Traces are replayed whole or by function, whatever their format."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.replay import FORMATS, recording

TEXTS = {
    "azure_2019": "HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,queue,5,0,2\no,a,g,timer,0,0,1\n",
    "azure_2021": "app,func,end_timestamp,duration\na,f,2.5,0.5\na,g,1.75,0.75\na,f,9.0,1.0\n",
    "azure_llm": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:05,1,1\n2023-11-16 18:17:03.5,1,1\n",
    "per_second": "2 0 1\n0 3\n",
    "stamps": "17.5 16\n\n18.25\n",
}


def written(folder: Path, form: str) -> Path:
    path = folder / form
    path.write_text(TEXTS[form])
    return path


def test_every_format_has_an_example() -> None:
    assert set(TEXTS) == set(FORMATS)


@pytest.mark.parametrize(
    ("form", "names", "count"),
    [
        ("azure_2019", ("f", "g"), 8),
        ("azure_2021", ("f", "g"), 3),
        ("azure_llm", (), 2),
        ("per_second", (), 6),
        ("stamps", (), 3),
    ],
)
def test_a_whole_trace(form: str, names: tuple[str, ...], count: int, tmp_path: Path) -> None:
    found = recording(form, written(tmp_path, form))
    times = found.times(seed=1)
    assert (found.names, len(times)) == (names, count)
    assert times.tolist() == sorted(times.tolist())


def test_functions_of_counts_keep_their_minutes(tmp_path: Path) -> None:
    found = recording("azure_2019", written(tmp_path, "azure_2019"))
    assert [int(time // 60) for time in found.times([1])] == [2]
    assert [int(time // 60) for time in found.times([0, 1])] == [0] * 5 + [2] * 3
    assert found.times([0], seed=1).tolist() != found.times([0], seed=2).tolist()
    assert [int(time // 60) for time in found.times([0], until_s=60.0)] == [0] * 5


def test_functions_of_stamps_keep_the_traces_own_start(tmp_path: Path) -> None:
    found = recording("azure_2021", written(tmp_path, "azure_2021"))
    assert found.times().tolist() == [0.0, 1.0, 7.0]
    assert found.times([0]).tolist() == [1.0, 7.0]  # g came first


def test_stamps_are_seconds_of_any_origin(tmp_path: Path) -> None:
    assert recording("stamps", written(tmp_path, "stamps")).times().tolist() == [0.0, 1.5, 2.25]


def test_a_wrong_stamp_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "stamps"
    path.write_text("1\n2 soon\n")
    with pytest.raises(ValueError, match="stamps, line 2: 'soon' is no number"):
        recording("stamps", path)
