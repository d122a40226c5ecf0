"""infra/check: what is skipped has a reason, and an audit that could not be made is never a clean one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def audit(tmp_path: Path) -> Run:
    """The script, with a pip-audit that gives these answers by the name of the package."""

    def run(answers: dict[str, dict[str, Any]], *, broken: bool = False) -> subprocess.CompletedProcess[str]:
        program = tmp_path / "pip-audit"
        program.write_text(
            f"#!{sys.executable}\n"
            "import json, sys\n"
            f"if {broken!r}: sys.exit('cannot resolve the host')\n"
            "lines = open(sys.argv[sys.argv.index('--requirement') + 1]).read().split()\n"
            "assert '--no-deps' in sys.argv\n"
            f"answers = json.loads({json.dumps(answers)!r})\n"
            "named = [dict(zip(('name', 'version'), line.split('=='))) for line in lines]\n"
            "found = [one | answers.get(one['name'], {'vulns': []}) for one in named]\n"
            "print(json.dumps({'dependencies': found, 'fixes': []}))\n"
        )
        program.chmod(0o755)
        pins = tmp_path / "pins.txt"
        pins.write_text("# ours\n-r other.txt\nleft-pad==1.3.0\nright-pad==2.0 ; python_version > '3'\n")
        command = [sys.executable, str(ROOT / "infra" / "check" / "audit.py"), "--pip-audit", str(program), str(pins)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    return run


def test_what_is_known_to_be_vulnerable_fails(audit: Run) -> None:
    done = audit({"left-pad": {"vulns": [{"id": "PYSEC-1", "fix_versions": ["1.3.1"]}]}})

    assert done.returncode == 1
    assert done.stderr.splitlines() == ["left-pad 1.3.0: PYSEC-1; fixed in 1.3.1"]


def test_what_is_not_known_is_said_and_does_not_hide_what_is(audit: Run) -> None:
    answers = {"right-pad": {"skip_reason": "not found"}, "left-pad": {"vulns": [{"id": "A", "fix_versions": []}]}}

    both, one = audit(answers), audit({"right-pad": {"skip_reason": "not found"}})

    assert (both.returncode, one.returncode) == (1, 0)
    assert "left-pad 1.3.0: A; fixed in none yet" in both.stderr
    assert "NOT AUDITED: right-pad (not found)" in one.stderr


@pytest.mark.parametrize("broken", [True, False])
def test_where_advisories_cannot_be_read_it_says_so_and_stops_nobody(broken: bool, audit: Run) -> None:
    done = audit({"pip": {"skip_reason": "no such host"}}, broken=broken)

    assert done.returncode == 0
    assert "*** NOT AUDITED: any of them" in done.stderr


def test_what_is_pinned_and_what_is_installed_are_asked_about(audit: Run) -> None:
    done = audit({"pytest": {"vulns": [{"id": "B", "fix_versions": []}]}})

    assert done.stderr.startswith("pytest ")
    assert int(re.findall(r"of (\d+) packages", done.stdout)[0]) > 20


def test_nothing_is_clean_because_nothing_was_found(audit: Run) -> None:
    assert audit({}).stderr == ""


def test_each_check_that_is_skipped_has_a_reason() -> None:
    lines = (ROOT / ".checkov.yaml").read_text().partition("skip-check:\n")[2].splitlines()

    assert lines
    assert [line for line in lines if not re.fullmatch(r"  - CKV2?_AWS_\d+ # \S.{20,}", line)] == []
