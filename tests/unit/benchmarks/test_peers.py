"""The comparison of servers: its rows, the order of its rounds, its requests and answers, and the open loop's rate."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.load import Target
from benchmarks.load_measured import Measured
from benchmarks.peer_environments import INSTALLED, is_installed, programs
from benchmarks.peer_rows import (
    Sample,
    Start,
    Tried,
    absent,
    alone,
    best,
    choice,
    compared,
    open_rate,
    rows_of,
    sample_of,
    turns,
)
from benchmarks.peer_servers import (
    APPS,
    MINIMAL,
    OURS,
    ROW,
    ROWS,
    SERVERS,
    V2,
    Dialect,
    Launch,
    Server,
    own_programs,
    variables,
)

SERVER = Server("some", ("some==1",), lambda launch, settings: [], ROW, {"SOME_KEY": "x"}, {"threads": "1"})


def sample(rps: float, p50_ms: float = 1.0) -> Sample:
    return Sample(rps, p50_ms, p50_ms * 3, failed=0.0, client_cpu=0.1)


def start(first_answer_s: float = 1.0, **samples: Sample) -> Start:
    return Start(first_answer_s, 100.0, {int(name[1:]): each for name, each in samples.items()})


def test_every_other_round_is_reversed() -> None:
    assert turns(3, 3) == [(0, 0), (0, 1), (0, 2), (1, 2), (1, 1), (1, 0), (2, 0), (2, 1), (2, 2)]


def test_the_quickest_choice_of_each_server_and_model_is_kept() -> None:
    one, other = replace(SERVER, settings={"threads": "1"}), replace(SERVER, settings={"threads": "2"})
    third = replace(SERVER, name="third")
    tried = [
        Tried(one, "small", 10.0),
        Tried(one, "medium", 5.0),
        Tried(other, "small", 8.0),
        Tried(other, "medium", 6.0),
        Tried(third, "small", 1.0),
    ]
    assert best(tried) == [tried[0], tried[3], tried[4]]


def test_the_open_loop_offers_half_of_the_slowest_peers_capacity() -> None:
    assert open_rate({OURS: 10.0, MINIMAL: 20.0, "a": 300.0, "b": 200.0}) == 100.0


def test_without_a_peer_the_slowest_of_all_sets_the_rate() -> None:
    assert open_rate({OURS: 8000.0, MINIMAL: 7000.0}) == 3500.0
    with pytest.raises(ValueError, match="no server answered"):
        open_rate({})


def test_a_row_holds_medians_over_the_starts_and_their_interval() -> None:
    starts = [start(s, c1=sample(r), c0=sample(50.0)) for s, r in ((1.0, 90.0), (3.0, 100.0), (2.0, 130.0))]
    closed, opened = rows_of(SERVER, "small", starts, rate=50.0)
    assert (closed["server"], closed["model"], closed["loop"], closed["clients"]) == ("some", "small", "closed", 1)
    assert (closed["rps"], closed["first_answer_s"], closed["rss_mb"], closed["starts"]) == (100.0, 2.0, 100.0, 3)
    assert 90.0 <= closed["rps_low"] <= 100.0 <= closed["rps_high"] <= 130.0
    assert closed["offered_rps"] is None
    assert (opened["loop"], opened["clients"], opened["offered_rps"]) == ("open", None, 50.0)
    assert closed["note"] == opened["note"] == "threads 1"


def test_the_worst_share_of_failures_stands_in_the_row() -> None:
    failing = replace(sample(10.0), failed=0.25)
    [row] = rows_of(SERVER, "small", [start(c1=sample(10.0)), start(c1=failing)], rate=1.0)
    assert row["failed"] == 0.25


def test_rates_are_compared_with_the_best_peer_and_the_minimal_app() -> None:
    servers = {name: replace(SERVER, name=name) for name in (OURS, MINIMAL, "a", "b")}
    figures = {OURS: sample(900.0, 1.0), MINIMAL: sample(600.0, 2.0), "a": sample(300.0, 4.0), "b": sample(200.0, 5.0)}
    rows = compared([row for name, each in figures.items() for row in _one(servers[name], each)])
    ratios = {row["server"]: (row["rps_of_best_peer"], row["rps_of_minimal"], row["p50_of_minimal"]) for row in rows}
    assert ratios[OURS] == (3.0, 1.5, 0.5)
    assert ratios["a"] == (1.0, 0.5, 2.0)


def test_rates_of_other_models_and_of_open_loops_are_not_compared() -> None:
    minimal = replace(SERVER, name=MINIMAL)
    other = rows_of(minimal, "medium", [start(c1=sample(1.0))], 1.0)
    mine = rows_of(SERVER, "small", [start(c1=sample(10.0), c0=sample(5.0))], 5.0)
    closed, opened, _ = compared([*mine, *other])
    assert (closed["rps_of_best_peer"], closed["rps_of_minimal"], closed["p50_of_minimal"]) == (1.0, None, None)
    assert (opened["rps_of_best_peer"], opened["rps_of_minimal"]) == (None, None)


def test_every_row_has_the_same_fields() -> None:
    rows = [
        alone("small", 32, [1.0, 2.0, 4.0]),
        *compared(rows_of(SERVER, "small", [start(c1=sample(1.0), c0=sample(1.0))], 1.0)),
        choice(Tried(SERVER, "small", 7.0), 64),
        absent("other", "pip: no such thing"),
    ]
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    assert json.loads(json.dumps(rows)) == rows
    assert rows[-1]["note"] == "left out: pip: no such thing"


def test_a_model_alone_gives_rows_per_second() -> None:
    row = alone("small", 32, [2.0])
    assert (row["rps"], row["p50_ms"], row["clients"]) == (16000.0, 2.0, 32)


def test_a_window_counts_what_failed() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.3])
    status = np.array([200, 200, 503, 200])
    found = sample_of(_measured(times, times + 0.01, status))
    assert (found.failed, found.rps, found.client_cpu) == (0.25, 3.0, 0.5)
    assert found.p50_ms == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("dialect", "body", "answer"),
    [
        (
            V2,
            {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 2.0]}]},
            {"model_name": "m", "outputs": [{"name": "y", "shape": [1, 2], "data": [1.0, 3.0]}]},
        ),
        (ROW, {"x": [0.5, 2.0]}, {"y": [1.0, 3.0]}),
        (ROWS, {"x": [[0.5, 2.0]]}, [[1.0, 3.0]]),
    ],
    ids=["v2", "row", "rows"],
)
def test_a_dialect_asks_for_a_row_and_reads_one(dialect: Dialect, body: object, answer: object) -> None:
    assert json.loads(dialect.request(np.array([0.5, 2.0]))) == body
    assert dialect.output(json.dumps(answer).encode()).tolist() == [1.0, 3.0]


def test_a_subject_knows_what_onnx_runtime_answers(tmp_path: Path) -> None:
    subject = peers.subject_of(tmp_path, "tiny", [4, 3])
    assert (subject.rows.shape, subject.reference.shape) == ((peers.INPUTS, 4), (peers.INPUTS, 3))
    assert (subject.models / "tiny" / "model.onnx").is_file()
    right = [(7, json.dumps({"y": subject.reference[7].tolist()}).encode())]
    subject.check(SERVER, right)


@pytest.mark.parametrize("change", [lambda row: row[:-1], lambda row: row + 0.01, lambda row: row * np.nan])
def test_a_wrong_answer_is_a_defect(tmp_path: Path, change: object) -> None:
    assert callable(change)
    subject = peers.subject_of(tmp_path, "tiny", [4, 3])
    wrong = json.dumps({"y": change(subject.reference[0]).tolist()}).encode()
    with pytest.raises(AssertionError, match="some answered row 0 of tiny"):
        subject.check(SERVER, [(0, wrong)])


def test_requests_go_to_the_models_path(tmp_path: Path) -> None:
    subject = peers.subject_of(tmp_path, "tiny", [4, 3])
    requests = subject.requests(replace(SERVER, dialect=V2), Target("127.0.0.1", 80))
    assert len(set(requests)) == peers.INPUTS
    assert all(request.startswith(b"POST /v2/models/tiny/infer HTTP/1.1\r\n") for request in requests)


def test_every_server_starts_its_own_program_on_its_port(tmp_path: Path) -> None:
    launch = Launch(tmp_path / "bin", tmp_path / "models", "small", tmp_path, (8001, 8002, 8003))
    for server in SERVERS:
        told = variables(server, launch)
        assert told["MODEL"] == str(tmp_path / "models" / "small" / "model.onnx")
        assert all(told[name.upper()] == value for name, value in server.settings.items())
        assert server.environment.items() <= told.items()
        program, *arguments = server.command(launch, server.settings)
        assert Path(program).parent == launch.programs
        written = "".join(file.read_text() for file in tmp_path.glob("*.json"))
        assert "8001" in arguments or "8001" in written or arguments == [str(APPS / f"{_app_of(server)}_app.py")]


def test_apps_exist_for_the_servers_that_run_one() -> None:
    apps = {file.stem.removesuffix("_app") for file in APPS.glob("*_app.py")}
    assert apps == {_app_of(server) for server in SERVERS} - {OURS}


def test_an_environment_is_whole_once_it_says_what_it_was_installed_from(tmp_path: Path) -> None:
    assert not is_installed(SERVER, tmp_path)
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / INSTALLED).write_text("some==0\n")
    assert not is_installed(SERVER, tmp_path)
    (tmp_path / "some" / INSTALLED).write_text("some==1\n")
    assert is_installed(SERVER, tmp_path)
    assert programs(SERVER, tmp_path) == tmp_path / "some" / "bin"


def test_our_own_server_needs_no_environment(tmp_path: Path) -> None:
    assert programs(SERVERS[0], tmp_path) == own_programs()
    assert list(tmp_path.iterdir()) == []


def test_every_requirement_is_pinned() -> None:
    assert all("==" in requirement for server in SERVERS for requirement in server.requirements)


def test_a_server_that_cannot_be_had_is_said_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(server: Server) -> Path:
        if server.name == "ray":
            raise peers.NotInstalled("pip: no matching distribution")
        return Path("bin")

    monkeypatch.setattr(peers, "programs", refused)
    comparison = peers.Comparison([], peers.BRIEF)
    comparison.install(SERVERS)
    assert comparison.left_out == {"ray": "not installed: pip: no matching distribution"}
    assert set(comparison.programs) == {server.name for server in SERVERS} - {"ray"}


def test_quick_measures_one_choice_of_a_few_servers() -> None:
    servers = peers.quick_servers()
    assert [server.name for server in servers] == list(peers.QUICK)
    assert servers == [next(each for each in SERVERS if each.name == server.name) for server in servers]


def test_a_choice_that_fails_leaves_its_server_in_while_another_works(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = replace(SERVER, settings={"threads": "1"}), replace(SERVER, settings={"threads": "2"})
    broken = replace(SERVER, name="broken")

    def run(self: object, what: str, server: Server, subject: object, measure: object) -> float:
        if server in (one, broken):
            raise RuntimeError("it ended")
        return 10.0

    monkeypatch.setattr(peers.Comparison, "_run", run)
    subject = peers.Subject(Path("models"), "small", np.zeros((1, 1)), np.zeros((1, 1)))
    comparison = peers.Comparison([subject], peers.BRIEF, {"some": Path("bin"), "broken": Path("bin")})
    assert comparison.tried([one, other, broken]) == [Tried(other, "small", 10.0)]
    assert comparison.left_out == {"broken": "small, threads 1: it ended"}


def test_what_fails_is_started_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Server] = []

    def run_once(self: object, server: Server, subject: object, measure: object) -> float:
        tries.append(server)
        if len(tries) == 1:
            raise RuntimeError("no answer")
        return 10.0

    monkeypatch.setattr(peers.Comparison, "_run_once", run_once)
    subject = peers.Subject(Path("models"), "small", np.zeros((1, 1)), np.zeros((1, 1)))
    comparison = peers.Comparison([subject], peers.BRIEF, {"some": Path("bin")})
    assert comparison.tried([SERVER]) == [Tried(SERVER, "small", 10.0)]
    assert tries == [SERVER, SERVER]


def test_a_server_that_fails_in_a_round_keeps_its_starts_and_is_left_out_then(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[str] = []

    def run(self: object, what: str, server: Server, subject: object, measure: object) -> Start:
        rounds.append(f"{what}: {server.name}")
        if (server.name, what) == ("broken", "round 2"):
            raise RuntimeError("it ended")
        return start(c1=sample(1.0))

    monkeypatch.setattr(peers.Comparison, "_run", run)
    subject = peers.Subject(Path("models"), "small", np.zeros((1, 1)), np.zeros((1, 1)))
    plan = peers.BRIEF._replace(rounds=3)
    comparison = peers.Comparison([subject], plan, {"some": Path("bin"), "broken": Path("bin")})
    chosen = [Tried(SERVER, "small", 1.0), Tried(replace(SERVER, name="broken"), "small", 1.0)]
    found = comparison.starts(chosen, {"small": 1.0})
    assert [len(starts) for starts in found] == [3, 1]
    assert rounds == ["round 1: some", "round 1: broken", "round 2: broken", "round 2: some", "round 3: some"]
    assert comparison.left_out == {"broken": "small, round 2: it ended"}


def _one(server: Server, figures: Sample) -> list[dict[str, object]]:
    return [dict(row) for row in rows_of(server, "small", [start(c64=figures)], 1.0)]


def _app_of(server: Server) -> str:
    return "pytriton" if server.name == "triton" else server.name


def _measured(intended: np.ndarray, done: np.ndarray, status: np.ndarray) -> Measured:
    return Measured(
        intended=intended,
        sent=intended,
        done=done,
        status=status,
        index=np.zeros(len(status), np.int64),
        bodies=[],
        refused={},
        cpu_share=0.5,
        seconds=1.0,
    )
