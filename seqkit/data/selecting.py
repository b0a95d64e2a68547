"""Which examples of a file are used: those that `data.where` names by the values in their columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from seqkit.data.config import DataConfig
from seqkit.errors import DataError

if TYPE_CHECKING:
    from seqkit.data.splits import Split

WHERE = "where "
"""What a column of `data.where` is called until its values have been looked at, with its own name behind."""
_SHOWN = 20


def asked_columns(config: DataConfig) -> dict[str, str]:
    """The columns that `data.where` looks at, as they are called for now, and their names in the files."""
    return {WHERE + column: column for column in config.where}


def selected(split: Split, config: DataConfig) -> Split:
    """The examples with the values that `data.where` names. Raises DataError where there is none."""
    asked = {ours: theirs for ours, theirs in asked_columns(config).items() if ours in split.examples.column_names}
    if not asked:
        return split
    left_out = dict(split.left_out)
    keep = list(range(len(split)))
    for ours, theirs in asked.items():
        values = [value.strip() for value in split.column(ours)]
        kept = [row for row in keep if values[row] in config.where[theirs]]
        if not kept:
            there = ", ".join(sorted({values[row] for row in keep})[:_SHOWN])
            wanted = " or ".join(f"'{value}'" for value in config.where[theirs])
            raise DataError(
                f"{split.origin}: no example has the {theirs} {wanted} (data.where).", hint=f"There: {there}."
            )
        if len(kept) < len(keep):
            left_out[f"{theirs} not in data.where"] = len(keep) - len(kept)
        keep = kept
    examples = split.examples.remove_columns(list(asked)).select(keep)
    return replace(split, examples=examples, left_out=left_out)
