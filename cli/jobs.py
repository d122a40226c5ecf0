"""`modelless submit`, `jobs` and `cancel`: predictions that a running platform makes when it has room; makes none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from cli.ask import read_json, render_answer
from cli.client import Server, connect
from cli.errors import BadInput, Failed
from cli.inbox import ask
from cli.options import given, json_option, server_options, slo_options
from cli.output import say, screen, table

if TYPE_CHECKING:
    from rich.console import Console

ENDED = frozenset({"succeeded", "failed", "cancelled"})

FIRST_LOOK_S, LONGEST_S = 0.1, 2.0
"""Between two looks at a job that is waited for: first and at most, half as long again each time."""

NONE = "No jobs: nothing was submitted within a day."


@click.command()
@click.argument("task")
@click.argument("inputs")
@slo_options
@click.option("--key", metavar="TEXT", help="Idempotency key: submitting the same with the same key is one job.")
@click.option("--wait", is_flag=True, help="Wait until it has ended, and print the answer.")
@server_options
@json_option
def submit(
    task: str, inputs: str, *, key: str | None, wait: bool, url: str, api_key: str | None, as_json: bool, **hints: Any
) -> None:
    """Have INPUTS answered under TASK when there is room: a JSON file, - for stdin, or the JSON itself.

    The answer is kept for a day after it is made; `modelless jobs ID` shows it. Without --latency-ms there is no
    deadline, whatever the task's default.
    """
    read = read_json(inputs, "INPUTS")
    headers = {} if key is None else {"Idempotency-Key": _sendable(key)}
    with connect(url, api_key) as server:
        job = ask(server, f"/v1/tasks/{quote(task, safe='')}/jobs", read, given(**hints), headers)
        if wait:
            job = _ended(server, job)
    say(job, as_json=as_json, render=lambda console: _render(console, job))
    _check(job)


@click.command()
@click.argument("job_id", metavar="[ID]", required=False)
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="Most jobs that are listed.")
@server_options
@json_option
def jobs(job_id: str | None, *, limit: int, url: str, api_key: str | None, as_json: bool) -> None:
    """Show the job of this ID and its answer, or list the newest jobs."""
    with connect(url, api_key) as server:
        if job_id is not None:
            job = server.get(_path(job_id))
            say(job, as_json=as_json, render=lambda console: _render(console, job))
            return
        listed = server.get(f"/v1/jobs?limit={limit}")
    say(listed, as_json=as_json, render=lambda console: console.print(_drawn(listed["jobs"])))


@click.command()
@click.argument("job_id", metavar="ID")
@server_options
@json_option
def cancel(job_id: str, *, url: str, api_key: str | None, as_json: bool) -> None:
    """Cancel a job that has not ended; what comes of it if it runs is discarded."""
    with connect(url, api_key) as server:
        job = server.delete(_path(job_id))
    say(job, as_json=as_json, render=lambda console: _render(console, job))


def _sendable(key: str) -> str:
    """A key that fits into a header; how long it may be, and the rest, the server says."""
    if not (key.isascii() and key.isprintable()):
        raise BadInput("--key: holds characters other than printable ASCII; give another")
    return key


def _path(job_id: str) -> str:
    if not job_id:
        raise BadInput("ID: is empty; give the id that `modelless submit` or `modelless jobs` shows")
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _ended(server: Server, job: Mapping[str, Any]) -> Mapping[str, Any]:
    """The job once it has ended; a line on stderr says how far it is."""
    pause_s, began, console = FIRST_LOOK_S, time.monotonic(), screen(stderr=True)
    console.print(f"Waiting for job {job['id']}; if this is stopped, `modelless jobs {job['id']}` has it.", style="dim")
    with console.status("") as shown:
        while True:
            shown.update(f"job {job['id']}: {job['state']}, {time.monotonic() - began:.0f} s")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_S)
            # Also where it has ended, as one of a known key may have: a submission is answered without its result.
            job = server.get(_path(job["id"]))
            if job["state"] in ENDED:
                return job


def _check(job: Mapping[str, Any]) -> None:
    """Raise Failed for a job that came to nothing."""
    if job["state"] == "failed":
        raise Failed(f"job {job['id']} failed: {job['error']['message']}")
    if job["state"] == "cancelled":
        raise Failed(f"job {job['id']} was cancelled")


def _render(console: Console, job: Mapping[str, Any]) -> None:
    console.print(f"Job {job['id']} ({job['task']}): {job['state']}", style="bold")
    if job["result"] is not None:
        render_answer(console, job["result"])
    elif job["error"] is not None:
        console.print(f"{job['error']['code']}: {job['error']['message']}", style="yellow")
    elif job["state"] not in ENDED:
        console.print(f"modelless jobs {job['id']}", style="dim")


def _drawn(listed: list[Mapping[str, Any]]) -> Any:
    if not listed:
        return NONE
    rows = table("Jobs (times in UTC)", ("job", "task", "state", "submitted", "ended", "kept until", "why"))
    rows.columns[0].no_wrap = True  # it is copied whole
    for job in listed:
        why = "" if job["error"] is None else job["error"]["message"]
        times = (_second(job[name]) for name in ("submitted_at", "ended_at", "expires_at"))
        rows.add_row(job["id"], job["task"], job["state"], *times, why)
    return rows


def _second(iso: str | None) -> str:
    """A time of ISO 8601 to the second, as people read it."""
    return "" if iso is None else f"{iso[:10]} {iso[11:19]}"
