"""A compared server as a process: when it has answered, what its tree weighs, and that nothing of it is left."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchmarks import peer_process
from benchmarks.peer_process import NotStarted, running, tree
from benchmarks.peer_servers import ROW, Launch, Server

PROGRAM = """
import http.server, os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()"])
asked = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked.append(body)
        self.send_response(200 if len(asked) > 1 else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def program(source: str) -> Server:
    def command(launch: Launch, settings: Mapping[str, str]) -> list[str]:
        return [sys.executable, "-c", source]

    return Server("stub", (), command, ROW)


def test_a_server_counts_from_its_first_answer_and_goes_with_its_children(tmp_path: Path) -> None:
    with running(program(PROGRAM), tmp_path, tmp_path, "m", b"{}") as started:
        assert started.first_answer == b"{}"
        assert started.first_answer_s > 0.0
        members = tree(started.process)
        assert len(members) == 2
        assert started.memory_mb() > psutil.Process(members[1].pid).memory_full_info().pss / 1e6
    assert not any(member.is_running() for member in members)


def test_a_server_that_ends_is_reported_with_its_last_words(tmp_path: Path) -> None:
    server = program("raise SystemExit('no such model')")
    with pytest.raises(NotStarted, match="no such model"), running(server, tmp_path, tmp_path, "m", b"{}"):
        pass


def test_a_server_that_never_answers_is_given_up_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_process, "START_LIMIT_S", 0.2)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    server = replace(program("import signal; print('loading', flush=True); signal.pause()"), name="mute")
    with pytest.raises(NotStarted, match="no answer"), running(server, tmp_path, tmp_path, "m", b"{}"):
        pass
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_free_ports_differ_and_are_no_connections_own() -> None:
    ports = peer_process.free_ports()
    assert len(set(ports)) == 3
    assert all(port in peer_process.PORTS for port in ports)
