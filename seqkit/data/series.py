"""Time series from files: a step in time a row, one series or several; or a whole series a row.

Every cell and every time is checked, and what is wrong is told with file, line, column and value. A million rows need
little more memory than their numbers, eight bytes each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from seqkit.data.series_checks import check_series
from seqkit.data.series_layouts import Rows, read_columns, read_rows
from seqkit.data.series_steps import Step
from seqkit.data.series_stream import StreamReader
from seqkit.errors import DataError

__all__ = ["Series", "Step", "StreamReader", "read_series"]


@dataclass(frozen=True)
class Series:
    """One series of T steps and D columns."""

    name: str
    """What its column of series (or the first cell of its row) says; else the file's name without its ending."""
    columns: tuple[str, ...]
    """The D names."""
    values: np.ndarray
    """(T, D) float64, NaN where a value is missing."""
    times: np.ndarray | None
    """(T,) datetime64[ns]; None where the steps are only numbered."""
    step: Step | None
    """What lies between two rows; None where steps are numbered, for one row, and where rows lie unevenly."""
    place: str
    """The file."""
    first_line: int = 2
    """The line of the first row, counted from 1."""
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    """(T,) float64 each: columns that were asked for besides."""
    lines: np.ndarray | None = None
    """(T,) line of each row, where they do not follow each other."""
    others: tuple[str, ...] = ()
    """Columns of the file that were not read."""
    header: tuple[str, ...] = ()
    """All columns of the file in their order, for a `StreamReader` that meets rows without a header."""
    notes: tuple[str, ...] = ()
    """What is odd and can yet be used, a sentence each, for the user to be told."""

    def line(self, row: int) -> int:
        """The line of a row (from 0)."""
        return self.first_line + row if self.lines is None else int(self.lines[row])

    def where(self, row: int) -> str:
        """The file and line of a row, such as "sales.csv:17"."""
        return f"{self.place}:{self.line(row)}"


def read_series(
    path: str | Path,
    *,
    time: str | None = None,
    target: Sequence[str] = (),
    series: str | None = None,
    layout: Literal["columns", "rows"] = "columns",
    labels: Sequence[str] = (),
    separator: str = "auto",
    regular: bool = True,
    least: int | None = None,
    problems: list[DataError] | None = None,
) -> list[Series]:
    """All series of a CSV file (UTF-8, plain or .gz), in the order in which they begin.

    Of the layout "columns" a row is a step; `target` names the columns of values, and an empty one takes all columns of
    numbers besides `time`, `series` and `labels`; `series` names a column that says which series a row belongs to. Of
    the layout "rows" a row is a series: its name in the column `series` (the first one), then its values, with empty
    cells before and after them left out.

    `regular` demands times that are one step apart; else they must only be in order, but for equal times and a clock
    that goes back by an hour at most. A series has at least `least` rows (2 if regular, else 1). A series that breaks
    these rules goes to `problems` where that is given, and the others are returned. All else that is wrong raises
    DataError, and so does a file of which no series is left.
    """
    path = Path(path)
    if layout == "rows":
        found = read_rows(path, time=time, target=target, series=series, labels=labels, separator=separator)
    else:
        found = read_columns(path, time=time, target=target, series=series, labels=labels, separator=separator)
    least = (2 if regular else 1) if least is None else least
    good: list[Series] = []
    faults: list[DataError] = []
    for rows in found:
        try:
            step, notes = check_series(rows, regular=regular, least=least)
        except DataError as error:
            if problems is None:
                raise
            faults.append(error)
        else:
            good.append(_series(rows, step, notes))
    if faults and not good:
        raise faults[0]
    if problems is not None:
        problems.extend(faults)
    return good


def _series(rows: Rows, step: Step | None, notes: tuple[str, ...]) -> Series:
    return Series(
        name=rows.name,
        columns=rows.columns,
        values=rows.values,
        times=rows.times if rows.times is not None and rows.times.dtype.kind == "M" else None,
        step=step,
        place=rows.place,
        first_line=rows.first_line,
        labels=rows.labels,
        lines=rows.lines,
        others=rows.others,
        header=rows.header,
        notes=notes,
    )
