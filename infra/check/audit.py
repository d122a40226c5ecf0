"""Asks whether what is pinned and installed has known vulnerabilities; it never takes silence for an answer.

    python infra/check/audit.py --pip-audit PATH REQUIREMENTS...

The lists of exact pins that are given, and what is installed beside this interpreter, are asked about as one. Exit 1:
one is vulnerable. Exit 0: none is, or the advisories cannot be read, which is said loudly: a check that needs the
network must not stop those who have none.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;#]+)", re.MULTILINE)

PROBE = "pip==24.0"
"""What is asked about first: a package that every index has."""

OPTIONS = ("--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off")
"""The lists are whole lists: nothing is resolved, and nothing installed."""

LIMIT_S = 300

MOST_LINES = 20
"""Of what is not known, that are said."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What the advisories say."""

    vulnerable: tuple[str, ...]
    """A line for each advisory that applies."""
    unknown: tuple[str, ...]
    """A line for each package that nothing could be learnt of."""


def main() -> int:
    """Audit what the arguments name; 1 where something is vulnerable, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requirements", nargs="+", type=Path)
    parser.add_argument("--pip-audit", required=True, help="the program")
    arguments = parser.parse_args()
    pins = sorted({*pinned(arguments.requirements), *installed()})
    probed = ask(arguments.pip_audit, [PROBE])
    audit = (
        Audit((), (f"any of them, as of {probed.unknown[0]}",)) if probed.unknown else ask(arguments.pip_audit, pins)
    )
    for line in audit.vulnerable:
        print(line, file=sys.stderr)
    if audit.unknown:
        print(f"*** NOT AUDITED: {'; '.join(audit.unknown[:MOST_LINES])} ***", file=sys.stderr)
    print(f"of {len(pins)} packages: {len(audit.vulnerable)} vulnerabilities known")
    return 1 if audit.vulnerable else 0


def pinned(lists: Iterable[Path]) -> set[str]:
    """Each `name==version` of the lists."""
    return {f"{name}=={version}" for path in lists for name, version in PIN.findall(path.read_text())}


def installed() -> set[str]:
    """What this interpreter has of others'; what was installed from a folder is on no index."""
    return {f"{d.metadata['Name']}=={d.version}" for d in distributions() if d.read_text("direct_url.json") is None}


def ask(pip_audit: str, pins: list[str]) -> Audit:
    """What pip-audit says of these exact pins; where it fails, nothing is known of any."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "pins.txt"
        listed.write_text("\n".join(pins) + "\n")
        command = [pip_audit, "--requirement", str(listed), *OPTIONS]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            return Audit((), (f"all, as there was no answer within {LIMIT_S} s",))
    try:
        dependencies: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        return Audit((), (f"all, as pip-audit failed: {said[-1]}",))
    return Audit(
        tuple(
            f"{one['name']} {one['version']}: {each['id']}; fixed in {', '.join(each['fix_versions']) or 'none yet'}"
            for one in dependencies
            for each in one.get("vulns", ())
        ),
        tuple(f"{one['name']} ({one['skip_reason']})" for one in dependencies if "skip_reason" in one),
    )


if __name__ == "__main__":
    sys.exit(main())
