"""What a run of the IAM tests has shown, as the tables of docs/security.md; it runs nothing.

make iam-test REPORT=benchmarks/results/iam.json
python -m infra.rehearsal.report benchmarks/results/iam.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def tables(report: Mapping[str, Any]) -> Iterator[str]:
    """The lines of both tables: what breaks without a permission, and what no flow can show."""
    yield "| holder | statement | without | breaks |"
    yield "|---|---|---|---|"
    for (holder, statement, flow), grants in _grouped(report["broken"]):
        without = ", ".join(_said(grant) for grant in grants)
        yield f"| {holder} | {statement} | {without} | {flow.replace('_', ' ')} |"
    yield ""
    yield "| holder | statement | action | why nothing here can show it |"
    yield "|---|---|---|---|"
    for row in report["unshown"]:
        holder = "each function's role" if row["holder"] == "*" else row["holder"]
        yield f"| {holder} | {row['statement']} | `{row['action']}` | {row['why']} |"
    for row in report["absent"]:
        holder, statement = (name.replace("*", "any") for name in (row["holder"], row["statement"]))
        yield f"| {holder} | {statement} | all | not deployed there: {row['why']} |"


def _grouped(broken: Iterable[Mapping[str, Any]]) -> Iterator[tuple[tuple[str, str, str], list[Mapping[str, Any]]]]:
    found: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for each in broken:
        grant = each["grant"]
        found.setdefault((grant["holder"], grant["statement"], each["flow"]), []).append(grant)
    yield from found.items()


def _said(grant: Mapping[str, Any]) -> str:
    return f"`{grant['action']}`" + (f" on `{grant['partition']}`" if grant["partition"] else "")


def main() -> None:
    """Print the tables of the report that the argument names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    print("\n".join(tables(json.loads(parser.parse_args().report.read_text()))))


if __name__ == "__main__":
    main()
