"""A forecast as CSV: a row for each step ahead, with its mean and its quantiles."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ForecastRows:
    """What is forecast of one column of one series."""

    series: str
    column: str
    times: Sequence[str]
    """(H,) when each step is: a time, or the number of a row."""
    mean: np.ndarray
    """(H,)."""
    quantiles: np.ndarray | None = None
    """(Q, H), or None where only a point is forecast."""


def forecast_csv(rows: Iterable[ForecastRows], levels: Sequence[float]) -> str:
    """The table: time, series, column, mean, and q0.1 and so on for the levels; seven digits a number."""
    written = list(rows)
    banded = any(one.quantiles is not None for one in written)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["time", "series", "column", "mean", *([f"q{level:g}" for level in levels] if banded else [])])
    for one in written:
        bands = np.zeros((0, len(one.mean))) if one.quantiles is None else one.quantiles
        for step, (time, mean) in enumerate(zip(one.times, one.mean, strict=True)):
            writer.writerow([time, one.series, one.column, f"{mean:.7g}", *(f"{v:.7g}" for v in bands[:, step])])
    return file.getvalue().removesuffix("\n")


def shown_times(times: np.ndarray) -> list[str]:
    """(H,) datetime64 as text, as short as they all allow: days alone, or with hours to seconds."""
    if (times == times.astype("datetime64[D]")).all():
        return [str(time) for time in times.astype("datetime64[D]")]
    unit = next(unit for unit in ("s", "us", "ns") if (times == times.astype(f"datetime64[{unit}]")).all())
    return [str(time).replace("T", " ") for time in times.astype(f"datetime64[{unit}]")]
