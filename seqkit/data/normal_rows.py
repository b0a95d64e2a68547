"""From files of series to the parts of anomaly detection: normal rows to train on, held out ones, and rows to judge.

Of each series the first rows are taken to be normal. The last of these are held out of training (validation); all rows
after the normal ones are judged (test). A file named to be normal trains with all its rows, and is judged nowhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.data.series import Series, read_series
from seqkit.data.series_config import SeriesData
from seqkit.data.series_source import series_files
from seqkit.data.series_table import open_table
from seqkit.data.splits import Split, make_split
from seqkit.errors import DataError


@dataclass(frozen=True)
class NormalRows:
    """How many of a series' first rows are normal: a share of them, and no more than `most`; of which a share is held
    out."""

    fraction: float
    most: int | None
    held_out: float

    def count(self, rows: int) -> int:
        """Normal rows of a series with so many rows."""
        count = int(rows * self.fraction)
        return count if self.most is None else min(count, self.most)

    def trained(self, normal: int) -> int:
        """Those of them that are trained on."""
        return normal - int(normal * self.held_out)


class Book:
    """All series of a recipe, by a name that no two share, with the label of each row where it is known."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        self.labels: dict[str, np.ndarray] = {}

    def add(self, found: Sequence[Series], label: str | None) -> list[str]:
        """Take series in and return their names, which their folder tells apart where files have one name.

        Raises DataError where columns differ from those of the first one.
        """
        names = []
        for series in found:
            first = next(iter(self.series.values()), series)
            if series.columns != first.columns:
                raise DataError(
                    f"{series.place} has the columns {', '.join(series.columns)}, and {first.place} has "
                    f"{', '.join(first.columns)}.",
                    hint="Name those that all files have: data.target=COLUMN,COLUMN.",
                )
            name = series.name
            if name in self.series:
                raise DataError(f"{series.place}: there is a series '{name}' already.", hint="Give them other names.")
            self.series[name] = series
            if label is not None and label in series.labels:
                self.labels[name] = np.asarray(series.labels[label], dtype=np.float64)
            names.append(name)
        return names

    def example(self, name: str, start: int, stop: int) -> dict[str, str]:
        """Rows `start` to `stop` (exclusive) of a series as an example of a part."""
        series = self.series[name]
        return {"series": name, "rows": f"{start}:{stop}", "digest": self.digest(name), "place": series.where(start)}

    def digest(self, name: str) -> str:
        """A fingerprint of a series and its labels."""
        found = hashlib.sha256(self.series[name].values.tobytes())
        if name in self.labels:
            found.update(self.labels[name].tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class SeriesFiles:
    """Where the series of anomaly detection come from.

    `label` is a column of files that have it, `normal` names further files in which all rows are normal;
    `columns` are those of a trained run, empty for those of the configuration.
    """

    config: SeriesData
    label: str | None = None
    normal: str | None = None
    columns: tuple[str, ...] = ()

    def load(self, demo: Callable[[], list[Series]]) -> tuple[Book, dict[str, list[str]], str]:
        """All series, their names by part ("train", "normal", "validation", "test"), and where they come from.

        Raises DataError.
        """
        book = Book()
        files = series_files(self.config)
        if files is None:
            return book, {"train": book.add(demo(), self.label)}, "the demo corpus, made here"
        if self.normal is not None:
            files["normal"] = self.further(self.normal)
        stems = [path.stem for paths in files.values() for path in paths]
        apart = len(set(stems)) < len(stems)
        names = {
            part: [name for path in paths for name in book.add(self.read(path, apart=apart), self.label)]
            for part, paths in files.items()
        }
        return book, names, str(self.config.path or self.config.train)

    def read(self, path: Path, *, apart: bool = False, labelled: bool = True) -> list[Series]:
        """The series of a file; with `apart` the folder stands in their names too: files of several folders share
        theirs. Raises DataError."""
        if not path.is_file():
            raise DataError(f"{path}: there is no such file.", hint="Check the spelling.")
        label = self.label if labelled and self.label is not None and has_column(path, self.label) else None
        found = read_series(
            path,
            time=self.config.time,
            target=self.columns or self.config.target,
            series=self.config.series,
            layout=self.config.layout,
            labels=[] if label is None else [label],
            separator=self.config.separator,
            regular=False,
        )
        return [replace(one, name=f"{path.parent.name}/{one.name}") for one in found] if apart else found

    def further(self, name: str) -> list[Path]:
        """The files of a name, a folder or a pattern, looked for where that of `data.test` is. Raises DataError."""
        place = self.config.path
        found = series_files(SeriesData(path=place, train=name if place is None else None, test=name))
        assert found is not None  # it has a path or a training file
        return found["test"]


def has_column(path: Path, name: str) -> bool:
    """Whether the header of a file names a column. Raises DataError."""
    return name in open_table(path)[0].names


def make_parts(
    book: Book,
    rows: NormalRows,
    names: Mapping[str, Sequence[str]],
    origin: str,
    least: int,
) -> dict[str, Split]:
    """The parts of the series whose names are listed: "train" for those whose first rows are normal, "normal" for
    those that are normal throughout, and "validation" and "test" for those that are held out or judged as a whole.

    A series that trains needs at least `least` rows for it; one that has fewer is left out, and counted. Raises
    DataError where none is left.
    """
    short = 0
    examples: dict[str, list[dict[str, str]]] = {"train": [], "validation": [], "test": []}

    def put(part: str, name: str, start: int, stop: int) -> None:
        if stop > start:
            examples[part].append(book.example(name, start, stop))

    whole = {"validation", "test"} & names.keys()
    for name in names.get("train", ()):
        total = len(book.series[name].values)
        normal = rows.count(total) if "test" not in whole else total
        trained = normal if "validation" in whole else rows.trained(normal)
        if trained < least:
            short += 1
            continue
        put("train", name, 0, trained)
        put("validation", name, trained, normal)
        put("test", name, normal, total)
    for name in names.get("normal", ()):
        total = len(book.series[name].values)
        trained = total if "validation" in whole else rows.trained(total)
        if trained < least:
            short += 1
            continue
        put("train", name, 0, trained)
        put("validation", name, trained, total)
    for part in whole:
        for name in names[part]:
            put(part, name, 0, len(book.series[name].values))
    if not examples["train"]:
        raise DataError(
            f"{origin}: no series has {least} normal rows to train on, as many as a window.",
            hint="Raise data.normal_fraction or data.normal_rows, lower window, or give longer series.",
        )
    parts = {part: part_of(found, origin) for part, found in examples.items() if found}
    if short:
        left_out = {f"fewer than {least} normal rows to train on": short}
        parts["train"] = replace(parts["train"], left_out=left_out)
    return parts


def part_of(examples: Sequence[Mapping[str, str]], origin: str) -> Split:
    """A part from rows of text."""
    columns = {column: [row[column] for row in examples] for column in ("series", "rows", "digest")}
    return make_split(columns, [row["place"] for row in examples], origin=origin)


def rows_of(example: Mapping[str, Any]) -> tuple[int, int]:
    """The first row of a part's example, and the row after its last."""
    start, stop = str(example["rows"]).split(":")
    return int(start), int(stop)
