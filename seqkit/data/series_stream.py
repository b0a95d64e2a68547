"""A series that grows: the rows of CSV on a stream, each as soon as its line is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

from seqkit.data.series_checks import CLOCK, show
from seqkit.data.series_table import (
    MISSING,
    Header,
    cells_of,
    check_width,
    is_number,
    read_header,
    read_number,
    shorten,
    sniff_separator,
)
from seqkit.data.series_times import TimeReader
from seqkit.errors import DataError


class StreamReader:
    """Reads the columns `target` of a stream, whatever their order; the first line names the columns.

    `tail -f` leaves that line out. With `header`, the columns of the training file (`Series.header`), a first line
    that is a row of such a file is read as one, and `headerless` is then true.
    """

    def __init__(
        self,
        *,
        time: str | None,
        target: Sequence[str],
        separator: str = "auto",
        place: str = "stdin",
        header: Sequence[str] = (),
    ) -> None:
        self.time, self.target, self.separator, self.place = time, tuple(target), separator, place
        self.others: tuple[str, ...] = ()
        """Columns of the stream that are not read; known after the first row."""
        self.header = tuple(header)
        self.headerless = False
        """Whether the stream began with a row; known after it."""

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
        empty = 0  # lines: in a single column they are missing values, but for those at the end
        for line, raw in enumerate(file, start=1):
            try:
                text = self._text(raw, line)
                if not text.strip():
                    empty += 1
                    continue
                if header is not None and len(header.names) == 1:
                    yield from ((line - back, None, np.array([np.nan])) for back in range(empty, 0, -1))
                empty = 0
                if header is None:
                    header = self._header(text, line)
                    if not self.headerless:
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
        separator = sniff_separator(text) if self.separator == "auto" else self.separator
        wanted = [name for name in (self.time, *self.target) if name is not None]
        if self._is_row(text, line, separator, wanted):
            self.headerless = True
            header = Header(self.place, self.header, separator, line - 1)
        else:
            header = read_header(self.place, text, line, self.separator)
        lacking = [name for name in wanted if name not in header.names]
        if lacking:
            named = ", ".join(f"'{name}'" for name in lacking)
            have = shorten(", ".join(f"'{name}'" for name in header.names), 200)
            raise DataError(
                f"{self.place}:{line}: the first line does not name {named}, only {have}.",
                hint="Name the columns that the run was trained with (tail -n +1 -f gives a file from its first line).",
            )
        self.others = tuple(name for name in header.names if name and name not in wanted)
        return header

    def _is_row(self, text: str, line: int, separator: str, wanted: Sequence[str]) -> bool:
        """Whether a first line holds no names but, in the columns of the training file, numbers where they belong."""
        cells = [cell.strip() for cell in cells_of(self.place, text, line, separator)]
        if len(cells) != len(self.header) or any(name not in self.header or name in cells for name in wanted):
            return False
        return all(
            cells[self.header.index(name)] in MISSING or is_number(cells[self.header.index(name)])
            for name in self.target
        )

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
