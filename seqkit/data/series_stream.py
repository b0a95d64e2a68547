"""A series that grows: the rows of CSV on a stream, each as soon as its line is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

from seqkit.data.series_checks import CLOCK, show
from seqkit.data.series_table import Header, cells_of, check_width, read_header, read_number
from seqkit.data.series_times import TimeReader
from seqkit.errors import DataError


class StreamReader:
    """Reads the columns `target` of a stream, whatever their order; the first line names the columns."""

    def __init__(
        self,
        *,
        time: str | None,
        target: Sequence[str],
        separator: str = "auto",
        place: str = "stdin",
    ) -> None:
        self.time, self.target, self.separator, self.place = time, tuple(target), separator, place
        self.others: tuple[str, ...] = ()
        """Columns of the stream that are not read; known after the first row."""

    def rows(
        self, file: BinaryIO, problem: Callable[[DataError], None] | None = None
    ) -> Iterator[tuple[int, np.datetime64 | None, np.ndarray]]:
        """Line number, time and (D,) values of each row as it comes.

        A row that cannot be used is given to `problem`, where that is named, and the stream goes on; without it
        DataError is raised. A header that lacks a column raises in any case, and so does a stream that holds nothing.
        A last line that has no end is not used: it may be cut off. That is told, as the last thing.
        """
        header: Header | None = None
        before: np.datetime64 | float | None = None
        reader = None if self.time is None else TimeReader(self.place, self.time)
        for line, raw in enumerate(file, start=1):
            try:
                text = self._text(raw, line)
                if not text.strip():
                    continue
                if header is None:
                    header = self._header(text, line)
                    continue
                time, values = self._row(header, reader, text, line)
                if time is not None and before is not None and _is_before(time, before):
                    raise DataError(
                        f"{self.place}:{line}: column '{self.time}' goes back in time, from {_show(before)} to "
                        f"{_show(time)}.",
                        hint="Rows must come in the order of time.",
                    )
                before = time
            except DataError as error:
                if problem is None or header is None:
                    raise
                problem(error)
                continue
            yield line, time if isinstance(time, np.datetime64) else None, values
        if header is None:
            raise DataError(f"{self.place}: nothing came.", hint="Give a line of names and rows of values.")

    def _text(self, raw: bytes, line: int) -> str:
        if not raw.endswith(b"\n"):
            raise DataError(
                f"{self.place}:{line}: the stream ends in the middle of this line, which is not used.",
                hint="End each row with a line break.",
            )
        try:
            return raw.decode("utf-8-sig" if line == 1 else "utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.place}:{line}: this line is not UTF-8.", hint="Convert the stream, e.g. with iconv."
            ) from error

    def _header(self, text: str, line: int) -> Header:
        """The header. Raises DataError where it lacks a column that the run was trained with."""
        header = read_header(self.place, text, line, self.separator)
        lacking = [name for name in (self.time, *self.target) if name is not None and name not in header.names]
        if lacking:
            named = ", ".join(f"'{name}'" for name in lacking)
            have = ", ".join(f"'{name}'" for name in header.names)
            raise DataError(
                f"{self.place}:{line}: the first line does not name {named}, only {have}.",
                hint="Name the columns that the run was trained with.",
            )
        self.others = tuple(name for name in header.names if name and name not in (self.time, *self.target))
        return header

    def _row(
        self, header: Header, reader: TimeReader | None, text: str, line: int
    ) -> tuple[np.datetime64 | float | None, np.ndarray]:
        check_width(header, text, line)
        cells = [cell.strip() for cell in cells_of(self.place, text, line, header.separator)]
        values = np.full(len(self.target), np.nan)  # (D,)
        for place, name in enumerate(self.target):
            index = header.names.index(name)
            values[place] = read_number(header, index, cells[index], line)
        if reader is None or self.time is None:
            return None, values
        time: np.datetime64 | float = reader.read([cells[header.names.index(self.time)]], line)[0]
        return time, values


def _is_before(time: np.datetime64 | float, before: np.datetime64 | float) -> bool:
    """Whether a time is too early. Clocks that are set back are none, as in `seqkit.data.series_checks`."""
    if isinstance(time, np.datetime64) and isinstance(before, np.datetime64):
        return bool(before - time > CLOCK)
    return bool(time < before)


def _show(time: np.datetime64 | float) -> str:
    return show(time) if isinstance(time, np.datetime64) else f"{time:g}"
