"""What was tried for a task and is no variant of it, as a table; every command that lists it shows the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cli.output import table

OUTCOMES = {"inapplicable": "does not apply"}
"""How people read an outcome that is not told by its own name."""

if TYPE_CHECKING:
    from rich.table import Table


def attempts(tried: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each attempt, given as `gateway.documents.tried_document` makes it."""
    drawn = table("Tried and not kept", ("variant", "made by", "parent", "outcome", "why", "measured (its rival)"))
    for attempt in tried:
        made = (attempt["name"], attempt["generator"], attempt["parent"] or "–")
        outcome = OUTCOMES.get(attempt["outcome"], attempt["outcome"])
        drawn.add_row(*made, outcome, attempt["reason"], measured(attempt["numbers"]))
    return drawn


def measured(numbers: Mapping[str, float]) -> str:
    """What was measured of an attempt, and in brackets the same of the variant that it was held against."""
    own = {name: value for name, value in numbers.items() if "." not in name}
    rivals = {name.rpartition(".")[2]: value for name, value in numbers.items() if "." in name}
    return ", ".join(
        f"{name} {value:.3g}" + (f" ({rivals[name]:.3g})" if name in rivals else "") for name, value in own.items()
    )
