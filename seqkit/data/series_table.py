"""A table of numbers in a CSV file, read in blocks of rows, every cell checked: the place of what is wrong is told."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seqkit.data.readers import read_lines
from seqkit.errors import DataError, nearest

MISSING = ("", "NA", "N/A", "#N/A", "n/a", "NaN", "nan", "NAN", "-nan", "-NaN", "NULL", "null", "None", "<NA>")
"""What a cell without a value may hold."""

LARGEST = 1e37
"""Networks compute in float32, which ends a little above; squares of such errors still fit into float64."""

SEPARATORS = (",", ";", "\t")

_NAME_COLUMNS = (
    "Leave the cell empty where the value is missing, or name the columns to read: data.target=COLUMN,COLUMN."
)

_EXACT: dict[str, Any] = (
    {} if tuple(int(part) for part in pd.__version__.split(".")[:2]) >= (3, 1) else {"float_precision": "round_trip"}
)
"""Numbers are read to the nearest float64, as Python reads them; newer versions of pandas do so anyway."""

_ROWS, _CHARACTERS = 20_000, 4_000_000
"""A block ends after so many rows or characters: enough for pandas to be quick, and little memory."""


@dataclass(frozen=True)
class Header:
    """The first line of a table."""

    place: str
    """The file."""
    names: tuple[str, ...]
    separator: str
    line: int

    def index(self, name: str, key: str) -> int:
        """Where a column stands. Raises DataError, with the configuration's key, where there is none of that name."""
        if name not in self.names:
            named = [column for column in self.names if column]
            raise DataError(
                f"{self.place}: there is no column '{name}'. {nearest(name, named)}", hint=f"Set {key} to one of these."
            )
        return self.names.index(name)


@dataclass(frozen=True)
class Block:
    """Some rows, one below the other."""

    line: int
    """The line of the first one."""
    rows: list[str]


def read_header(place: str, text: str, line: int, separator: str = "auto") -> Header:
    """The names of the columns. Raises DataError for names that occur twice, and for a line of numbers."""
    if "\r" in text:
        raise DataError(
            f"{place}:{line}: the lines end in a carriage return only, as on old Macs.",
            hint="Convert the file, e.g. with tr '\\r' '\\n'.",
        )
    found = sniff_separator(text) if separator == "auto" else separator
    names = tuple(name.strip() for name in cells_of(place, text, line, found))
    for name in names:
        if name and names.count(name) > 1:
            raise DataError(f"{place}:{line}: there are two columns '{name}'.", hint="Give each a name of its own.")
    # pandas writes 0, 1, 2 as the names of columns that have none; other numbers are values.
    if all(is_number(name) for name in names) and names != tuple(str(index) for index in range(len(names))):
        raise DataError(
            f"{place}:{line}: the first line holds numbers ('{names[0]}'), not the names of columns.",
            hint="Add a first line such as date,sales.",
        )
    return Header(place, names, found, line)


def sniff_separator(text: str) -> str:
    """What stands between the cells of a header: what occurs most outside of quotes; a comma where nothing does."""
    bare = "".join(text.split('"')[::2])
    return max(SEPARATORS, key=bare.count)


def open_table(path: Path, separator: str = "auto") -> tuple[Header, Iterator[Block]]:
    """The header of a file and its rows in blocks. Raises DataError, also while the blocks are read."""
    lines = read_lines(path)
    for number, text in lines:
        if text.strip():
            header = read_header(str(path), text, number, separator)
            return header, _blocks(header, lines)
    raise DataError(f"{path}: the file is empty.", hint="Give a file with a line of names and rows of values.")


def check_width(header: Header, text: str, line: int) -> None:
    """Raises DataError for a row that has not as many cells as the header."""
    width = len(header.names)
    quoted = '"' in text
    found = len(cells_of(header.place, text, line, header.separator)) if quoted else text.count(header.separator) + 1
    if found != width:
        raise DataError(
            f"{header.place}:{line}: {_count(found, 'cell')} where the header names {_count(width, 'column')}"
            f" ('{shorten(text)}').",
            hint="Is the line cut off? Correct it; a missing value is an empty cell.",
        )


def numbers_of(header: Header, block: Block, indices: Sequence[int]) -> np.ndarray:
    """The columns at `indices` as numbers: (N, len(indices)) float64, NaN where a cell is empty.

    Raises DataError for text, for infinity and for numbers beyond `LARGEST`.
    """
    frame = _frame(header, block, indices, text=False)
    values = np.empty((len(block.rows), len(indices)))
    for place, index in enumerate(indices):
        column, wrong = _as_numbers(frame[index])
        rows = np.flatnonzero(wrong | (np.abs(column) > LARGEST))
        if len(rows):
            row = int(rows[0])
            cell = cells_of(header.place, block.rows[row], block.line + row, header.separator)[index].strip()
            raise wrong_number(header, index, cell, block.line + row)
        values[:, place] = column
    return values


def texts_of(header: Header, block: Block, index: int) -> list[str]:
    """The column at `index` as text, one a row."""
    return [str(cell) for cell in _frame(header, block, [index], text=True)[index].tolist()]


def number_columns(header: Header, block: Block, besides: Sequence[int]) -> list[int]:
    """The columns that hold numbers: named ones in which not every value of the block is text."""
    indices = [index for index, name in enumerate(header.names) if name and index not in besides]
    frame = _frame(header, block, indices, text=False)
    return [index for index in indices if not _is_text(frame[index])]


def wrong_number(header: Header, index: int, cell: str, line: int, hint: str = _NAME_COLUMNS) -> DataError:
    """The error for a cell that is no number one can learn from; `hint` is for text."""
    where = f"{header.place}:{line}: column '{header.names[index]}' has '{shorten(cell)}'"
    if is_number(cell) and np.isinf(float(cell)):
        return DataError(f"{where}, which is infinite.", hint="Leave the cell empty where the value is not known.")
    if is_number(cell) and abs(float(cell)) > LARGEST:
        return DataError(f"{where}, which is too large to learn from.", hint="Give this column in larger units.")
    if not is_number(cell) and is_number(cell.replace(".", "").replace(",", ".")):
        return DataError(f"{where}, not a number.", hint="Write decimals with a point and no marks between thousands.")
    return DataError(f"{where}, not a number.", hint=hint)


def cells_of(place: str, text: str, line: int, separator: str) -> list[str]:
    """The cells of a line. Raises DataError where a quote does not end."""
    if '"' not in text:
        return text.split(separator)
    try:
        return next(csv.reader([text], delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise DataError(
            f"{place}:{line}: a quoted cell does not end as it should ({error}).", hint="Close the quote on this line."
        ) from error


def is_number(cell: str) -> bool:
    """Whether a cell is a number, infinity and "nan" among them."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell


def read_number(header: Header, index: int, cell: str, line: int, hint: str = _NAME_COLUMNS) -> float:
    """The number in a single cell, as `numbers_of` reads it. Raises DataError as that does."""
    if cell in MISSING:
        return float("nan")
    if cell.lower() in ("true", "false"):
        return float(cell.lower() == "true")
    if not is_number(cell) or not abs(float(cell)) <= LARGEST:  # NaN, written otherwise, is not either
        raise wrong_number(header, index, cell, line, hint)
    return float(cell)


def shorten(text: str, most: int = 40) -> str:
    """A text that fits into a sentence; what cannot be printed is written as its code."""
    text = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text[: most + 1])
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _blocks(header: Header, lines: Iterator[tuple[int, str]]) -> Iterator[Block]:
    """The rows below a header. Empty lines at the end are left out; in one column they are missing values."""
    block, size, empty = Block(header.line + 1, []), 0, 0
    for number, text in lines:
        if not text.strip() if len(header.names) == 1 else not text:
            empty += 1
            continue
        if empty and len(header.names) > 1:
            raise DataError(f"{header.place}:{number - empty}: an empty line among the rows.", hint="Take it out.")
        block.rows.extend([""] * empty)
        empty = 0
        check_width(header, text, number)
        block.rows.append(text)
        size += len(text)
        if len(block.rows) >= _ROWS or size >= _CHARACTERS:
            yield block
            block, size = Block(number + 1, []), 0
    if block.rows:
        yield block


def _frame(header: Header, block: Block, indices: Sequence[int], *, text: bool) -> pd.DataFrame:
    """Columns of a block, as pandas reads them."""
    width = len(header.names)
    frame: pd.DataFrame = pd.read_csv(
        io.StringIO("\n".join(block.rows) + "\n"),
        sep=header.separator,
        header=None,
        names=list(range(width)),
        usecols=list(indices),
        dtype=str if text else None,
        keep_default_na=False,
        na_values=None if text else list(MISSING),
        index_col=False,
        skip_blank_lines=False,
        skipinitialspace=True,
        low_memory=False,
        **_EXACT,
    )
    return frame


def _as_numbers(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """A column as (N,) float64, and where it holds something else than a number or nothing."""
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(dtype=np.float64)
        return values, np.zeros(len(values), dtype=bool)
    # Blanks around a number or around nothing are not its fault.
    texts = column.map(lambda cell: cell.strip() if isinstance(cell, str) else cell)
    missing = texts.isna() | texts.isin(MISSING)
    values = pd.to_numeric(texts.where(~missing), errors="coerce").to_numpy(dtype=np.float64)
    return values, np.isnan(values) & ~missing.to_numpy()


def _is_text(column: pd.Series) -> bool:
    """Whether a column has values, and none of them is a number."""
    values, wrong = _as_numbers(column)
    return bool(wrong.any()) and bool((wrong | np.isnan(values)).all())


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
