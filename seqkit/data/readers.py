"""CSV, TSV, JSON-lines and plain text files, plain or gzip, to columns of text with each row's place ("file:line").

Parallel texts are a text file for each column, under one name with `{lang}` in it (`seqkit.data.templates`).

A file that breaks its format is an error that names the file and line; a row that merely has nothing in a column that
is needed is left out and counted. Only the columns that are asked for are kept.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from seqkit.data.nested import column_names, locate, value_at
from seqkit.data.templates import LANG, is_template, version, versions
from seqkit.errors import DataError, nearest

FileFormat = Literal["auto", "csv", "tsv", "jsonl", "txt"]

_ENDINGS: dict[str, FileFormat] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "txt"}

Numbered = tuple[int, str]
Record = tuple[int, Sequence[str]]


@dataclass(frozen=True)
class Table:
    """The rows of one file, by column."""

    columns: dict[str, list[str]]
    """Column name in the file -> one text a row."""
    places: list[str]
    """Where each row stands: "file:line", lines counted from 1."""
    left_out: dict[str, int]
    """Why rows were left out -> how many."""


def read_table(
    path: Path, columns: Sequence[str], *, optional: Sequence[str] = (), format: FileFormat = "auto"
) -> Table:
    """Read `columns` and `optional` ones of a file; a row with nothing in one of `columns` is left out and counted.

    A path with `{lang}` is a text file for each column. Of JSON lines a column can stand in an object within the row:
    "a.b", or a key of "translation". A JSON value that is not a text becomes one as JSON writes it (1, 0.5, true).
    Raises DataError with file and line for a file that is empty or damaged, that is not UTF-8, or that lacks a column.
    """
    kind = file_format(path, format)
    wanted = list(dict.fromkeys([*columns, *optional]))
    kept: dict[str, list[str]] = {name: [] for name in wanted}
    places: list[str] = []
    left_out: Counter[str] = Counter()
    if kind == "jsonl":
        rows = _json_rows(path, wanted)
    elif is_template(path):
        rows = _parallel_rows(path, wanted)
    elif kind == "txt":
        rows = _text_rows(path, wanted)
    else:
        rows = _delimited_rows(path, wanted, kind)
    for line, values in rows:
        empty = next(
            (name for name, value in zip(wanted, values, strict=True) if name in columns and not value.strip()), None
        )
        if empty is not None:
            left_out[f"nothing in column '{empty}'"] += 1
            continue
        for name, value in zip(wanted, values, strict=True):
            kept[name].append(value)
        places.append(f"{path}:{line}")
    if not places and not left_out:
        raise DataError(f"{path}: holds no examples.", hint="Give a file with at least one row.")
    return Table(kept, places, dict(left_out))


def has_column(path: Path, name: str, format: FileFormat = "auto") -> bool:
    """Whether a file that `read_table` reads has a column of that name; of JSON lines the first row tells.

    Raises DataError as `read_table` does.
    """
    kind = file_format(path, format)
    if kind == "txt":
        return is_template(path) and version(path, name).is_file()
    if kind == "jsonl":
        first = next((json.loads(text) for _, text in read_lines(path) if text.strip()), None)
        return isinstance(first, dict) and locate(first, name) is not None
    _, header = next(_tsv_records(path) if kind == "tsv" else _csv_records(path), (0, ()))
    return name in [column.strip() for column in header]


def file_format(path: Path, format: FileFormat = "auto") -> FileFormat:
    """The format of a file, from its name where `format` is "auto". Raises DataError if the name does not tell.

    Files named by a template hold lines, whatever their ending; one that says otherwise is an error.
    """
    name = path.name.lower().removesuffix(".gz")
    found = _ENDINGS.get(Path(name).suffix) if format == "auto" else format
    if is_template(path):
        if found not in (None, "txt"):
            raise DataError(
                f"{path}: a file for each column holds a text a line, and a {found} file has its columns in itself.",
                hint=f"Name one file, without {LANG}; or set data.format=txt, to take each line as it stands.",
            )
        return "txt"
    if found is None:
        raise DataError(
            f"{path}: the name does not tell the format (it ends in none of {', '.join(_ENDINGS)}, each plain or .gz).",
            hint="Rename the file, or set data.format=csv, tsv, jsonl or txt.",
        )
    return found


def read_lines(path: Path) -> Iterator[Numbered]:
    """The lines of a UTF-8 file (gzip if it ends in .gz) without their ends, numbered from 1; a leading BOM is dropped.

    Raises DataError, with the line, for what is not UTF-8 and for a damaged or truncated gzip file.
    """
    number = 0
    try:
        with _open(path) as file:
            for number, raw in enumerate(file, start=1):
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                yield number, text.removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        message = f"{path}:{number}: byte {error.start + 1} of the line (0x{byte:02x}) is not UTF-8."
        raise DataError(message, hint="Convert the file, e.g. with iconv -f latin1 -t utf-8.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        message = f"{path}: damaged gzip file, readable up to line {number} ({error})."
        raise DataError(message, hint="Copy or download it again.") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}.", hint="Check the path and its permissions.") from error


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _text_rows(path: Path, wanted: Sequence[str]) -> Iterator[Record]:
    """Every line of a text file is an example: its one column is whatever the caller calls it."""
    if len(wanted) > 1:
        raise DataError(
            f"{path}: a text file holds a text a line, and no column '{wanted[1]}'.",
            hint=f"Give a CSV, TSV or JSON-lines file; or a text file for each column, named with {LANG} in place of "
            f"the column's name, e.g. {path.name.split('.')[0]}.{LANG}.",
        )
    for line, text in read_lines(path):
        yield line, [text]


def _parallel_rows(template: Path, wanted: Sequence[str]) -> Iterator[Record]:
    """Line n of each column's file. Raises DataError for a file that is missing, and where one has more lines."""
    paths = [version(template, name) for name in wanted]
    for path, name in zip(paths, wanted, strict=True):
        if not path.is_file():
            there = ", ".join(found.name if found.parent == path.parent else str(found) for found in versions(template))
            raise DataError(
                f"{path}: there is no such file (column '{name}' of {template.name}).",
                hint=f"There: {there}." if there else f"{LANG} stands for the column's name; no file there fits.",
            )
    counts = [0] * len(paths)
    for row in zip_longest(*(read_lines(path) for path in paths)):
        counts = [count + (cell is not None) for count, cell in zip(counts, row, strict=True)]
        if None not in row:
            yield counts[0], [text for _, text in row]
    if not any(counts):
        raise DataError(f"{paths[0]}: the file is empty.", hint="It needs a text a line.")
    for path, count in zip(paths, counts, strict=True):
        if count != counts[0]:
            raise DataError(
                f"{paths[0]} has {_count(counts[0], 'line')}, but {path} has {count}.",
                hint="Line n of one belongs to line n of the other, so both need as many.",
            )


def _delimited_rows(path: Path, wanted: Sequence[str], kind: FileFormat) -> Iterator[Record]:
    """Rows of a CSV or TSV file: line and the wanted fields."""
    records = _tsv_records(path) if kind == "tsv" else _csv_records(path)
    start, header = next(records, (0, None))
    if header is None:
        raise DataError(
            f"{path}: the file is empty.", hint=f"It needs a header with {_named(wanted)}, then one row an example."
        )
    header = [name.strip() for name in header]
    _check_header(path, start, header, wanted, kind)
    indices = [header.index(name) for name in wanted]
    for line, fields in records:
        if len(fields) != len(header):
            separator = "comma" if kind == "csv" else "tab"
            raise DataError(
                f"{path}:{line}: the row has {_count(len(fields), 'field')}, the header {len(header)}.",
                hint=f"Fields are separated by a {separator}"
                + ("; quote a field that holds one." if kind == "csv" else ", which no field can hold."),
            )
        yield line, [fields[index] for index in indices]


def _tsv_records(path: Path) -> Iterator[Record]:
    """Lines cut at tabs; a quote is a character like any other."""
    for line, text in read_lines(path):
        if text.strip():
            yield line, text.split("\t")


def _csv_records(path: Path) -> Iterator[Record]:
    """Records of a CSV file with quoted fields, which may span lines; the line is the one where the record begins."""
    csv.field_size_limit(sys.maxsize)  # the module's own limit of 128 KiB is shorter than a long document
    reader = csv.reader((text + "\n" for _, text in read_lines(path)), strict=True)
    line = 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        hint = "Check the quotes: a field with a quote in it is quoted, and its quotes are doubled."
        raise DataError(f"{path}:{line}: not valid CSV: {error}.", hint=hint) from error


def _check_header(path: Path, line: int, header: list[str], wanted: Sequence[str], kind: FileFormat) -> None:
    twice = [name for name, count in Counter(header).items() if count > 1 and name in wanted]
    if twice:
        raise DataError(
            f"{path}:{line}: the column '{twice[0]}' stands twice in the header.", hint="Rename one of them."
        )
    for name in wanted:
        if name not in header:
            other = next((sep for sep in (";", "\t", ",") if len(header) == 1 and sep in header[0]), None)
            hint = f"Columns there: {', '.join(header)}. {_suggestion(name, header)}"
            if other is not None:
                shown = "a tab" if other == "\t" else f"'{other}'"
                hint = f"The header is '{header[0]}': its separator seems to be {shown}, not that of {kind.upper()}."
            raise DataError(f"{path}:{line}: there is no column '{name}'.", hint=hint)


def _json_rows(path: Path, wanted: Sequence[str]) -> Iterator[Record]:
    """One JSON object a line: line and the wanted values as text; null is nothing."""
    empty = True
    for line, text in read_lines(path):
        if not text.strip():
            continue
        empty = False
        try:
            value = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            where = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            what = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            hint = "Each line must be one JSON object."
            raise DataError(f"{path}:{line}: not valid JSON: {what}{where}.", hint=hint) from error
        if not isinstance(value, dict):
            raise DataError(
                f"{path}:{line}: the line holds {_kind(value)}, not a JSON object.",
                hint='Write each example as {"' + '": ..., "'.join(wanted) + '": ...}.',
            )
        yield line, [_json_text(path, line, value, name) for name in wanted]
    if empty:
        raise DataError(f"{path}: the file is empty.", hint=f"It needs one JSON object a line, with {_named(wanted)}.")


def _json_text(path: Path, line: int, row: dict[str, Any], name: str) -> str:
    steps = locate(row, name)
    if steps is None:
        there = list(column_names(row))
        hint = f"Keys there: {', '.join(there)}. {_suggestion(name, there)}"
        raise DataError(f"{path}:{line}: there is no key '{name}'.", hint=hint)
    value = value_at(row, steps)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        inner = (
            f" Keys in it: {', '.join(column_names(value, f'{name}.'))}." if isinstance(value, dict) and value else ""
        )
        raise DataError(f"{path}:{line}: '{name}' holds {_kind(value)}.", hint=f"Give a text or a number.{inner}")
    return json.dumps(value)


def _suggestion(name: str, known: Sequence[str]) -> str:
    clause = nearest(name, known)
    meant = clause + " " if clause.startswith("Did") else ""
    return f"{meant}Rename the column in the file, or name it in the configuration."


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _named(names: Sequence[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)
