"""What is forecast for the series of one file: as a table, as JSON fields, as pictures.

Shapes: H steps ahead, D columns, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.data.forecast_csv import ForecastRows, forecast_csv, shown_times
from seqkit.data.items import Item
from seqkit.data.series import Series
from seqkit.heads.forecast import Forecast
from seqkit.reporting.figures import free_path
from seqkit.reporting.forecasts import Pictured, save_forecast

PAST = 4
"""A picture shows so many horizons of the past."""


@dataclass(frozen=True)
class FileForecast:
    """The forecasts of a file's series; `item` is what `decoded_item` made of the file, or a single window."""

    item: Item
    forecasts: Sequence[Forecast]

    @property
    def problem(self) -> str | None:
        """Why some of its series could not be forecast."""
        return " ".join(self.item.get("problems", [])) or None

    @property
    def _windows(self) -> list[tuple[Series, Forecast]]:
        """Each series as it is known, up to where it is forecast from, and what is forecast."""
        found = []
        for window, forecast in zip(self.item.get("windows", [self.item]), self.forecasts, strict=True):
            series, known = window["series"], len(window["history"])
            times = None if series.times is None else series.times[:known]
            found.append((replace(series, values=window["history"], times=times), forecast))
        return found

    def table(self, levels: Sequence[float]) -> tuple[str, dict[str, Any]]:
        """The CSV text, and the fields of the JSON object."""
        rows: list[ForecastRows] = []
        for series, forecast in self._windows:
            mean, bands = forecast.mean, forecast.quantiles(levels)
            times = _texts(series, len(mean))
            for index, column in enumerate(series.columns):
                own = None if bands is None else bands[:, :, index]
                rows.append(ForecastRows(series.name, column, times, mean[:, index], own))
        fields = {"forecast": [_fields(one, levels) for one in rows]}
        return forecast_csv(rows, levels), fields

    def draw(self, folder: Path, levels: Sequence[float]) -> list[Path]:
        """A picture of each series, in new files of a folder."""
        files = []
        for series, forecast in self._windows:
            shown = series.values[-PAST * len(forecast.mean) :]
            picture = Pictured(
                shown,
                forecast.mean,
                series.columns,
                np.concatenate([_axis(series)[-len(shown) :], _ahead(series, len(forecast.mean))]),
                bands_of(forecast, levels),
            )
            name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in series.name)
            files.append(save_forecast(picture, free_path(folder, name), title=series.name))
        return files


def bands_of(forecast: Forecast, levels: Sequence[float]) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The bands between levels that lie as far from both ends, widest first: name, lower and upper end (H, D)."""
    quantiles = forecast.quantiles(levels)
    if quantiles is None:
        return []
    found = []
    for index, level in enumerate(levels):
        other = next((at for at, one in enumerate(levels) if abs(one - (1.0 - level)) < 1e-9), None)
        if other is not None and index < other:
            found.append((f"{(1.0 - 2.0 * level) * 100:.3g} %", quantiles[index], quantiles[other]))
    return found


def _axis(series: Series) -> np.ndarray:
    return np.arange(1, len(series.values) + 1) if series.times is None else series.times


def _ahead(series: Series, count: int) -> np.ndarray:
    """(H,) the times after a series, or the numbers of its rows to come."""
    if series.times is None or series.step is None:
        return len(series.values) + np.arange(1, count + 1)
    return series.step.after(series.times[-1], count)


def _texts(series: Series, count: int) -> list[str]:
    ahead = _ahead(series, count)
    return shown_times(ahead) if np.issubdtype(ahead.dtype, np.datetime64) else [str(number) for number in ahead]


def _fields(rows: ForecastRows, levels: Sequence[float]) -> dict[str, Any]:
    bands = (
        {}
        if rows.quantiles is None
        else {f"q{level:g}": own.tolist() for level, own in zip(levels, rows.quantiles, strict=True)}
    )
    return {"series": rows.series, "column": rows.column, "time": list(rows.times), "mean": rows.mean.tolist(), **bands}
