from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import load
from benchmarks.load import Target, closed_loop, main, open_loop, post
from benchmarks.load_measured import Measured
from simulator.arrivals import Floats, modulated, poisson

HERE = Target("127.0.0.1", 8080)
URL = "http://127.0.0.1:8080/v2/models/m/infer?a=b"
MANY = 10**17
"""More arrivals than any memory holds."""

CALLS = "app,func,end_timestamp,duration\na,f,10,1\na,f,12,1\na,f,30,1\n"


def measured(*statuses: int) -> Measured:
    """A run in which request i was due at i s, sent 1 ms late and done 10 ms late."""
    due = np.arange(len(statuses), dtype=np.float64)
    return Measured(due, due + 0.001, due + 0.01, np.array(statuses), due.astype(np.int64), (), {}, 0.25, 2.0)


def test_a_post_is_a_whole_request() -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    assert post(HERE, "/predict", b"{}") == head + b"\r\n{}"


def test_headers_are_added_or_take_the_place_of_ours() -> None:
    request = post(Target("::1", 80), "/", b"", {"content-type": "image/png", "X-Id": "1"})
    assert request.split(b"\r\n") == [
        b"POST / HTTP/1.1",
        b"Host: [::1]:80",
        b"Content-Type: image/png",
        b"X-Id: 1",
        b"Content-Length: 0",
        b"",
        b"",
    ]


@pytest.mark.parametrize(
    ("path", "headers"),
    [("predict", {}), ("/a b", {}), ("/\r\n", {}), ("/é", {}), ("/", {"a": "b\r\nc: d"}), ("/", {"a\n": "b"})],
)
def test_what_would_break_the_head_is_refused(path: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"is no path|cannot stand"):
        post(HERE, path, b"", headers)


@pytest.mark.parametrize(
    "changed",
    [
        {"requests": []},
        {"clients": 0},
        {"seconds": 0.0},
        {"seconds": np.inf},
        {"warm_s": -1.0},
        {"timeout_s": 0.0},
    ],
)
def test_a_closed_loop_refuses_what_makes_no_sense(changed: dict[str, Any]) -> None:
    given = {"requests": [b"x"], "clients": 1, "seconds": 1.0, "warm_s": 0.0, **changed}
    with pytest.raises(ValueError, match=r"must be|needs"):
        closed_loop(HERE, **given)


@pytest.mark.parametrize(
    "changed",
    [
        {"requests": []},
        {"times": []},
        {"times": [1.0, 0.5]},
        {"times": [-1.0]},
        {"times": [np.nan]},
        {"connections": 0},
        {"timeout_s": np.inf},
    ],
)
def test_an_open_loop_refuses_what_makes_no_sense(changed: dict[str, Any]) -> None:
    given = {"requests": [b"x"], "times": [0.0], **changed}
    with pytest.raises(ValueError, match=r"must be|needs"):
        open_loop(HERE, **given)


@pytest.fixture
def body(tmp_path: Path) -> str:
    path = tmp_path / "body.json"
    path.write_bytes(b"{}")
    return str(path)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Floats]:
    """The times of every open loop that is asked for; it measures three requests."""
    asked: list[Floats] = []

    def loop(target: Target, requests: list[bytes], times: Floats, *, timeout_s: float) -> Measured:
        assert (target, timeout_s) == (HERE, 30.0)
        assert requests[0].startswith(b"POST /v2/models/m/infer?a=b HTTP/1.1\r\n")
        asked.append(times)
        return measured(200, 429, 0)

    monkeypatch.setattr(load, "open_loop", loop)
    return asked


def test_a_rate_is_a_poisson_process(body: str, opened: list[Floats], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", URL, "--body", body, "--rate", "50", "--seconds", "2", "--seed", "7"]) == 0
    assert opened[0].tolist() == poisson(50.0, 2.0, seed=7).tolist()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["benchmark"] == "load"
    assert result["rows"] == [
        {
            "requests": 3,
            "ok_rps": 0.5,
            "p50_ms": pytest.approx(10.0),
            "p90_ms": None,
            "p99_ms": None,
            "p99.9_ms": None,
            "unanswered": 1,
            "refused": 1,
            "lag_p99_ms": pytest.approx(1.0),
            "client_cpu": 0.25,
            "seconds": 2.0,
        }
    ]


def test_rates_are_a_modulated_process(body: str, opened: list[Floats]) -> None:
    asked = ["--rate", "10", "--rate", "90", "--process", "mmpp", "--stay", "0.5", "--seconds", "5", "--seed", "3"]
    main(["--url", URL, "--body", body, *asked])
    assert opened[0].tolist() == modulated([10.0, 90.0], 0.5, 5.0, seed=3).times.tolist()


def test_a_trace_is_replayed_faster_and_for_so_long(body: str, opened: list[Floats], tmp_path: Path) -> None:
    trace = tmp_path / "calls.csv"
    trace.write_text(CALLS)
    main(["--url", URL, "--body", body, "--trace", str(trace), "--format", "azure-2021", "--faster", "2"])
    assert opened[0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("kind", "text"),
    [("per-second", f"3 0 2 {MANY}"), ("azure-2019", f"HashFunction,1,2,3,4\nf,1,0,2,{MANY}\ng,2,0,0,0\n")],
)
def test_a_trace_of_counts_is_drawn_as_far_as_it_is_played(
    body: str, opened: list[Floats], tmp_path: Path, kind: str, text: str
) -> None:
    trace = tmp_path / "counts"
    trace.write_text(text)
    width_s = 60 if kind == "azure-2019" else 1
    seconds = str(3 * width_s)
    main(["--url", URL, "--body", body, "--trace", str(trace), "--format", kind, "--seconds", seconds])
    assert np.bincount((opened[0] / width_s).astype(np.int64)).tolist() == [3, 0, 2]


def test_prompts_are_replayed(body: str, opened: list[Floats], tmp_path: Path) -> None:
    trace = tmp_path / "prompts.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,1,1\n2023-11-16 18:17:05.5,1,1\n")
    main(["--url", URL, "--body", body, "--trace", str(trace), "--format", "azure-llm"])
    assert opened[0].tolist() == [0.0, 2.5]


def test_clients_are_a_closed_loop(body: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[dict[str, float]] = []

    def loop(target: Target, requests: list[bytes], **options: float) -> Measured:
        assert target == HERE
        assert len(requests) == 2
        assert b"\r\nX-Key: a: b\r\n" in requests[0]
        asked.append(options)
        return measured(429)

    monkeypatch.setattr(load, "closed_loop", loop)
    file = tmp_path / "result.json"
    asking = ["--clients", "8", "--seconds", "3", "--header", "X-Key: a: b", "--json", str(file)]
    main(["--url", URL, "--body", body, "--body", body, *asking])
    assert asked == [{"clients": 8, "seconds": 3.0, "warm_s": 1.0, "timeout_s": 30.0}]
    row = json.loads(file.read_text())["rows"][0]
    assert (row["p50_ms"], row["refused"]) == (None, 1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--url", "https://host/", "--rate", "1"], "is no http:// URL"),
        (["--url", "host:80", "--rate", "1"], "is no http:// URL"),
        (["--url", URL, "--rate", "-1"], "rate must be finite and not negative"),
        (["--url", URL, "--rate", "0"], "no request is due"),
        (["--url", URL, "--rate", "1", "--rate", "2"], "--process mmpp"),
        (["--url", URL, "--rate", "1", "--header", "none"], "is no header"),
        (["--url", URL, "--rate", "1", "--body", "nowhere"], "nowhere"),
        (["--url", URL, "--trace", "nowhere"], "--trace needs --format"),
        (["--url", URL, "--trace", "nowhere", "--format", "azure-2021"], "nowhere"),
        (["--url", URL, "--clients", "1", "--rate", "1"], "not allowed with"),
        (["--url", URL], "is required"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(
    body: str, asked: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--body", body, *asked])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
