from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator import traces

REAL = Path(__file__).resolve().parents[4] / "shared" / "traces"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the real traces are not here")

FUNCTIONS = "HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,queue,5,0,2\no,a,g,timer,0,0,1"
APPS = "HashApp,NumInvocations,AverageMemUsageMB,MaxContainerMinute,1,2\na,3,141,1,0,1\n"
CALLS = "app,func,end_timestamp,duration\na,f,0.5,0.25\na,g,2.0,1.0\n"
PROMPTS = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 18:17:04.9799600,4808,10\r\n"
    "2023-11-16 18:17:03.9799600,3180,8"
)


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "trace"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def archive(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:bz2") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    return packed.getvalue()


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose own zone is not UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC-9")
        time.tzset()
        yield
    time.tzset()


def test_counts_per_minute_of_functions(tmp_path: Path) -> None:
    found = traces.azure_2019(written(tmp_path, FUNCTIONS))
    assert found.names == ("f", "g")
    assert found.counts.tolist() == [[5, 0, 2], [0, 0, 1]]


def test_counts_per_minute_of_applications(tmp_path: Path) -> None:
    found = traces.azure_2019(written(tmp_path, APPS))
    assert found.names == ("a",)
    assert found.counts.tolist() == [[0, 1]]


def test_memory_of_applications_is_beside_their_counts(tmp_path: Path) -> None:
    assert traces.application_mb(written(tmp_path, APPS)).tolist() == [141.0]
    with pytest.raises(ValueError, match="no column 'AverageMemUsageMB'"):
        traces.application_mb(written(tmp_path, FUNCTIONS))


def test_counts_without_rows_keep_their_minutes(tmp_path: Path) -> None:
    found = traces.azure_2019(written(tmp_path, APPS.splitlines()[0]))
    assert found.names == ()
    assert found.counts.shape == (0, 2)


def test_invocations_start_before_they_end(tmp_path: Path) -> None:
    found = traces.azure_2021(written(tmp_path, CALLS))
    assert found.functions == ("f", "g")
    assert found.starts_s.tolist() == [0.25, 1.0]
    assert found.durations_s.tolist() == [0.25, 1.0]


def test_prompts_count_from_the_earliest(tmp_path: Path) -> None:
    found = traces.azure_llm(written(tmp_path, PROMPTS))
    assert found.stamps_s.tolist() == [1.0, 0.0]
    assert found.context.tolist() == [4808, 3180]
    assert found.generated.tolist() == [10, 8]


def test_prompts_are_in_utc_unless_they_name_their_zone(tmp_path: Path, far_east: None) -> None:
    header, *_ = PROMPTS.splitlines()
    rows = "2024-05-10 00:00:00.5,1,2\n2024-05-10 02:00:00.75+02:00,3,4\n"
    assert traces.azure_llm(written(tmp_path, f"{header}\n{rows}")).stamps_s.tolist() == [0.0, 0.25]


def test_no_prompts_are_no_fault(tmp_path: Path) -> None:
    assert traces.azure_llm(written(tmp_path, PROMPTS.splitlines()[0])).stamps_s.tolist() == []


@pytest.mark.parametrize(
    "text",
    [b"1 0 12\n 3\t0 ", archive(workload=b"1 0 12 3 0"), gzip.compress(b"1 0 12 3 0")],
    ids=["text", "tar", "gzip"],
)
def test_counts_per_second(tmp_path: Path, text: bytes) -> None:
    found = traces.per_second(written(tmp_path, text))
    assert found.dtype == np.int64
    assert found.tolist() == [1, 0, 12, 3, 0]


def test_durations_are_found_by_their_columns(tmp_path: Path) -> None:
    full = "HashOwner,HashApp,HashFunction,Average,Count,Minimum\no,a,f,100.5,57523.0,99.0\n"
    short = "HashFunction,Average,Count\nf,100.5,57523\n"
    for text in (full, short):
        found = traces.durations(written(tmp_path, text))
        assert (found.functions, found.mean_ms.tolist(), found.counts.tolist()) == (("f",), [100.5], [57523])


def test_memory_is_found_by_its_columns(tmp_path: Path) -> None:
    text = "HashOwner,HashApp,HashFunction,SampleCount,AverageAllocatedMb\no,a,f,19342.0,120.0\n"
    found = traces.memory(written(tmp_path, text))
    assert (found.functions, found.mean_mb.tolist(), found.samples.tolist()) == (("f",), [120.0], [19342])


def test_popularity(tmp_path: Path) -> None:
    found = traces.popularity(written(tmp_path, "HashApp,NumInvocations\na,6\nb,395\n"))
    assert (found.names, found.counts.tolist()) == (("a", "b"), [6, 395])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_is_read_alike(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    assert traces.azure_2021(written(tmp_path, pack(CALLS.encode()))).functions == ("f", "g")


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (traces.azure_2019, FUNCTIONS.replace("5,0,2", "5,-1,2"), "line 2: '-1' is no count"),
        (traces.azure_2019, FUNCTIONS.replace("0,0,1", "0,0"), "line 3: 6 fields, where the header has 7"),
        (traces.azure_2019, FUNCTIONS.replace("HashApp,HashFunction", "a,b"), "line 1: no column 'HashApp'"),
        (traces.azure_2019, FUNCTIONS.replace("1,2,3", "1,2,4"), "line 1: no column '3'"),
        (traces.azure_2019, FUNCTIONS.replace("1,2,3", "x,y,z"), "line 1: no column is a minute"),
        (traces.azure_2019, "", "line 1: no column is a minute"),
        (traces.azure_2021, CALLS.replace("2.0", "soon"), "line 3: 'soon' is no number"),
        (traces.azure_2021, CALLS.replace("2.0", "nan"), "line 3: 'nan' is no number"),
        (traces.azure_2021, CALLS.replace("duration", "lasted"), "line 1: no column 'duration'"),
        (traces.azure_2021, "", "line 1: no column 'func'"),
        (traces.azure_2021, CALLS.replace("0.25", "0" * 200_000), "line 2: field larger than field limit"),
        (traces.azure_llm, PROMPTS.replace("2023-11-16 18:17:04", "noon"), "line 2: 'noon.9799600' is no moment"),
        (traces.azure_llm, PROMPTS.replace("3180", "9" * 19), "line 3: '9999999999999999999' is no count"),
        (traces.per_second, "1 2\n3 x 4", "line 2, second 3: 'x' is no count"),
        (traces.durations, "HashFunction,Average,Count\nf,1.0,2.5\n", "line 2: '2.5' is no count"),
        (traces.memory, "HashFunction,AverageAllocatedMb,SampleCount\nf,1,-1\n", "line 2: '-1' is no count"),
        (traces.popularity, "HashApp,NumInvocations\n\nb,many\n", "line 3: 'many' is no count"),
    ],
)
def test_a_fault_names_the_file_the_line_and_what_is_wrong(
    tmp_path: Path, read: Callable[[Path], Any], text: str, said: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError) as fault:  # noqa: PT011 -- the whole message is compared
        read(path)
    assert str(fault.value).startswith(f"{path}, {said}")


@pytest.mark.parametrize(
    "text",
    [
        gzip.compress(CALLS.encode())[:-6],
        gzip.compress(CALLS.encode())[:-8] + b"12345678",
        bz2.compress(CALLS.encode())[:-20],
        b"BZh9" + b"x" * 100,
        lzma.compress(CALLS.encode())[:40] + b"x" * 40,
        CALLS.encode() + b"\xff\xfe",
        archive(),
        archive(one=b"1", two=b"2"),
    ],
    ids=["short gzip", "wrong gzip", "short bzip2", "no bzip2", "wrong xz", "no text", "empty tar", "two in a tar"],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: bytes) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match="cannot be read") as fault:
        traces.azure_2021(path)
    assert str(fault.value).startswith(f"{path}: ")


def test_a_missing_file_is_no_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        traces.azure_2021(tmp_path / "none")


@real
def test_the_real_counts_per_minute() -> None:
    containers = traces.azure_2019(REAL / "azure2019_femux" / "containers_per_min_100apps.csv.gz")
    assert containers.counts.shape == (100, 1440)
    assert np.quantile((containers.counts > 0).sum(axis=1), 0.5) == pytest.approx(96, abs=2)
    sample = traces.azure_2019(REAL / "azure_invitro_samples" / "azure2019_invocations.csv")
    assert sample.counts.shape == (4, 1440)


@real
def test_the_real_samples_of_functions() -> None:
    folder = REAL / "azure_invitro_samples"
    calls = traces.azure_2021(folder / "Azure2021_200.csv")
    assert len(calls.functions) == 199
    assert (calls.durations_s >= 0).all()
    assert traces.durations(folder / "azure2019_durations.csv").mean_ms.tolist() == [100.0, 500.0, 250.0, 125.0]
    assert traces.memory(folder / "azure2019_memory.csv").mean_mb.tolist() == [120.0, 176.0, 170.0, 112.0]


@real
@pytest.mark.parametrize(
    ("name", "requests", "rate", "variation"), [("code", 8819, 2.6, 13.2), ("conv", 19366, 5.5, 1.09)]
)
def test_the_real_prompts(name: str, requests: int, rate: float, variation: float) -> None:
    found = traces.azure_llm(REAL / "azure_llm_2023" / f"AzureLLMInferenceTrace_{name}.csv")
    gaps = np.diff(np.sort(found.stamps_s))
    assert len(found.stamps_s) == requests
    assert requests / found.stamps_s.max() == pytest.approx(rate, abs=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(variation, abs=0.05)


@real
def test_the_real_counts_per_second() -> None:
    counts = traces.per_second(REAL / "nasa_http_1995" / "workload.tbz2")
    assert (len(counts), counts.max()) == (5_059_950, 20)
    assert counts.mean() == pytest.approx(0.68, abs=0.005)


@real
def test_the_real_durations_and_popularity() -> None:
    assert len(traces.durations(REAL / "azure2019_pagurus" / "functions.csv.gz").functions) == 20_284
    called = traces.popularity(REAL / "azure2019_femux" / "invocations_per_app_17577.csv.gz").counts
    assert np.quantile(called, [0.5, 0.99]) == pytest.approx([288, 494_000], rel=0.01)
