"""The description of a data set: what it holds, as it is kept in a run, and the table that people see."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

_LABELS_SHOWN = 12
_BROKEN_SHOWN = 20


@dataclass(frozen=True)
class SplitReport:
    """One part of a data set."""

    origin: str
    """Where it comes from."""
    examples: int
    """How many examples."""
    length: Mapping[str, float]
    """Real steps of an example: min, median, p95, max, sum; empty where there is none."""
    labels: Mapping[str, int]
    """Label -> how many; empty for a task without labels."""
    left_out: Mapping[str, int]
    """Reason -> how many were left out."""


@dataclass(frozen=True)
class Duplicates:
    """Examples that stand twice: in two parts (`first` and `second` differ), or within one."""

    first: str
    second: str
    count: int
    """Examples of `second` that stand in `first` too; within one part, examples beyond the first of their kind."""
    places: Sequence[tuple[str, str]]
    """A few of them, by where both stand."""


@dataclass(frozen=True)
class DataReport:
    """What was found in a data set before training."""

    unit: str
    """What a length counts, e.g. tokens."""
    splits: Mapping[str, SplitReport]
    duplicates: Sequence[Duplicates] = field(default_factory=tuple)
    warnings: Sequence[str] = field(default_factory=tuple)
    """What the user should know, a sentence each."""
    broken: Sequence[str] = field(default_factory=tuple)
    """A sentence for each example that could not be used because its file or its text is at fault."""
    damaged: Sequence[str] = field(default_factory=tuple)
    """A sentence for each example that is used although its file is damaged."""

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return dataclasses.asdict(self)


def data_table(report: DataReport) -> RenderableType:
    """A report for the terminal: a table of the parts, then what was left out, duplicates and warnings."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title="data", title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("part")
    table.add_column("examples", justify="right")
    table.add_column(f"{report.unit}: min / median / p95 / max", justify="right")
    with_labels = any(split.labels for split in report.splits.values())
    if with_labels:
        table.add_column("labels")
    for name, split in report.splits.items():
        # Text, not markup: a label or a path can hold [brackets].
        cells = [name, f"{split.examples:,}", _lengths(split.length)]
        table.add_row(*(Text(cell) for cell in [*cells, *([_labels(split.labels)] if with_labels else [])]))
    lines = [Text(f"{name}: {split.origin}", style="dim") for name, split in report.splits.items()]
    lines += [Text(line, style="dim") for line in _left_out(report)]
    lines += [Text(f"warning: {line}", style="yellow") for line in report.warnings]
    lines += [Text(line, style="yellow") for line in damaged_lines(report.damaged)]
    lines += [Text(line, style="red") for line in broken_lines(report.broken)]
    return Group(table, *lines)


def broken_lines(broken: Sequence[str]) -> list[str]:
    """The sentences about broken examples, as many as a person reads."""
    return _some(broken, "examples are broken")


def damaged_lines(damaged: Sequence[str]) -> list[str]:
    """The sentences about damaged files that are used, as many as a person reads."""
    return [f"warning: {line}" for line in _some(damaged, "files are damaged")]


def _some(sentences: Sequence[str], what: str) -> list[str]:
    more = len(sentences) - _BROKEN_SHOWN
    return [*sentences[:_BROKEN_SHOWN], *([f"and {more:,} more {what}."] if more > 0 else [])]


def _lengths(length: Mapping[str, float]) -> str:
    return " / ".join(f"{length[name]:,.0f}" for name in ("min", "median", "p95", "max")) if length else "-"


def _labels(labels: Mapping[str, int]) -> str:
    shown = [f"{name} {count:,}" for name, count in list(labels.items())[:_LABELS_SHOWN]]
    more = len(labels) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")


def _left_out(report: DataReport) -> list[str]:
    return [
        f"{name}: {count:,} left out: {reason}"
        for name, split in report.splits.items()
        for reason, count in split.left_out.items()
    ]
