"""The two ways in which a file holds series: a row for each step, or a row for each series."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from seqkit.data.series_table import (
    Block,
    Header,
    cells_of,
    number_columns,
    numbers_of,
    open_table,
    read_number,
    texts_of,
)
from seqkit.data.series_times import TimeReader
from seqkit.errors import DataError

_NAME_LAYOUT = "Leave the cell empty where the value is missing; if a row is a step in time, set data.layout=columns."


@dataclass(frozen=True)
class Rows:
    """The rows of one series as they stand in a file, before its times are checked."""

    name: str
    columns: tuple[str, ...]
    values: np.ndarray
    """(T, D) float64."""
    times: np.ndarray | None
    """(T,) datetime64[ns], or float64 where a column numbers the steps."""
    place: str
    first_line: int
    time_column: str | None = None
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    lines: np.ndarray | None = None
    """(T,) the line of each row, where they do not follow each other."""
    others: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    several: bool = False
    """Whether the file holds others, so that an error must name this one."""

    def where(self, row: int) -> str:
        """The file and line of a row."""
        return f"{self.place}:{self.first_line + row if self.lines is None else int(self.lines[row])}"


def read_columns(
    path: Path,
    *,
    time: str | None,
    target: Sequence[str],
    series: str | None,
    labels: Sequence[str],
    separator: str,
) -> list[Rows]:
    """The series of a file in which a row is a step. Raises DataError."""
    header, blocks = open_table(path, separator)
    table = _Columns(header, time, target, series, labels)
    for block in blocks:
        table.add(block)
    if not table.count:
        raise DataError(f"{path}: there are no rows below the header.", hint="Give a file with values.")
    return table.split(_stem(path))


class _Columns:
    """Collects the columns that are read, block by block."""

    def __init__(
        self, header: Header, time: str | None, target: Sequence[str], series: str | None, labels: Sequence[str]
    ) -> None:
        self.header = header
        self.time = None if time is None else header.index(time, "data.time")
        self.series = None if series is None else header.index(series, "data.series")
        self.labels = [header.index(name, "the label") for name in labels]
        self.target = [header.index(name, "data.target") for name in target]
        for index, key in ((self.time, "data.time"), (self.series, "data.series")):
            if index is not None and index in self.target:
                name = header.names[index]
                raise DataError(
                    f"{header.place}: column '{name}' is {key} and cannot be data.target too.", hint="Take one out."
                )
        names = [header.names[index] for index in (*self.target, *self.labels)]
        for name in names:
            if names.count(name) > 1:
                raise DataError(
                    f"{header.place}: column '{name}' is asked for twice.", hint="Name each column once in data.target."
                )
        self.count = 0
        # An array grows in place, so that the whole table is never in memory twice.
        self._values, self._labels, self._codes = array("d"), array("d"), array("q")
        self._times: array[int] | array[float] = array("q")
        self._reader = None if time is None else TimeReader(header.place, time)
        self._names: dict[str, int] = {}

    def add(self, block: Block) -> None:
        """Take in a block of rows. Raises DataError."""
        if not self.count and not self.target:
            besides = [index for index in (self.time, self.series, *self.labels) if index is not None]
            self.target = number_columns(self.header, block, besides)
            if not self.target:
                raise DataError(
                    f"{self.header.place}: no column holds numbers.", hint="Name the values: data.target=COLUMN."
                )
        values = numbers_of(self.header, block, [*self.target, *self.labels])  # (N, D + labels)
        self._values.frombytes(np.ascontiguousarray(values[:, : len(self.target)]).tobytes())
        self._labels.frombytes(np.ascontiguousarray(values[:, len(self.target) :]).tobytes())
        if self._reader is not None and self.time is not None:
            times = self._reader.read(texts_of(self.header, block, self.time), block.line)  # (N,)
            if self._reader.kind == "steps" and not self.count:
                self._times = array("d")
            self._times.frombytes(times.tobytes())
        if self.series is not None:
            self._codes.extend(
                self._code(name, block.line + row) for row, name in enumerate(texts_of(self.header, block, self.series))
            )
        self.count += len(block.rows)

    def _code(self, name: str, line: int) -> int:
        name = name.strip()
        if not name:
            column = self.header.names[self.series or 0]
            raise DataError(
                f"{self.header.place}:{line}: no series in column '{column}'.", hint="Name the row's series."
            )
        return self._names.setdefault(name, len(self._names))

    def split(self, stem: str) -> list[Rows]:
        """One Rows for each series; a file without a column of series is one, named `stem`."""
        names = self.header.names
        columns = tuple(names[index] for index in self.target)
        values = np.frombuffer(self._values).reshape(self.count, len(columns))  # (N, D)
        labels = (
            np.frombuffer(self._labels).reshape(self.count, len(self.labels))
            if self.labels
            else np.empty((self.count, 0))
        )
        times = self._all_times()
        used = {*self.target, *self.labels, self.time, self.series}
        others = tuple(name for index, name in enumerate(names) if name and index not in used)
        found = []
        for name, rows, lines in self._parts(stem):
            found.append(
                Rows(
                    name=name,
                    columns=columns,
                    values=values[rows],
                    times=None if times is None else times[rows],
                    place=self.header.place,
                    first_line=int(lines[0]),
                    time_column=None if self.time is None else names[self.time],
                    labels={names[index]: labels[rows, place] for place, index in enumerate(self.labels)},
                    lines=None if isinstance(rows, slice) else lines,
                    others=others,
                    header=names,
                    several=self.series is not None,
                )
            )
        return found

    def _all_times(self) -> np.ndarray | None:
        if self._reader is None:
            return None
        if self._reader.kind == "steps":
            return np.frombuffer(self._times, dtype=np.float64)
        return np.frombuffer(self._times, dtype=np.int64).view("datetime64[ns]")

    def _parts(self, stem: str) -> list[tuple[str, slice | np.ndarray, np.ndarray]]:
        """Name, rows (a slice where they follow each other) and lines of each series."""
        lines = np.arange(self.count) + self.header.line + 1
        if self.series is None:
            return [(stem, slice(None), lines)]
        codes = np.frombuffer(self._codes, dtype=np.int64)
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(self._names)))
        found: list[tuple[str, slice | np.ndarray, np.ndarray]] = []
        for name, first, end in zip(self._names, [0, *ends[:-1]], ends, strict=True):
            rows = order[first:end]
            together = int(rows[-1]) - int(rows[0]) == len(rows) - 1
            found.append((name, slice(int(rows[0]), int(rows[-1]) + 1) if together else rows, lines[rows]))
        return found


def read_rows(
    path: Path,
    *,
    time: str | None,
    target: Sequence[str],
    series: str | None,
    labels: Sequence[str],
    separator: str,
) -> list[Rows]:
    """The series of a file in which a row is a series. Raises DataError."""
    for key, given in (("data.time", time), ("labels", labels)):
        if given:
            raise DataError(
                f"{path}: a row is a whole series, which has no {key}.",
                hint="Leave it out, or set data.layout=columns.",
            )
    if len(target) > 1:
        raise DataError(
            f"{path}: a row is a whole series of one value a step.", hint="Give one data.target, as its name."
        )
    header, blocks = open_table(path, separator)
    column = 0 if series is None else header.index(series, "data.series")
    found: dict[str, Rows] = {}
    for block in blocks:
        for row, text in enumerate(block.rows):
            line = block.line + row
            name, values = _whole_series(header, text, line, column)
            if name in found:
                raise DataError(
                    f"{path}:{line}: there is a series '{name}' already, on line {found[name].first_line}.",
                    hint="Give each a name of its own.",
                )
            lines = np.broadcast_to(np.int64(line), (len(values),))
            found[name] = Rows(
                name, tuple(target) or ("value",), values[:, None], None, str(path), line, lines=lines, several=True
            )
    if not found:
        raise DataError(f"{path}: there are no rows below the header.", hint="Give a file with values.")
    return list(found.values())


def _whole_series(header: Header, text: str, line: int, column: int) -> tuple[str, np.ndarray]:
    """The name and the (T,) values of a row, without the empty cells around them. Raises DataError."""
    cells = [cell.strip() for cell in cells_of(header.place, text, line, header.separator)]
    values = np.full(len(cells), np.nan)  # (cells,)
    for index, cell in enumerate(cells):
        if index != column:
            values[index] = read_number(header, index, cell, line, _NAME_LAYOUT)
    if not cells[column]:
        raise DataError(
            f"{header.place}:{line}: the series has no name in column '{header.names[column]}'.", hint="Name it."
        )
    real = np.flatnonzero(~np.isnan(values))
    if not len(real):
        raise DataError(f"{header.place}:{line}: series '{cells[column]}' has no value.", hint="Take the row out.")
    return cells[column], np.delete(values, column)[real[0] - (real[0] > column) : real[-1] + 1 - (real[-1] > column)]


def _stem(path: Path) -> str:
    """The name of a file without .csv, .tsv.gz and the like."""
    return Path(path.name.removesuffix(".gz")).stem
