"""Windows of series for forecasting: what a network reads, what is to come, and what the forecast is compared with.

Shapes: T rows, D columns, L rows read, H rows to come, C calendar features.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, cast, overload

import numpy as np

from seqkit.data.items import Item
from seqkit.data.series import Series
from seqkit.errors import InputError, RunError
from seqkit.frontends.calendar_features import calendar_features, varying
from seqkit.frontends.series_filling import interpolated
from seqkit.frontends.series_scaling import Scaler, Scaling, mase_scale
from seqkit.frontends.series_season import default_season
from seqkit.frontends.series_windows import origins
from seqkit.storage import read_json, write_json

FILE = "windows.json"


@dataclass(frozen=True)
class Encoded:
    """A series as windows are cut from it."""

    series: Series
    scaling: Scaling
    targets: np.ndarray
    """(T, D) float32, scaled, NaN where missing: what is missing is nobody's target."""
    fill: bool
    """Whether what is read is filled where it is missing; otherwise the network is told."""
    calendar: np.ndarray
    """(T + H, C) float32."""
    mase: np.ndarray
    """(D,) float64: what MASE divides by, from the training rows."""


class WindowItems(Sequence[Item]):
    """The windows that begin to look ahead at `begins` of each series, made when they are asked for."""

    def __init__(
        self, encoded: Sequence[Encoded], begins: Sequence[range | np.ndarray], input_length: int, horizon: int
    ) -> None:
        self._encoded, self.begins = encoded, begins
        self._input_length, self._horizon = input_length, horizon
        self._ends = list(accumulate(len(one) for one in begins))

    def chosen(self, indices: np.ndarray) -> WindowItems:
        """Some of the windows, by their increasing indices (N,)."""
        starts = [0, *self._ends[:-1]]
        cuts = np.searchsorted(indices, [0, *self._ends])
        begins = [
            np.asarray(own)[indices[first:stop] - start]
            for own, start, first, stop in zip(self.begins, starts, cuts[:-1], cuts[1:], strict=True)
        ]
        return WindowItems(self._encoded, begins, self._input_length, self._horizon)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        encoded, begin = self._at(index)
        return window(encoded, begin, self._input_length, self._horizon)

    def place(self, index: int) -> str:
        """The file and line of the first row that a window forecasts."""
        encoded, begin = self._at(index)
        return f"{encoded.series.place}:{encoded.series.first_line + begin} ({encoded.series.name})"

    def _at(self, index: int) -> tuple[Encoded, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = bisect_right(self._ends, index)
        before = self._ends[which - 1] if which else 0
        return self._encoded[which], int(self.begins[which][index - before])


class Places(Sequence[str]):
    """The places of windows, made when they are asked for."""

    def __init__(self, items: WindowItems) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._items.place(one) for one in range(*index.indices(len(self)))]
        return self._items.place(index)

    def __iter__(self) -> Iterator[str]:
        return (self._items.place(index) for index in range(len(self)))


def window(encoded: Encoded, begin: int, input_length: int, horizon: int) -> Item:
    """The window that reads rows `begin` - L to `begin` - 1; every array is a view, unless it has to be filled, from
    the window's own rows: a line towards a value that comes later would tell of it.

    "read" (L, D) and "target" (H, D) are scaled, "calendar" is (L + H, C), "history" (begin, D) and "actual" (H, D) are
    in the data's unit. Where the series ends at `begin`, "target" and "actual" have no rows.
    """
    first, stop = begin - input_length, begin + horizon
    read = encoded.targets[first:begin]
    return {
        "read": interpolated(read) if encoded.fill else read,
        "target": encoded.targets[begin:stop],
        "calendar": encoded.calendar[first:stop],
        "history": encoded.series.values[:begin],
        "actual": encoded.series.values[begin:stop],
        "scaling": encoded.scaling,
        "mase": encoded.mase,
        "series": encoded.series,
    }


class ForecastFrontend:
    """From series to windows: the length of a window, the season, the calendar and the scaling, found in training rows.

    Args:
        horizon: H.
        input_length: L, or None to go by horizon, season and the length of the series.
        season: steps of a season.
        each: scale every series by itself.
        calendar: read the calendar.
        mask: leave missing values as NaN, for a network that reads which are real; otherwise they are interpolated.
    """

    def __init__(
        self, *, horizon: int, input_length: int | None, each: bool, calendar: bool, mask: bool, season: int | None
    ) -> None:
        self.horizon, self._input_length, self._calendar, self._mask = horizon, input_length, calendar, mask
        self._season = season
        self.scaler = Scaler(each=each)
        self.columns: tuple[str, ...] = ()
        self.input_length = input_length or 0
        self.season = season or 1
        self.calendar: tuple[str, ...] = ()
        self.timed = False

    @cached_property
    def features(self) -> int:
        """C."""
        return 2 * len(self.calendar)

    def fit(self, series: Sequence[Series], train: Sequence[range]) -> None:
        """Learn from the training rows of each series. Raises InputError where the calendar is asked for, and no series
        has times."""
        first = series[0]
        self.columns, self.timed = first.columns, first.times is not None
        self.season = self._season or default_season(first.step)
        if self._calendar:
            if not all(one.times is not None for one in series):
                raise InputError("windows.calendar needs times.", hint="Name their column: data.time=COLUMN.")
            times = [
                cast(np.ndarray, one.times)[rows.start : rows.stop] for one, rows in zip(series, train, strict=True)
            ]
            self.calendar = varying(np.concatenate(times))
        longest = max(len(rows) for rows in train)
        wished = max(3 * self.horizon, 2 * self.season)
        self.input_length = self._input_length or max(1, min(wished, (longest - self.horizon + 1) // 2))
        self.scaler.fit({one.name: one.values[rows.start : rows.stop] for one, rows in zip(series, train, strict=True)})

    def encode(self, series: Series, parts: Sequence[range]) -> Encoded:
        """A series with its parts in order, of which the first is what may be known of it from the start."""
        known = series.values[parts[0].start : parts[0].stop] if parts else series.values
        scaling = self.scaler.scaling(series.name, known)
        targets = scaling.transform(series.values)
        scale = mase_scale(known, self.season)
        return Encoded(series, scaling, targets, not self._mask, self._times(series), scale)

    def _times(self, series: Series) -> np.ndarray:
        if not self.calendar:
            return np.zeros((len(series.values) + self.horizon, 0), dtype=np.float32)
        if series.times is None or series.step is None:
            raise InputError(
                f"{series.place}: no regular times, and the run reads the calendar.", hint="Give data.time."
            )
        times = np.concatenate([series.times, series.step.after(series.times[-1], self.horizon)])
        return calendar_features(times, self.calendar)

    def windows(self, encoded: Sequence[Encoded], rows: Sequence[range], stride: int = 1) -> WindowItems:
        """The windows whose rows to come are among `rows` of each series."""
        begins = [origins(part, self.input_length, self.horizon, stride) for part in rows]
        return WindowItems(encoded, begins, self.input_length, self.horizon)

    def newest(self, series: Series) -> Item:
        """The window that ends with the series. Raises InputError where it is too short, or has no value to go by."""
        rows = len(series.values)
        if rows < self.input_length:
            raise InputError(
                f"{series.place}: series '{series.name}' has {rows} rows, and the run reads {self.input_length}.",
                hint="Give more of its past.",
            )
        if np.isnan(series.values[-self.input_length :]).all(axis=0).any():
            raise InputError(
                f"{series.place}: series '{series.name}' has a column with no value in its last {self.input_length} "
                "rows.",
                hint="Give one that has.",
            )
        return window(self.encode(series, [range(rows)]), rows, self.input_length, self.horizon)

    def save(self, folder: Path) -> None:
        """Write what `fit` found."""
        found = {
            "columns": list(self.columns),
            "input_length": self.input_length,
            "season": self.season,
            "calendar": list(self.calendar),
            "timed": self.timed,
        }
        write_json(folder / FILE, found)
        self.scaler.save(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Raises RunError where it is damaged."""
        found: dict[str, Any] = read_json(folder / FILE)
        try:
            self.columns, self.calendar = tuple(found["columns"]), tuple(found["calendar"])
            self.input_length, self.season, self.timed = (
                int(found["input_length"]),
                int(found["season"]),
                found["timed"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{folder / FILE}: damaged ({error}).", hint="Train the run again.") from error
        self.scaler = Scaler.load(folder, len(self.columns))
