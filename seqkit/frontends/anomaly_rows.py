"""The front-end of anomaly detection: how training series are scaled, and rows as a network reads them.

Shapes: T rows, D columns, C features of the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from seqkit.data.series import Series
from seqkit.errors import InputError, nearest
from seqkit.frontends.calendar_features import calendar_features
from seqkit.frontends.series_rows import RowReader
from seqkit.frontends.series_scaling import Scaling, constant_columns
from seqkit.storage import read_json, write_json

POOLED = ""
"""The name under which stands what was fitted to all series together, for series that training did not see."""
FILE = "series.json"


class RowFrontend:
    """Scales rows, says which values are real, and adds what is read of their times.

    Args:
        each: every training series has its own scaling; otherwise all have one.
        mask: say which values are real.
        calendar: what is read of the time of a row (`seqkit.frontends.calendar_features`).
    """

    def __init__(self, *, each: bool, mask: bool, calendar: tuple[str, ...]) -> None:
        self._each, self._mask, self._calendar = each, mask, calendar
        self.columns: tuple[str, ...] = ()
        self.header: tuple[str, ...] = ()
        self.scalings: dict[str, Scaling] = {}

    def fit(self, train: Mapping[str, np.ndarray], columns: Sequence[str], header: Sequence[str]) -> list[str]:
        """Learn from the training rows (T, D) of each series; returns the columns that never change.

        `header` names all columns of the files, for streams that come without it.
        """
        self.columns, self.header = tuple(columns), tuple(header)
        everything = np.concatenate(list(train.values()))
        self.scalings = {name: Scaling.of(rows) for name, rows in train.items()}
        self.scalings[POOLED] = Scaling.of(everything)
        return constant_columns(everything, self.columns)

    @property
    def width(self) -> int:
        """Features of a row."""
        return len(self.columns) * (2 if self._mask else 1) + 2 * len(self._calendar)

    @property
    def names(self) -> list[str]:
        """The series that training saw."""
        return [name for name in self.scalings if name != POOLED]

    def known(self, asked: str | None, names: Sequence[str]) -> str:
        """The training series to judge by: the one that is asked for, else the first of `names` that there is, else the
        only one, else all together. Raises InputError for one that is asked for and is none."""
        if asked is not None:
            if asked not in self.names:
                raise InputError(f"--series {asked}: training saw no such series.", hint=nearest(asked, self.names))
            return asked
        return next((name for name in names if name in self.names), self.names[0] if len(self.names) == 1 else POOLED)

    def reader(self, known: str) -> RowReader:
        """What scales rows of the training series `known`."""
        return RowReader(self.scalings[known if self._each else POOLED], mask=self._mask)

    def rows(self, series: Series, stop: int, known: str) -> np.ndarray:
        """The first `stop` rows of a series as a network reads them, (T, width) float32, judged as series `known`.

        Raises InputError where the calendar is read, and there are no times.
        """
        if self._calendar and series.times is None:
            raise InputError(f"{series.place}: no times, and calendar reads them.", hint="Name them: data.time=COLUMN.")
        times = np.zeros(stop, "datetime64[ns]") if series.times is None else series.times[:stop]
        read = self.reader(known).whole(series.values[:stop])
        return np.concatenate([read, calendar_features(times, self._calendar)], axis=1)

    def save(self, folder: Path) -> None:
        """Write what `fit` found."""
        scalings = {name: [one.mean.tolist(), one.scale.tolist()] for name, one in self.scalings.items()}
        write_json(folder / FILE, {"columns": self.columns, "header": self.header, "mean_and_scale": scalings})

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        stored = read_json(folder / FILE)
        self.columns, self.header = tuple(stored["columns"]), tuple(stored["header"])
        self.scalings = {
            name: Scaling(*(np.array(numbers, dtype=np.float64) for numbers in one))
            for name, one in stored["mean_and_scale"].items()
        }
